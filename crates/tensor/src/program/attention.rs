//! Attention, for a few queries at a time, so that the scores of no more than these are ever stored.

mod panels;
mod queries;
#[cfg(test)]
mod tests;

use std::ops::Range;

use clipseg_shaders::kernels::{attention, attention_scores};
use clipseg_shaders::twins::LOWEST;
use rayon::prelude::*;
use rten_gemm::GemmInputB;
use rten_simd::SimdOp;
use rten_vecmath::Softmax;

use self::panels::Panels;
use self::queries::{Queries, Scores};
use super::rows;
use crate::Result;
use crate::processor::gemm::{Product, matrix};
use crate::twin::Call;

/// Queries of a piece of work: as many as the widest vectors hold at once.
const QUERIES: usize = 32;

/// Fused queries, keys and values, `[tokens, (query, key, value), heads, head_size]`, with their masks.
#[derive(Clone, Copy)]
struct Fused<'a> {
    values: &'a [f32],
    heads: usize,
    head_size: usize,
    scale: f32,
    is_causal: bool,
    /// 0 masks a key.
    key_mask: Option<&'a [u32]>,
}

/// Selects the queries, keys or values of the fused tensor.
#[derive(Clone, Copy)]
enum Part {
    Query = 0,
    Key = 1,
    Value = 2,
}

/// Consecutive tokens that attend to each other and to no others.
#[derive(Clone, Copy)]
struct Sequence {
    first: usize,
    tokens: usize,
}

impl Fused<'_> {
    /// `[tokens, head_size]`
    fn part(
        &self,
        part: Part,
        head: usize,
        first: usize,
        tokens: usize,
    ) -> Result<rten_tensor::Matrix<'_, f32>> {
        let stride = 3 * self.heads * self.head_size;
        matrix(self.from(part, head, first), [tokens, self.head_size], [stride, 1])
    }

    /// A part of a head's, from a token on.
    fn from(&self, part: Part, head: usize, token: usize) -> &[f32] {
        let width = self.heads * self.head_size;
        let start = token * 3 * width + part as usize * width + head * self.head_size;
        self.values.get(start..).unwrap_or_default()
    }

    fn panels(&self, Sequence { first, tokens }: Sequence, head: usize) -> Panels {
        let [keys, values] = [Part::Key, Part::Value].map(|part| self.from(part, head, first));
        Panels::new(keys, values, 3 * self.heads * self.head_size, tokens, self.head_size)
    }

    /// Attention of a sequence's queries from `first` on, into one head's columns of `rows`, of which there
    /// is one per query.
    fn attend(
        &self,
        sequence: Sequence,
        first: usize,
        head: usize,
        panels: &Panels,
        rows: &mut [f32],
        memory: &mut Vec<f32>,
    ) {
        let width = self.heads * self.head_size;
        let count = rows.len() / width;
        // A key that is later than all of them counts only where those before it may be masked.
        let keys = if self.is_causal && self.key_mask.is_none() { first + count } else { sequence.tokens };
        let queries = Queries {
            values: self.from(Part::Query, head, sequence.first + first),
            stride: 3 * width,
            count,
            head_size: self.head_size,
            scale: self.scale,
            panels,
            keys,
            mask: &|keys, mut scores| {
                scores.first_query += first;
                self.mask(sequence, keys, scores);
            },
            output: &mut rows[head * self.head_size..],
            output_stride: width,
            memory,
        };
        queries.dispatch();
    }

    /// Masks scores as the twin does.
    fn mask(&self, sequence: Sequence, keys: Range<usize>, scores: Scores<'_>) {
        if !self.is_causal && self.key_mask.is_none() {
            return;
        }
        for (key, row) in keys.zip(scores.values.chunks_exact_mut(scores.lanes)) {
            let is_masked = self.is_masked(sequence, key);
            for (lane, score) in row.iter_mut().enumerate() {
                self.mask_score(score, is_masked, scores.first_query + lane, key);
            }
        }
    }

    fn is_masked(&self, sequence: Sequence, key: usize) -> bool {
        self.key_mask.is_some_and(|mask| mask[sequence.first + key] == 0)
    }

    fn mask_score(&self, score: &mut f32, is_masked: bool, query: usize, key: usize) {
        match (is_masked, self.is_causal && key > query) {
            (false, false) => {}
            (true, true) => *score = f32::NEG_INFINITY,
            _ => *score = LOWEST,
        }
    }

    /// The masked and scaled scores of some of a sequence's queries, `[queries, tokens]`.
    fn scores(
        &self,
        sequence: Sequence,
        queries: Range<usize>,
        head: usize,
        keys: GemmInputB<'_, f32>,
        scores: &mut [f32],
    ) -> Result<()> {
        let input = self.part(Part::Query, head, sequence.first + queries.start, queries.len())?;
        Product { input, weight: keys, scale: self.scale, share: 0.0, bias: None }.run(scores)?;
        if !self.is_causal && self.key_mask.is_none() {
            return Ok(());
        }
        for (query, scores) in queries.zip(scores.chunks_exact_mut(sequence.tokens)) {
            for (key, score) in scores.iter_mut().enumerate() {
                self.mask_score(score, self.is_masked(sequence, key), query, key);
            }
        }
        Ok(())
    }
}

/// The twin of `attention`.
pub(super) fn attention(call: Call<'_>) -> Result<()> {
    let params: attention::Params = call.params()?;
    let (heads, head_size) = (params.heads as usize, params.head_size as usize);
    let width = heads * head_size;
    if width == 0 {
        return Ok(());
    }
    let tokens = call.output.len() / width;
    let fused = Fused {
        values: call.floats_of(0, 3 * width * tokens)?,
        heads,
        head_size,
        scale: params.scale,
        is_causal: params.causal != 0,
        key_mask: if params.has_mask != 0 { Some(call.integers(1)?) } else { None },
    };
    let sequences = if params.has_cu_seqlens != 0 {
        packed_sequences(call.integers(2)?, tokens)
    } else {
        let each = (params.tokens as usize).max(1);
        (0..tokens / each).map(|image| Sequence { first: image * each, tokens: each }).collect()
    };
    let heads_of = sequences
        .par_iter()
        .flat_map(|&sequence| (0..heads).into_par_iter().map(move |head| (sequence, head)));
    let panels: Vec<Panels> = heads_of.map(|(sequence, head)| fused.panels(sequence, head)).collect();

    let mut blocks = Vec::new();
    let (mut rest, mut reached) = (call.output, 0);
    for (&sequence, panels) in sequences.iter().zip(panels.chunks_exact(heads)) {
        let (_, from) = rest.split_at_mut((sequence.first - reached) * width);
        let (rows, after) = from.split_at_mut(sequence.tokens * width);
        (rest, reached) = (after, sequence.first + sequence.tokens);
        let numbered = rows.chunks_mut(QUERIES * width).enumerate();
        blocks.extend(numbered.map(|(block, rows)| (sequence, panels, block * QUERIES, rows)));
    }
    blocks.into_par_iter().for_each_init(Vec::new, |memory, (sequence, panels, first, rows)| {
        for (head, panels) in panels.iter().enumerate() {
            fused.attend(sequence, first, head, panels, rows, memory);
        }
    });
    Ok(())
}

/// The sequences between consecutive `starts`, none of which reaches beyond `tokens`. A start that is below
/// the one before gives a sequence without tokens, which is left out.
fn packed_sequences(starts: &[u32], tokens: usize) -> Vec<Sequence> {
    let mut reached = 0;
    let mut sequences = Vec::new();
    for ends in starts.windows(2) {
        let [first, end] = [ends[0], ends[1]].map(|row| (row as usize).min(tokens));
        // A sequence of no tokens has nothing to write, and one that starts before the last ended would write
        // its rows again.
        if end > first && first >= reached {
            sequences.push(Sequence { first, tokens: end - first });
            reached = end;
        }
    }
    sequences
}

/// The twin of `attention_scores`.
pub(super) fn scores(call: Call<'_>) -> Result<()> {
    let params: attention_scores::Params = call.params()?;
    let [images, tokens, heads, head_size] =
        [params.images, params.tokens, params.heads, params.head_size].map(|size| size as usize);
    let fused = Fused {
        values: call.floats_of(0, 3 * images * tokens * heads * head_size)?,
        heads,
        head_size,
        scale: params.scale,
        is_causal: params.causal != 0,
        key_mask: if params.has_mask != 0 { Some(call.integers(1)?) } else { None },
    };
    let maps = call.output.par_chunks_mut((tokens * tokens).max(1)).enumerate();
    maps.try_for_each(|(map, scores)| {
        let sequence = Sequence { first: map / heads * tokens, tokens };
        let keys = fused.part(Part::Key, map % heads, sequence.first, tokens)?;
        fused.scores(sequence, 0..tokens, map % heads, GemmInputB::Unpacked(keys.transposed()), scores)
    })
}

/// The twin of `softmax`.
pub(super) fn softmax(call: Call<'_>) -> Result<()> {
    let params: clipseg_shaders::kernels::softmax::Params = call.params()?;
    let columns = params.columns as usize;
    let input = call.floats_of(0, call.output.len())?;
    rows::for_each(call.output, columns, |row, values| {
        values.copy_from_slice(&input[row * columns..][..columns]);
        softmax_row(values);
    });
    Ok(())
}

fn softmax_row(scores: &mut [f32]) {
    Softmax::new_mut(scores).dispatch();
}
