// output[M, N] = activation(input[M, K] · weight[K, N] + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// The form for software adapters, as matmul_subgroup_body explains, with a weight in f32.

@group(0) @binding(2) var weight: texture_storage_2d<rgba32float, read>;

#include "shared/panels_f32.wgsl"

#include "shared/matmul_subgroup_body.wgsl"
