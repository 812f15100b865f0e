// output[image, query, head, :] = Σ_key softmax_key(scale · query · key) · value, for heads of at most 64
// values
//
// As attention_subgroup_body explains, for many queries: each key and value that is loaded, lane by lane,
// serves 32 of them.

// Queries of a block, and blocks of a workgroup.
const ROWS: u32 = 16u;
const BLOCKS: u32 = 2u;

#include "shared/attention_subgroup_body.wgsl"
