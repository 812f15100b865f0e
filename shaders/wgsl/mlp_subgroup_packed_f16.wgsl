// output[rows, columns] = activation(input[rows, inner] · up[inner, hidden] + up_bias) · down[hidden,
// columns] + down_bias
//                         (+ input[rows, columns]), inner and columns 33 to 64
//
// The form for software adapters, as mlp_subgroup_body explains, with weights in f16.

@group(0) @binding(2) var up: texture_storage_2d<rgba32uint, read>;
@group(0) @binding(4) var down: texture_storage_2d<rgba32uint, read>;

#include "shared/panels_packed_f16.wgsl" where weight = up, weight_texels = up_texels

#include "shared/panels_packed_f16.wgsl" where weight = down, weight_texels = down_texels

#include "shared/mlp_subgroup_body.wgsl"
