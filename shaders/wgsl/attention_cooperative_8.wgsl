// output[image, query, head, :] = Σ_key softmax_key(scale · query · key) · value
//
// The form for matrix units that multiply matrices of 8×8 on subgroups of 8 lanes, as
// attention_cooperative_body explains.

#include "shared/matrices_8.wgsl"

// Lanes of a subgroup.
const LANES: u32 = 8u;

#include "shared/attention_cooperative_body.wgsl"

#include "shared/attention_scalar_tiles.wgsl"
