// output[M, N] = activation(input[M, K] · weight[N, K]ᵀ + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// The form for matrix units that multiply matrices of 8×8 on subgroups of 32 lanes, as
// matmul_cooperative_wide_body explains: Apple's GPUs.

#include "shared/matrices_8.wgsl"

// Lanes of a subgroup.
const LANES: u32 = 32u;

#include "shared/matmul_cooperative_wide_body.wgsl"

#include "shared/product_scalar_tiles.wgsl"
