//! Attention, with every score stored.

use super::softmax;
use crate::kernels::{attention, attention_scores, softmax as softmax_kernel};

/// What transformers adds to a masked score. Adding it leaves it as it is; adding it twice gives -inf.
pub const LOWEST: f32 = f32::MIN;

/// `scores[image, head, query, key] = scale · query · key`, masked as transformers masks.
///
/// `query_key_value` is `[images · tokens, (query, key, value), heads, head size]`, `key_mask`
/// `[images, tokens]` with 0 for a key to be left out; the mask is not read where the parameters leave it
/// out. A key that is masked or, in causal attention, later than its query scores the lowest float; one that
/// is both scores -inf.
pub fn attention_scores(
    params: &attention_scores::Params,
    query_key_value: &[f32],
    key_mask: &[u32],
    scores: &mut [f32],
) {
    let (images, tokens) = (params.images as usize, params.tokens as usize);
    let (heads, head_size) = (params.heads as usize, params.head_size as usize);
    let stride = 3 * heads * head_size;
    let mut place = 0;
    for image in 0..images {
        for head in 0..heads {
            for query in 0..tokens {
                let query_start = (image * tokens + query) * stride + head * head_size;
                for key in 0..tokens {
                    let key_start = (image * tokens + key) * stride + (heads + head) * head_size;
                    let mut score = 0.0;
                    for channel in 0..head_size {
                        score +=
                            query_key_value[query_start + channel] * query_key_value[key_start + channel];
                    }
                    let masked = params.has_mask != 0 && key_mask[image * tokens + key] == 0;
                    let later = params.causal != 0 && key > query;
                    scores[place] = match (masked, later) {
                        (false, false) => params.scale * score,
                        (true, true) => f32::NEG_INFINITY,
                        _ => LOWEST,
                    };
                    place += 1;
                }
            }
        }
    }
}

/// `output[image, query, head, :] = Σ_key softmax_key(scores) · value`, with the scores of
/// [`attention_scores()`].
///
/// Images may differ in length: where the parameters say so, `cu_seqlens` `[images + 1]` has the row that
/// each starts with, and a row beyond the input means its end. Else the number of images, which the kernel
/// takes from its grid, follows from the output's length.
pub fn attention(
    params: &attention::Params,
    query_key_value: &[f32],
    key_mask: &[u32],
    cu_seqlens: &[u32],
    output: &mut [f32],
) {
    let attention::Params { tokens, heads, head_size, causal, has_mask, has_cu_seqlens, scale } = *params;
    let width = (heads * head_size) as usize;
    let rows = (output.len() / width) as u32;
    let even: Vec<u32> = (0..=rows.checked_div(tokens).unwrap_or(0)).map(|image| image * tokens).collect();
    let cu_seqlens = if has_cu_seqlens != 0 { cu_seqlens } else { &even };
    for image in cu_seqlens.windows(2) {
        // Within the input, whatever `cu_seqlens` says.
        let first = image[0].min(rows) as usize;
        let end = (image[1].min(rows) as usize).max(first);
        let tokens = (end - first) as u32;
        if tokens == 0 {
            continue;
        }
        let params =
            attention_scores::Params { images: 1, tokens, heads, head_size, causal, has_mask, scale };
        let key_mask = if has_mask != 0 { &key_mask[first..end] } else { &[] };
        let query_key_value = &query_key_value[3 * width * first..3 * width * end];
        attend(&params, query_key_value, key_mask, &mut output[width * first..width * end]);
    }
}

/// Of one image.
fn attend(params: &attention_scores::Params, query_key_value: &[f32], key_mask: &[u32], output: &mut [f32]) {
    let (tokens, heads, head_size) =
        (params.tokens as usize, params.heads as usize, params.head_size as usize);
    let mut scores = vec![0.0; heads * tokens * tokens];
    attention_scores(params, query_key_value, key_mask, &mut scores);
    let mut probabilities = vec![0.0; scores.len()];
    let softmax_params =
        softmax_kernel::Params { rows: params.heads * params.tokens, columns: params.tokens };
    softmax(&softmax_params, &scores, &mut probabilities);

    let stride = 3 * heads * head_size;
    output.fill(0.0);
    for (row, probabilities) in probabilities.chunks_exact(tokens).enumerate() {
        let (query, head) = (row % tokens, row / tokens);
        let output_start = (query * heads + head) * head_size;
        for (key, probability) in probabilities.iter().enumerate() {
            let value_start = key * stride + (2 * heads + head) * head_size;
            for channel in 0..head_size {
                output[output_start + channel] += probability * query_key_value[value_start + channel];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twins::assert_near;

    /// One image of three tokens, two heads of two values.
    fn attention_of(causal: u32, key_mask: &[u32]) -> [f32; 12] {
        let query_key_value: Vec<f32> = (0..36).map(|i| ((i * 7 % 17) as f32 - 8.0) * 0.25).collect();
        let has_mask = u32::from(!key_mask.is_empty());
        let params = attention::Params {
            tokens: 3,
            heads: 2,
            head_size: 2,
            causal,
            has_mask,
            has_cu_seqlens: 0,
            scale: 0.7,
        };
        let mut output = [f32::NAN; 12];
        attention(&params, &query_key_value, key_mask, &[], &mut output);
        output
    }

    // softmax(scale · q kᵀ + masks) · v with PyTorch, the masks added as transformers 4.37 adds them: the
    // causal one and the keys' one are both torch.finfo(torch.float32).min where they mask.
    #[test]
    fn attention_equals_pytorch() {
        let full = [
            -1.003_169_7,
            0.746_830_3,
            -1.735_435_2,
            0.014_564_751,
            -0.886_173_7,
            0.863_826_3,
            -1.75,
            0.0,
            -0.879_340_1,
            0.870_659_9,
            -1.764_564_8,
            -0.014_564_751,
        ];
        let causal = [
            -0.75,
            1.0,
            -1.5,
            0.25,
            -0.858_687_3,
            0.891_312_7,
            -1.625,
            0.125,
            -0.879_340_1,
            0.870_659_9,
            -1.764_564_8,
            -0.014_564_751,
        ];
        assert_near(&attention_of(0, &[]), &full, 1e-6);
        assert_near(&attention_of(1, &[]), &causal, 1e-6);
    }

    // As above. The first query of the left-padded one sees no key: its weights are equal over all but the
    // later padding.
    #[test]
    fn masked_attention_equals_pytorch() {
        let left = [
            -1.0,
            0.75,
            -1.75,
            0.0,
            -1.0,
            0.75,
            -1.75,
            0.0,
            -1.020_674_3,
            0.729_325_66,
            -1.880_465_3,
            -0.130_465_26,
        ];
        let right = [
            -0.899_296_3,
            0.850_703_7,
            -1.619_534_7,
            0.130_465_26,
            -0.858_687_3,
            0.891_312_7,
            -1.625,
            0.125,
            -0.864_090_3,
            0.885_909_7,
            -1.630_465_3,
            0.119_534_74,
        ];
        assert_near(&attention_of(1, &[0, 1, 1]), &left, 1e-6);
        assert_near(&attention_of(0, &[1, 1, 0]), &right, 1e-6);
    }

    #[test]
    fn a_key_both_masked_and_later_takes_no_part() {
        let mut scores = [0.0; 4];
        let params = attention_scores::Params {
            images: 1,
            tokens: 2,
            heads: 1,
            head_size: 1,
            causal: 1,
            has_mask: 1,
            scale: 0.5,
        };
        attention_scores(&params, &[2.0, 3.0, 0.0, 5.0, 7.0, 0.0], &[1, 0], &mut scores);
        assert_eq!(scores, [3.0, f32::NEG_INFINITY, 7.5, LOWEST]);
    }

    #[test]
    fn images_of_different_lengths_are_those_alone() {
        let query_key_value: Vec<f32> = (0..36).map(|i| ((i * 7 % 17) as f32 - 8.0) * 0.25).collect();
        let params = |tokens, has_cu_seqlens| attention::Params {
            tokens,
            heads: 2,
            head_size: 2,
            causal: 1,
            has_mask: 0,
            has_cu_seqlens,
            scale: 0.7,
        };
        let mut packed = [f32::NAN; 12];
        attention(&params(0, 1), &query_key_value, &[], &[0, 1, 3], &mut packed);
        let (mut first, mut second) = ([0.0; 4], [0.0; 8]);
        attention(&params(1, 0), &query_key_value[..12], &[], &[], &mut first);
        attention(&params(2, 0), &query_key_value[12..], &[], &[], &mut second);
        assert_eq!((&packed[..4], &packed[4..]), (&first[..], &second[..]));
    }
}
