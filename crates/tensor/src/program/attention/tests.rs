use clipseg_shaders::kernels::attention;
use clipseg_shaders::twins;
use clipseg_testing::Random;

use super::queries::TILE;
use crate::twin::{Call, Input};

/// Attention here, and by the twin.
fn both(params: &attention::Params, values: &[f32], mask: &[u32], cu_seqlens: &[u32]) -> [Vec<f32>; 2] {
    let mut outputs = [vec![0.0; values.len() / 3], vec![0.0; values.len() / 3]];
    let [ours, expected] = &mut outputs;
    let inputs = [bytemuck::cast_slice(values), mask, cu_seqlens].map(Input::Words);
    let params_bytes = bytemuck::bytes_of(params);
    super::attention(Call { params: params_bytes, overrides: &[], inputs: &inputs, output: ours }).unwrap();
    twins::attention(params, values, mask, cu_seqlens, expected);
    outputs
}

fn params(tokens: usize, heads: u32, head_size: u32) -> attention::Params {
    let scale = 1.0 / (head_size as f32).sqrt();
    attention::Params { tokens: tokens as u32, heads, head_size, scale, ..Default::default() }
}

fn largest_difference([ours, expected]: &[Vec<f32>; 2]) -> f32 {
    let differences = ours.iter().zip(expected).map(|(ours, expected)| (ours - expected).abs());
    differences.fold(0.0, |largest, difference| if difference <= largest { largest } else { difference })
}

#[test]
fn tiles_and_blocks_that_are_not_full_equal_the_twin() {
    let sizes = [1, 5, 31, 64, TILE - 1, TILE, TILE + 1, 2 * TILE + 45];
    for (tokens, head_size) in sizes.into_iter().zip([16, 3, 64, 30, 128, 1, 16, 24]) {
        for (causal, padding) in [(0, false), (1, false), (0, true), (1, true)] {
            let mut random = Random((tokens + causal) as u64);
            let values: Vec<_> =
                random.values(2 * tokens * 3 * 2 * head_size).iter().map(|value| 4.0 * value).collect();
            let mask = if padding { random.indices(2 * tokens, 2) } else { Vec::new() };
            let params = attention::Params {
                causal: causal as u32,
                has_mask: padding.into(),
                ..params(tokens, 2, head_size as u32)
            };
            let difference = largest_difference(&both(&params, &values, &mask, &[]));
            // Scores reach 30, and their rounding is that of the probabilities.
            assert!(difference <= 4.0 * 1e-5, "{tokens} tokens, heads of {head_size}: {difference}");
        }
    }
}

#[test]
fn sequences_of_any_length_equal_the_twin() {
    let cu_seqlens = [0, 40, 40, 41, 41 + TILE as u32 + 7];
    let rows = TILE + 50;
    let mut values = Random(5).values(rows * 3 * 3 * 16);
    values.iter_mut().for_each(|value| *value *= 3.0);
    let params = attention::Params { has_cu_seqlens: 1, causal: 1, ..params(0, 3, 16) };
    let outputs = both(&params, &values, &[], &cu_seqlens).map(|output| output[..(TILE + 48) * 48].to_vec());
    assert!(largest_difference(&outputs) <= 1e-5);
}

#[test]
fn scores_that_exponentials_cannot_hold_equal_the_twin() {
    // Scores of some thousands, so that all but the largest vanish; their own rounding is 5e-4.
    let values: Vec<_> = Random(6).values(200 * 3 * 8).iter().map(|value| 80.0 * value).collect();
    assert!(largest_difference(&both(&params(200, 1, 8), &values, &[], &[])) <= 80.0 * 1e-3);
}

#[test]
fn what_is_not_a_number_stays_none() {
    let mut values = Random(7).values(150 * 3 * 8);
    // A channel of the key before the last.
    values[148 * 24 + 8] = f32::NAN;
    let [ours, expected] = both(&params(150, 1, 8), &values, &[], &[]);
    assert!(expected.iter().all(|value| value.is_nan()) && ours.iter().all(|value| value.is_nan()));
}
