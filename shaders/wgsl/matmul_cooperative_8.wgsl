// output[M, N] = activation(input[M, K] · weight[N, K]ᵀ + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// The form for matrix units that multiply matrices of 8×8 on subgroups of 8 lanes, as
// matmul_cooperative_body explains.

#include "shared/matrices_8.wgsl"

// Lanes of a subgroup.
const LANES: u32 = 8u;

#include "shared/matmul_cooperative_body.wgsl"

#include "shared/product_scalar_tiles.wgsl"
