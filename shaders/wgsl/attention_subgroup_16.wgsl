// output[image, query, head, :] = Σ_key softmax_key(scale · query · key) · value, for heads of at most 64
// values
//
// As attention_subgroup_body explains, for many queries: each key and value that is loaded, lane by lane,
// serves 16 of them.

// Queries of a workgroup. The loops over them must be unrolled, as in matmul_subgroup: what they walk then
// lies in registers.
const ROWS: u32 = 16u;

// Whether some keys may be hidden from some queries: by a mask of keys, or because they come later.
const HIDES_KEYS: u32 = 0u;

#include "shared/attention_subgroup_body.wgsl"
