#include "shared/sequences.wgsl"

// How many masks leave a key out, each by adding the lowest float; a key beyond the last token is none at
// all.
fn masks_of(sequence: Sequence, key: u32, query: u32) -> u32 {
    if key >= sequence.length { return 2u; }
    let later = u32(params.causal != 0u && key > query);
    if params.has_mask == 0u { return later; }
    return later + u32(key_mask[sequence.first + key] == 0u);
}
