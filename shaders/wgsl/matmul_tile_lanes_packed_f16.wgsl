// output[M, N] = activation(input[M, K] · weight[N, K]ᵀ + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// The form for GPUs with subgroups of up to 64 lanes if K and N are multiples of four, as
// matmul_tile_lanes_body explains, with a weight in f16, two values per word, as in matmul_tile_packed_f16.

#include "shared/matmul_params.wgsl"

#include "shared/operands_packed_f16.wgsl"

#include "shared/matmul_tile_lanes_body.wgsl"
