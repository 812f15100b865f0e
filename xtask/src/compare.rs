//! Compares tensors with the expected ones, and prints the table of these comparisons.

use clipseg::Array;

/// How far a tensor is from what was expected.
#[derive(Clone, Debug)]
pub struct Comparison {
    pub name: String,
    pub shape: Vec<usize>,
    pub outcome: Outcome,
}

#[derive(Clone, Debug)]
pub enum Outcome {
    /// Both are there and of one shape.
    Measured(Measure),
    /// They cannot be compared; always a failure.
    Failed(String),
}

#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// max |Δ|
    pub largest_difference: f64,
    /// max |Δ| / max |expected|
    pub relative: f64,
    pub cosine: f64,
}

impl Comparison {
    /// Compares what the engine computed, if it could, with the expected tensor.
    pub fn new(name: &str, expected: &Array, computed: Option<&Array>) -> Self {
        let outcome = match computed {
            None => Outcome::Failed("not computed".to_owned()),
            Some(found) if !same_shape(&found.shape, &expected.shape) => {
                Outcome::Failed(format!("shape {:?}", found.shape))
            }
            Some(found) => Outcome::Measured(Measure::of(&expected.values, &found.values)),
        };
        Self { name: name.to_owned(), shape: expected.shape.clone(), outcome }
    }

    /// Whether the difference is at most `tolerance` of the largest expected magnitude.
    pub fn passes(&self, tolerance: f64) -> bool {
        // Written so that a NaN fails.
        matches!(self.outcome, Outcome::Measured(measure) if measure.relative <= tolerance)
    }
}

impl Measure {
    /// Measures the difference of two slices of one length.
    pub fn of(expected: &[f32], found: &[f32]) -> Self {
        if expected.len() != found.len() || expected.is_empty() {
            return Self { largest_difference: f64::NAN, relative: f64::NAN, cosine: f64::NAN };
        }
        let mut largest_difference = 0.0f64;
        let mut largest = 0.0f64;
        let (mut products, mut expected_squares, mut found_squares) = (0.0, 0.0, 0.0);
        for (&expected, &found) in expected.iter().zip(found) {
            let (expected, found) = (f64::from(expected), f64::from(found));
            let difference = (expected - found).abs();
            // f64::max drops a NaN; it has to stay.
            if difference.is_nan() || difference > largest_difference {
                largest_difference = difference;
            }
            if difference.is_nan() {
                break;
            }
            largest = largest.max(expected.abs());
            products += expected * found;
            expected_squares += expected * expected;
            found_squares += found * found;
        }
        let relative = if largest_difference == 0.0 { 0.0 } else { largest_difference / largest };
        let norms = (expected_squares * found_squares).sqrt();
        let cosine = if norms == 0.0 && largest_difference == 0.0 { 1.0 } else { products / norms };
        Self { largest_difference, relative, cosine }
    }
}

/// transformers squeezes a batch of one out of the logits.
fn same_shape(found: &[usize], expected: &[usize]) -> bool {
    found == expected || (found.first() == Some(&1) && &found[1..] == expected)
}

/// Prints the comparisons and returns how many fail.
pub fn print_table(comparisons: &[Comparison], tolerance: f64) -> usize {
    let width = comparisons.iter().map(|row| row.name.len()).max().unwrap_or(0).max(6);
    println!(
        "  {:width$}  {:18}  {:>9}  {:>9}  {:>10}  verdict",
        "tensor", "shape", "max |Δ|", "relative", "cosine"
    );
    for row in comparisons {
        let shape = format!("{:?}", row.shape);
        let verdict = if row.passes(tolerance) { "ok" } else { "FAILED" };
        match &row.outcome {
            Outcome::Measured(measure) => println!(
                "  {:width$}  {shape:18}  {:9.2e}  {:9.2e}  {:10.7}  {verdict}",
                row.name, measure.largest_difference, measure.relative, measure.cosine
            ),
            Outcome::Failed(reason) => println!("  {:width$}  {shape:18}  {verdict}: {reason}", row.name),
        }
    }
    comparisons.iter().filter(|row| !row.passes(tolerance)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(shape: &[usize], values: &[f32]) -> Array {
        Array { shape: shape.to_vec(), values: values.to_vec() }
    }

    fn passes(expected: &Array, found: Option<&Array>) -> bool {
        Comparison::new("tensor", expected, found).passes(1e-4)
    }

    #[test]
    fn accepts_the_same_and_nearly_the_same() {
        let expected = array(&[3], &[100.0, -3.0, 0.5]);
        assert!(passes(&expected, Some(&expected)));
        assert!(passes(&expected, Some(&array(&[3], &[100.009, -3.0, 0.5]))));
        assert!(passes(&array(&[3], &[1.0; 3]), Some(&array(&[1, 3], &[1.0; 3]))), "a squeezed batch");
    }

    #[test]
    fn refuses_what_differs() {
        let expected = array(&[3], &[100.0, -3.0, 0.5]);
        assert!(!passes(&expected, Some(&array(&[3], &[100.011, -3.0, 0.5]))), "beyond the tolerance");
        assert!(!passes(&expected, None), "not computed");
        assert!(!passes(&expected, Some(&array(&[3, 1], &[100.0, -3.0, 0.5]))), "another shape");
        assert!(!passes(&expected, Some(&array(&[3], &[100.0, f32::NAN, 0.5]))), "not a number");
        assert!(
            !passes(&expected, Some(&array(&[3], &[f32::NAN, 200.0, 0.5]))),
            "a NaN before a large difference"
        );
        assert!(!passes(&expected, Some(&array(&[3], &[f32::INFINITY, -3.0, 0.5]))), "infinite");
        assert!(!passes(&array(&[2], &[f32::NAN; 2]), Some(&array(&[2], &[f32::NAN; 2]))), "NaN expected");
        assert!(!passes(&array(&[2], &[0.0; 2]), Some(&array(&[2], &[0.0, 1e-9]))), "something for zeros");
    }
}
