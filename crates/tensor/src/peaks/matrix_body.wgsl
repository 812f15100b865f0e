// The rate of matrix units from registers, in f16 with sums in f32: four chains of products per subgroup,
// which do not wait for each other. 4 × 2 · SIDE³ operations per round and subgroup.
//
// It follows matrix_8 or matrix_16, which say what a matrix is.

struct Params {
    rounds: u32,
    factor: f32,
    summand: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

const THREADS: u32 = 128u;

var<workgroup> operands: array<f16, 4u * SIDE * SIDE>;
// Room for the sums of as many subgroups as may be in a workgroup.
var<workgroup> sums: array<f32, 16u * SIDE * SIDE>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    for (var i = thread; i < 4u * SIDE * SIDE; i += THREADS) {
        operands[i] = f16(params.factor) * f16(i % 7u);
    }
    workgroupBarrier();
    let upper = coopLoadT<Left>(&operands[0], SIDE);
    let lower = coopLoadT<Left>(&operands[SIDE * SIDE], SIDE);
    let left = coopLoadT<Right>(&operands[2u * SIDE * SIDE], SIDE);
    let right = coopLoadT<Right>(&operands[3u * SIDE * SIDE], SIDE);
    var upper_left = Sum();
    var upper_right = Sum();
    var lower_left = Sum();
    var lower_right = Sum();
    for (var i = 0u; i < params.rounds; i++) {
        upper_left = coopMultiplyAdd(upper, left, upper_left);
        upper_right = coopMultiplyAdd(upper, right, upper_right);
        lower_left = coopMultiplyAdd(lower, left, lower_left);
        lower_right = coopMultiplyAdd(lower, right, lower_right);
    }
    // One after the other: Metal does not add matrices.
    let place = subgroup * SIDE * SIDE;
    coopStoreT(upper_left, &sums[place], SIDE);
    workgroupBarrier();
    var total = sums[thread];
    workgroupBarrier();
    coopStoreT(upper_right, &sums[place], SIDE);
    workgroupBarrier();
    total += sums[thread];
    workgroupBarrier();
    coopStoreT(lower_left, &sums[place], SIDE);
    workgroupBarrier();
    total += sums[thread];
    workgroupBarrier();
    coopStoreT(lower_right, &sums[place], SIDE);
    workgroupBarrier();
    output[id.x] = vec4(total + sums[thread]);
}
