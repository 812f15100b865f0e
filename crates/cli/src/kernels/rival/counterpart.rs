//! Which work of ours an op of the Hub's repositories does, and on what: the same numbers as ours.

use anyhow::{Context, Result, bail};
use clipseg::tensor::{DType, Linear};
use clipseg::{Device, block_on};
use serde_json::{Value, json};

use crate::kernels::measure::{self, Recorded};
use crate::kernels::numbers;
use crate::kernels::work::{Arithmetic, EPSILON, Work};

/// The ops that have a counterpart here: the domain and the name of each.
pub const IDS: [&str; 11] = [
    "ai.onnx.MatMul",
    "com.microsoft.FusedMatMul",
    "ai.onnx.Gemm",
    "ai.onnx.Attention",
    ATTENTION,
    "ai.onnx.LayerNormalization",
    "ai.onnx.Softmax",
    "ai.onnx.Add",
    "ai.onnx.Mul",
    "com.microsoft.QuickGelu",
    "ai.onnx.Sigmoid",
];
/// Ours, of queries, keys and values in one tensor: ONNX has none of that form.
pub const ATTENTION: &str = "clipseg.Attention";

/// What an op is called with, and what it must give.
pub struct Request {
    pub operands: Vec<Operand>,
    /// ONNX's name of the output.
    pub output: &'static str,
    pub output_shape: Vec<usize>,
    pub attributes: Vec<(&'static str, Value)>,
    pub expected: Vec<f32>,
    /// What differs from ours.
    pub note: Option<&'static str>,
}

/// A tensor that an op is given.
pub struct Operand {
    /// ONNX's name of it.
    pub onnx: &'static str,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// Whether the op does this work.
pub fn computes(id: &str, work: Work) -> bool {
    match work {
        Work::Product { .. } => ["ai.onnx.MatMul", "com.microsoft.FusedMatMul", "ai.onnx.Gemm"].contains(&id),
        Work::Attention { .. } => ["ai.onnx.Attention", ATTENTION].contains(&id),
        Work::LayerNorm { .. } => id == "ai.onnx.LayerNormalization",
        Work::Softmax { .. } => id == "ai.onnx.Softmax",
        Work::Binary { operation: Arithmetic::Add, .. } => id == "ai.onnx.Add",
        Work::Binary { operation: Arithmetic::Mul, .. } => id == "ai.onnx.Mul",
        Work::QuickGelu { .. } => id == "com.microsoft.QuickGelu",
        Work::Sigmoid { .. } => id == "ai.onnx.Sigmoid",
        _ => false,
    }
}

/// Floating-point operations of the work, as ours are counted.
pub fn flops(work: Work, processor: &Device) -> Result<u64> {
    let forms = work.forms(processor, DType::F32)?;
    let form = forms.first().context("the processor runs every op")?;
    let kernels = measure::kernels(&Recorded::new(processor, form, 1)?);
    Ok(kernels.iter().map(|(_, cost)| cost.flops).sum())
}

/// What the op is called with to do this work.
pub fn request(id: &str, work: Work, processor: &Device) -> Result<Request> {
    let operand = |onnx, shape: &[usize], values: Vec<f32>| Operand { onnx, shape: shape.to_vec(), values };
    // The numbers that ours are given, too.
    let input = |onnx, place: usize, shape: &[usize]| {
        operand(onnx, shape, numbers::operand(place, shape.iter().product()))
    };
    let mut note = None;
    let answer = || measure::answer(work, processor);
    Ok(match work {
        Work::Product { m, n, k } => {
            let weight = numbers::weight(n * k);
            let a = input("A", 0, &[m, k]);
            let (operands, attributes) = match id {
                "ai.onnx.MatMul" => (vec![a, operand("B", &[k, n], transposed(&weight, k))], vec![]),
                "com.microsoft.FusedMatMul" => {
                    (vec![a, operand("B", &[n, k], weight)], vec![("transB", json!(1))])
                }
                _ => {
                    let bias = operand("C", &[n], numbers::bias(n));
                    (vec![a, operand("B", &[n, k], weight), bias], vec![("transB", json!(1))])
                }
            };
            let expected = if id == "ai.onnx.Gemm" {
                answer()?
            } else {
                note = Some("without a bias, which ours add");
                plain_product(processor, [m, n, k])?
            };
            Request { operands, output: "Y", output_shape: vec![m, n], attributes, expected, note }
        }
        Work::Attention { sequences, tokens, heads, head_size, causal } => {
            let packed = input("query_key_value", 0, &[sequences, tokens, 3 * heads * head_size]);
            if id == ATTENTION {
                let attributes = vec![("heads", json!(heads)), ("causal", json!(u8::from(causal)))];
                let expected = answer()?;
                return Ok(Request {
                    operands: vec![packed],
                    output: "output",
                    output_shape: vec![sequences, tokens, heads * head_size],
                    attributes,
                    expected,
                    note,
                });
            }
            let sizes = [sequences, tokens, heads, head_size];
            let shape = [sequences, heads, tokens, head_size];
            let part = |onnx, place| operand(onnx, &shape, by_head(&packed.values, sizes, 3, place));
            note = Some(
                "with the heads apart, where ours have queries, keys and values of all heads in one row",
            );
            Request {
                operands: vec![part("Q", 0), part("K", 1), part("V", 2)],
                output: "Y",
                output_shape: shape.to_vec(),
                attributes: vec![("is_causal", json!(u8::from(causal)))],
                expected: by_head(&answer()?, sizes, 1, 0),
                note,
            }
        }
        Work::LayerNorm { rows, columns } => Request {
            operands: vec![
                input("X", 0, &[rows, columns]),
                operand("Scale", &[columns], numbers::weight(columns)),
                operand("B", &[columns], numbers::bias(columns)),
            ],
            output: "Y",
            output_shape: vec![rows, columns],
            attributes: vec![("axis", json!(-1)), ("epsilon", json!(EPSILON))],
            expected: answer()?,
            note,
        },
        Work::Softmax { rows, columns } => Request {
            operands: vec![input("input", 0, &[rows, columns])],
            output: "output",
            output_shape: vec![rows, columns],
            attributes: vec![("axis", json!(-1))],
            expected: answer()?,
            note,
        },
        Work::Binary { length, .. } => Request {
            operands: vec![input("A", 0, &[length]), input("B", 1, &[length])],
            output: "C",
            output_shape: vec![length],
            attributes: vec![],
            expected: answer()?,
            note,
        },
        Work::QuickGelu { length } | Work::Sigmoid { length } => Request {
            operands: vec![input("X", 0, &[length])],
            output: "Y",
            output_shape: vec![length],
            attributes: vec![],
            expected: answer()?,
            note,
        },
        _ => bail!("{id} does no {}", work.op()),
    })
}

/// The product without a bias.
fn plain_product(processor: &Device, [m, n, k]: [usize; 3]) -> Result<Vec<f32>> {
    let layer = Linear::new(processor, n, k, &numbers::weight(n * k), None)?;
    let mut recorder = clipseg::tensor::Recorder::new(processor);
    let input = recorder.input(&[m, k])?;
    let output = recorder.linear(&input, &layer)?;
    let output = recorder.output(&output)?;
    let plan = recorder.finish()?;
    let mut run = plan.run();
    run.write(&input, &numbers::operand(0, m * k))?;
    let arrays = block_on(run.finish(&[&output]))?;
    Ok(arrays.into_iter().flat_map(|array| array.values).collect())
}

/// `[rows, columns]` as `[columns, rows]`.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| values[column..].iter().step_by(columns).copied()).collect()
}

/// The part `place` of `[sequences, tokens, parts, heads, head_size]` as
/// `[sequences, heads, tokens, head_size]`.
fn by_head(
    values: &[f32],
    [sequences, tokens, heads, head_size]: [usize; 4],
    parts: usize,
    place: usize,
) -> Vec<f32> {
    let mut all = Vec::with_capacity(sequences * tokens * heads * head_size);
    for sequence in 0..sequences {
        for head in 0..heads {
            for token in 0..tokens {
                let row = (sequence * tokens + token) * parts + place;
                let start = (row * heads + head) * head_size;
                all.extend_from_slice(&values[start..start + head_size]);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cases;

    #[test]
    fn matrices_and_heads_are_brought_into_order() {
        assert_eq!(transposed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        // One sequence of two tokens, three parts of two heads with one value each.
        let values: Vec<_> = (0..12).map(|value| value as f32).collect();
        assert_eq!(by_head(&values, [1, 2, 2, 1], 3, 1), [2.0, 8.0, 3.0, 9.0]);
    }

    #[test]
    fn every_counterpart_has_work_among_the_models_own() {
        for id in IDS {
            assert!(cases::own().iter().any(|case| computes(id, case.work)), "{id}");
        }
    }
}
