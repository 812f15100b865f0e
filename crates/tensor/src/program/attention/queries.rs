//! Attention of a few queries of one head, which lie in the lanes of vectors.
//!
//! As in FlashAttention (Dao et al. 2022, <https://arxiv.org/abs/2205.14135>), keys come in tiles, with a
//! running maximum and sum per query, so that scores never leave a core's first cache. Products of matrices
//! are not faster for heads of 64 values, and for CLIPSeg's decoder, whose heads have 16, they would leave
//! half of each of their tiles empty.

use std::f32::consts::{LN_2, LOG2_E};
use std::ops::Range;

use clipseg_shaders::twins::LOWEST;
use rten_simd::ops::{BitOps, FloatOps, IntOps, NumOps};
use rten_simd::{Isa, Simd, SimdOp};

use super::panels::{PANEL, Panel, Panels};

/// Vectors of queries that are computed together: each key and value that is loaded serves both.
const VECTORS: usize = 2;
/// Keys of a tile. Its scores have 16 KiB with vectors of 16 lanes.
pub(super) const TILE: usize = 128;

/// Some queries of a head, and what they attend to.
pub(super) struct Queries<'a> {
    /// The first query's values; each further query's come `stride` later.
    pub values: &'a [f32],
    pub stride: usize,
    pub count: usize,
    pub head_size: usize,
    /// What scores are multiplied by.
    pub scale: f32,
    pub panels: &'a Panels,
    /// How many keys there are.
    pub keys: usize,
    /// Changes the scores of some keys and queries, `[keys, lanes]`, as masks want it.
    pub mask: &'a dyn Fn(Range<usize>, Scores<'_>),
    /// The first query's output; each further query's comes `output_stride` later.
    pub output: &'a mut [f32],
    pub output_stride: usize,
    /// Where to work; what it holds does not matter.
    pub memory: &'a mut Vec<f32>,
}

/// Scores of some keys.
pub(super) struct Scores<'a> {
    /// `[keys, lanes]`
    pub values: &'a mut [f32],
    pub lanes: usize,
    /// The query of the first lane.
    pub first_query: usize,
}

impl SimdOp for Queries<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let lanes = VECTORS * isa.f32().len();
        // Queries `[head_size, lanes]`, scores `[TILE, lanes]`, sums of weighed values `[head_size, lanes]`.
        let padded = self.head_size.next_multiple_of(PANEL);
        self.memory.resize((self.head_size + TILE + padded) * lanes, 0.0);
        let (queries, rest) = self.memory.split_at_mut(self.head_size * lanes);
        let (scores, sums) = rest.split_at_mut(TILE * lanes);
        for first in (0..self.count).step_by(lanes) {
            let count = lanes.min(self.count - first);
            // A score as a power of two.
            let scale = self.scale * LOG2_E;
            for (channel, queries) in queries.chunks_exact_mut(lanes).enumerate() {
                for (lane, query) in queries.iter_mut().enumerate() {
                    let is_one = lane < count;
                    *query = if is_one {
                        scale * self.values[(first + lane) * self.stride + channel]
                    } else {
                        0.0
                    };
                }
            }
            sums.fill(0.0);
            let ops = isa.f32();
            let mut largest = [ops.splat(LOWEST); VECTORS];
            let mut totals = [ops.zero(); VECTORS];
            for start in (0..self.keys).step_by(TILE) {
                let keys = start..self.keys.min(start + TILE);
                let scores = &mut scores[..keys.len().next_multiple_of(PANEL) * lanes];
                let panels = self.panels.keys(start / PANEL..keys.end.div_ceil(PANEL));
                for (panel, scores) in panels.zip(scores.chunks_exact_mut(PANEL * lanes)) {
                    multiply(isa, queries, panel, scores);
                }
                let scores = &mut scores[..keys.len() * lanes];
                (self.mask)(keys.clone(), Scores { values: scores, lanes, first_query: first });
                let corrections = exponentials(isa, scores, &mut largest, &mut totals);
                let panels = self.panels.values(keys);
                for (panel, sums) in panels.zip(sums.chunks_exact_mut(PANEL * lanes)) {
                    weigh(isa, scores, panel, corrections, sums);
                }
            }
            for (total, totals) in totals.into_iter().zip(scores.chunks_exact_mut(ops.len())) {
                ops.store(total, totals);
            }
            for lane in 0..count {
                let output = &mut self.output[(first + lane) * self.output_stride..][..self.head_size];
                for (channel, value) in output.iter_mut().enumerate() {
                    *value = sums[channel * lanes + lane] / scores[lane];
                }
            }
        }
    }
}

/// `scores[key, lane] = Σ_channel queries[channel, lane] · panel[channel, key]`
#[inline(always)]
fn multiply<I: Isa>(isa: I, queries: &[f32], panel: &[Panel], scores: &mut [f32]) {
    let ops = isa.f32();
    let lanes = VECTORS * ops.len();
    let mut sums = [[ops.zero(); VECTORS]; PANEL];
    for (query, keys) in queries.chunks_exact(lanes).zip(panel) {
        let query: [_; VECTORS] = ops.load_many(query);
        for (sums, &key) in sums.iter_mut().zip(keys) {
            let key = ops.splat(key);
            for (sum, query) in sums.iter_mut().zip(query) {
                *sum = ops.mul_add(query, key, *sum);
            }
        }
    }
    store(isa, sums, scores);
}

/// `sums[channel, lane] = corrections[lane] · sums[channel, lane] + Σ_key weights[key, lane] · panel[key, channel]`
#[inline(always)]
fn weigh<I: Isa>(isa: I, weights: &[f32], panel: &[Panel], corrections: [I::F32; VECTORS], sums: &mut [f32]) {
    let ops = isa.f32();
    let lanes = VECTORS * ops.len();
    let mut channels = [[ops.zero(); VECTORS]; PANEL];
    for (channel, sums) in channels.iter_mut().zip(sums.chunks_exact(lanes)) {
        let sums: [_; VECTORS] = ops.load_many(sums);
        for (vector, value) in channel.iter_mut().enumerate() {
            *value = ops.mul(sums[vector], corrections[vector]);
        }
    }
    for (weight, values) in weights.chunks_exact(lanes).zip(panel) {
        let weight: [_; VECTORS] = ops.load_many(weight);
        for (channel, &value) in channels.iter_mut().zip(values) {
            let value = ops.splat(value);
            for (sum, weight) in channel.iter_mut().zip(weight) {
                *sum = ops.mul_add(weight, value, *sum);
            }
        }
    }
    store(isa, channels, sums);
}

#[inline(always)]
fn store<I: Isa>(isa: I, rows: [[I::F32; VECTORS]; PANEL], values: &mut [f32]) {
    let ops = isa.f32();
    let vectors = values.chunks_exact_mut(ops.len());
    for (vector, values) in rows.into_iter().flatten().zip(vectors) {
        ops.store(vector, values);
    }
}

/// Replaces the scores of a tile by their exponentials, less the largest so far, and adds these to the
/// totals. What earlier sums have to be multiplied by, now that the largest may be another.
#[inline(always)]
fn exponentials<I: Isa>(
    isa: I,
    scores: &mut [f32],
    largest: &mut [I::F32; VECTORS],
    totals: &mut [I::F32; VECTORS],
) -> [I::F32; VECTORS] {
    let ops = isa.f32();
    let lanes = VECTORS * ops.len();
    let before = *largest;
    for scores in scores.chunks_exact(lanes) {
        let scores: [_; VECTORS] = ops.load_many(scores);
        for (largest, score) in largest.iter_mut().zip(scores) {
            *largest = ops.max(score, *largest);
        }
    }
    let mut corrections = before;
    for (vector, correction) in corrections.iter_mut().enumerate() {
        *correction = power_of_two(isa, ops.sub(before[vector], largest[vector]));
        totals[vector] = ops.mul(totals[vector], *correction);
    }
    for scores in scores.chunks_exact_mut(lanes) {
        for (vector, scores) in scores.chunks_exact_mut(ops.len()).enumerate() {
            let power = power_of_two(isa, ops.sub(ops.load(scores), largest[vector]));
            totals[vector] = ops.add(totals[vector], power);
            ops.store(power, scores);
        }
    }
    corrections
}

/// 2ˣ for x ≤ 0, within two units in the last place; what is below 2⁻¹²⁵ becomes 2⁻¹²⁵. NaN stays NaN.
#[inline(always)]
fn power_of_two<I: Isa>(isa: I, x: I::F32) -> I::F32 {
    let (ops, integers) = (isa.f32(), isa.i32());
    // In this order NaN is what remains.
    let x = ops.max(ops.splat(-125.0), x);
    let whole = ops.round_ties_even(x);
    let fraction = ops.sub(x, whole);
    let mut power = ops.splat(POWERS[0]);
    for &coefficient in &POWERS[1..] {
        power = ops.mul_add(power, fraction, ops.splat(coefficient));
    }
    // A float's exponent begins at bit 23.
    let exponent = integers.shift_left::<23>(ops.to_int_round(whole));
    let bits: I::I32 = power.reinterpret_cast();
    integers.add(bits, exponent).reinterpret_cast()
}

/// The minimax polynomial of 2ˣ between -½ and ½, by Remez' algorithm; the highest power first.
const POWERS: [f32; 7] =
    [1.534_581_2e-4, 1.339_993_1e-3, 9.618_489e-3, 5.550_328_6e-2, 0.240_226_46, LN_2, 1.0];
