// output[M, N] = activation(input[M, K] · weight[N, K]ᵀ + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// The form for GPUs with subgroups of up to 64 lanes if K and N are multiples of four, as
// matmul_tile_lanes_body explains, with operands in f32.

#include "shared/matmul_params.wgsl"

#include "shared/operands_f32.wgsl"

#include "shared/matmul_tile_lanes_body.wgsl"
