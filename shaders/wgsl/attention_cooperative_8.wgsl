// output[image, query, head, :] = Σ_key softmax_key(scale · query · key) · value
//
// The form for matrix units that multiply matrices of 8×8, as attention_cooperative_body explains.

#include "shared/matrices_8.wgsl"

#include "shared/attention_cooperative_body.wgsl"
