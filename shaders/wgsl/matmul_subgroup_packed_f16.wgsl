// output[M, N] = activation(input[M, K] · weight[K, N] + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// The form for software adapters, as matmul_subgroup_body explains, with a weight in f16: that halves its
// memory and its loads.

@group(0) @binding(2) var weight: texture_storage_2d<rgba32uint, read>;

#include "shared/panels_packed_f16.wgsl"

#include "shared/matmul_subgroup_body.wgsl"
