// One workgroup per row, whose threads take its elements in turns: where a row lies is computed once and not
// per element, as integers are slow to divide. The workgroups lie in a grid that is folded where a side would
// be too long.
const THREADS: u32 = 64u;

fn row_of(workgroup: vec3<u32>, grid: vec3<u32>) -> u32 {
    return workgroup.x + workgroup.y * grid.x;
}
