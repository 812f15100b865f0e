// output[M, N] = activation(input[M, K] · weight[N, K]ᵀ + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// The form for GPUs if K and N are multiples of four, as matmul_tile_body explains, with a weight in f16, two
// values per word: half the memory and half the traffic. They are widened on their way to workgroup memory by
// unpack2x16float, which needs no feature; all arithmetic is in f32. The input and the output may be f16 too.

#include "shared/matmul_params.wgsl"

#include "shared/operands_packed_f16.wgsl"

#include "shared/matmul_tile_body.wgsl"
