//! What is measured: the model's own ops and shapes, or products of other models from a file.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::MOST_BYTES;
use super::work::{Arithmetic, Work};

/// An op at a shape, and where it occurs.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub work: Work,
    /// The model and its layer.
    pub layer: String,
    /// Where the shape is from.
    pub source: String,
}

/// What the model's own shapes are from.
const OWN: &str = "clipseg-rd64-refined, a photo of 352 × 352";
/// Tokens of such a photo, with the class token.
const TOKENS: usize = 485;
/// Patches on a side of it.
const GRID: usize = 22;

/// The ops of clipseg-rd64-refined, the products first.
pub fn own() -> Vec<Case> {
    let product = |m, k, n| Work::Product { m, n, k };
    let cases = [
        (product(TOKENS, 768, 2304), "vision tower, queries, keys and values"),
        (product(TOKENS, 768, 768), "vision tower, output of attention"),
        (product(TOKENS, 768, 3072), "vision tower, MLP, up"),
        (product(TOKENS, 3072, 768), "vision tower, MLP, down"),
        (product(TOKENS, 768, 64), "decoder, an activation reduced"),
        (product(8 * TOKENS, 64, 192), "decoder, queries, keys and values of 8 prompts"),
        (product(77, 512, 1536), "text tower, queries, keys and values of 77 tokens"),
        (product(8, 512, 1536), "text tower, queries, keys and values of 8 tokens"),
        (product(1, 512, 64), "decoder, a condition"),
        (Work::attention(1, TOKENS, 12, 64, false), "vision tower"),
        (Work::attention(1, TOKENS, 4, 16, false), "decoder, 1 prompt"),
        (Work::attention(8, TOKENS, 4, 16, false), "decoder, 8 prompts"),
        (Work::attention(8, 8, 8, 64, true), "text tower, 8 prompts of 8 tokens"),
        (Work::Mlp { rows: TOKENS, width: 64, hidden: 2048 }, "decoder, 1 prompt"),
        (Work::LayerNorm { rows: TOKENS, columns: 768 }, "vision tower"),
        (Work::LayerNorm { rows: 8 * TOKENS, columns: 64 }, "decoder, 8 prompts"),
        (Work::Softmax { rows: 12 * TOKENS, columns: TOKENS }, "attentions that are asked for"),
        (Work::Film { pairs: 8, tokens: TOKENS, columns: 64 }, "decoder, 8 prompts"),
        (Work::Convolution { side: GRID, channels: 64 }, "decoder, upsampling"),
        (Work::Upsample { side: GRID, channels: 64 }, "decoder, upsampling"),
        (Work::Binary { operation: Arithmetic::Add, length: TOKENS * 768 }, "where it is not a product's"),
        (Work::Binary { operation: Arithmetic::Mul, length: TOKENS * 768 }, "where it is not a product's"),
        (Work::QuickGelu { length: TOKENS * 3072 }, "where it is not a product's"),
        (Work::Sigmoid { length: 8 * 352 * 352 }, "8 maps"),
        (Work::Resize { height: 960, width: 1280, from: 352 }, "a map to a photo's size"),
        (Work::Patchify { side: 352, patch: 16 }, "vision tower"),
        (Work::GuidedCoefficients { side: 352, radius: 8 }, "--refine"),
        (Work::GuidedApply { height: 960, width: 1280 }, "--refine"),
    ];
    let case = |(work, layer): (Work, &str)| Case { work, layer: layer.to_owned(), source: OWN.to_owned() };
    cases.into_iter().map(case).collect()
}

/// The products of published models that come with the command.
const PUBLISHED: &str = include_str!("shapes.json");
/// What they are called.
pub const PUBLISHED_NAME: &str = "published";
/// More rows, columns or inner values than any that is measured in a sensible time.
const MOST: usize = 1 << 20;
/// The most values of an operand, or of the product: 2 GB in f32.
const MOST_VALUES: usize = 1 << 29;

/// A product of a file of shapes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    model: String,
    layer: String,
    source: String,
    m: usize,
    n: usize,
    k: usize,
}

/// The products that a file lists, or those that come with the command.
pub fn read(name: &Path) -> Result<Vec<Case>> {
    let in_file = || format!("--shapes {}", name.display());
    let text = match name.to_str() {
        Some(PUBLISHED_NAME) => PUBLISHED.to_owned(),
        _ => clipseg_files::read_text(name, MOST_BYTES)
            .context("cannot read it; it is a JSON file, see `clipseg kernels --help`")
            .with_context(in_file)?,
    };
    let shapes = parse(&text).with_context(in_file)?;
    let case = |Shape { model, layer, source, m, n, k }: Shape| Case {
        work: Work::Product { m, n, k },
        layer: format!("{model}, {layer}"),
        source,
    };
    Ok(shapes.into_iter().map(case).collect())
}

fn parse(text: &str) -> Result<Vec<Shape>> {
    let shapes: Vec<Shape> = serde_json::from_str(text).context(
        "expected a list of objects with model, layer, source, m, n and k: the product of [m, k] and a weight [n, k]",
    )?;
    ensure!(!shapes.is_empty(), "it lists no shapes");
    for (place, &Shape { m, n, k, .. }) in shapes.iter().enumerate() {
        let fits = [m, n, k].iter().all(|&size| (1..=MOST).contains(&size));
        ensure!(fits, "shape {}: m = {m}, n = {n}, k = {k}; each has to lie in 1..={MOST}", place + 1);
        let values = [m.saturating_mul(k), n.saturating_mul(k), m.saturating_mul(n)]
            .into_iter()
            .max()
            .unwrap_or_default();
        ensure!(
            values <= MOST_VALUES,
            "shape {}: m = {m}, n = {n}, k = {k}; the largest of m·k, n·k and m·n is {values}, more than the \
             {MOST_VALUES} that can be measured",
            place + 1
        );
    }
    Ok(shapes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_shapes_are_read_and_name_where_they_are_from() {
        let cases = read(Path::new(PUBLISHED_NAME)).unwrap();
        assert!(cases.len() >= 12, "{}", cases.len());
        for Case { layer, source, .. } in &cases {
            assert!(source.starts_with("https://") && layer.contains(", "), "{layer}: {source}");
        }
        let first = Work::Product { m: 197, n: 2304, k: 768 };
        assert_eq!(cases[0].work, first);
    }

    #[test]
    fn a_file_that_is_not_a_list_of_shapes_is_refused() {
        for (text, word) in [
            ("", "expected a list"),
            ("[]", "no shapes"),
            (r#"[{"model": "a", "layer": "b", "source": "c", "m": 0, "n": 1, "k": 1}]"#, "shape 1"),
            (r#"[{"model": "a", "layer": "b", "source": "c", "m": 1, "n": 1, "k": 99999999}]"#, "1..="),
            (
                r#"[{"model": "a", "layer": "b", "source": "c", "m": 1, "n": 1048576, "k": 1048576}]"#,
                "1099511627776",
            ),
            (r#"[{"model": "a", "layer": "b", "source": "c", "m": 1, "n": 1}]"#, "expected a list"),
        ] {
            let error = format!("{:#}", parse(text).err().unwrap());
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(read(Path::new("no/such/file")).is_err());
    }

    #[test]
    fn every_op_is_among_the_models_own() {
        let cases = own();
        let mut ops: Vec<_> = cases.iter().map(|case| case.work.op()).collect();
        ops.dedup();
        assert_eq!(ops.len(), 16, "{ops:?}");
        // A case is told from another by its op and shape.
        let mut names: Vec<_> = cases.iter().map(|case| (case.work.op(), case.work.shape())).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
