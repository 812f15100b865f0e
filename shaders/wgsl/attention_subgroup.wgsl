// output[image, query, head, :] = Σ_key softmax_key(scale · query · key) · value, for heads of at most 64
// values
//
// As attention_subgroup_body explains, for few queries: drivers compile this one faster.

// Queries of a block, and blocks of a workgroup.
const ROWS: u32 = 8u;
const BLOCKS: u32 = 1u;

#include "shared/attention_subgroup_body.wgsl"
