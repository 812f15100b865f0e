// The epilogue of a product: the bias, the activation and the residual, of four columns of a row; `column`
// counts vectors.
fn finish(sum: vec4<f32>, row: u32, column: u32) {
    let vectors = params.columns / 4u;
    if row >= params.rows || column >= vectors { return; }
    let place = row * vectors + column;
    var x = sum;
    if params.has_bias != 0u { x += bias[column]; }
    var value = vec4(activate(x.x), activate(x.y), activate(x.z), activate(x.w));
    if params.has_residual != 0u { value += residual[place]; }
    write_output(place, value);
}

#include "shared/activate.wgsl"
