// output[image, query, head, :] = Σ_key softmax_key(scale · query · key) · value
//
// The form for matrix units that multiply matrices of 16×16, as attention_cooperative_body explains.

#include "shared/matrices_16.wgsl"

#include "shared/attention_cooperative_body.wgsl"

#include "shared/attention_vector_tiles.wgsl"
