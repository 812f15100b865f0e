// output[M, N] = activation(input[M, K] · weight[N, K]ᵀ + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// The form for matrix units that multiply matrices of 8×8, as matmul_cooperative_small_body explains.

#include "shared/matrices_8.wgsl"

#include "shared/matmul_cooperative_small_body.wgsl"
