// output[M, N] = activation(input[M, K] · weight[N, K]ᵀ + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// The form for matrix units that multiply matrices of 16×16, as matmul_cooperative_body explains.

#include "shared/matrices_16.wgsl"

#include "shared/matmul_cooperative_body.wgsl"

#include "shared/product_vector_tiles.wgsl"
