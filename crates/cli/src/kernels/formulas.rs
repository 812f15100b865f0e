//! Whether the formulas on the page are what is counted: each is computed at the model's own shapes, and held
//! against the costs that were recorded.

use clipseg::tensor::DType;
use clipseg::{AdapterChoice, Device, DeviceOptions, KernelFamily, Precision};

use super::cases;
use super::measure::{Recorded, kernels};

/// The value of a sum of products of numbers, names and sums in brackets.
fn value(formula: &str, names: &[(&str, usize)]) -> u64 {
    let mut depth = 0;
    let mut terms = vec![String::new()];
    for letter in formula.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if letter == '+' && depth == 0 {
            terms.push(String::new())
        } else {
            terms.last_mut().unwrap().push(letter)
        }
    }
    if let [term] = &terms[..] {
        return factors(term.trim()).map(|factor| factor_value(factor, names)).product();
    }
    terms.iter().map(|term| value(term, names)).sum()
}

fn factors(term: &str) -> impl Iterator<Item = &str> {
    // Within brackets there are sums alone.
    term.split('·').map(str::trim)
}

fn factor_value(factor: &str, names: &[(&str, usize)]) -> u64 {
    if let Some(inner) = factor.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        return value(inner, names);
    }
    let named = names.iter().find(|(name, _)| *name == factor).map(|(_, size)| *size as u64);
    named.or_else(|| factor.parse().ok()).unwrap_or_else(|| panic!("{factor} is not a size"))
}

#[test]
fn formulas_are_evaluated() {
    assert_eq!(value("2·M·(M + 1)·K + 3", &[("M", 4), ("K", 10)]), 403);
    assert_eq!(value("0", &[]), 0);
}

#[test]
fn formulas_are_what_is_counted() {
    for (kernels_of, precision, activations) in [
        (KernelFamily::Workgroup, Precision::F32, DType::F32),
        (KernelFamily::Workgroup, Precision::F16, DType::F16),
        (KernelFamily::Auto, Precision::F32, DType::F32),
        (KernelFamily::Auto, Precision::F16, DType::F32),
    ] {
        let options = DeviceOptions {
            adapter: AdapterChoice::Driver,
            kernels: kernels_of,
            precision,
            ..DeviceOptions::default()
        };
        let device = Device::open(&options).expect("this test needs an adapter");
        for case in cases::own() {
            for form in case.work.forms(&device, activations).unwrap() {
                let recorded = Recorded::new(&device, &form, 1).unwrap();
                let costs = kernels(&recorded);
                let flops: u64 = costs.iter().map(|(_, cost)| cost.flops).sum();
                let bytes: u64 = costs.iter().map(|(_, cost)| cost.bytes).sum();
                let bytes_of = |dtype| if dtype == DType::F16 { 2 } else { 4 };
                let mut names = case.work.sizes();
                names.extend([("i", bytes_of(form.input)), ("o", bytes_of(form.output))]);
                names.extend(form.weight.map(|weight| ("w", bytes_of(weight))));
                let what = format!("{} {} {costs:?} {activations:?}", case.work.op(), case.work.shape());
                // Weights in blocks along a diagonal count with the zeros between them.
                let least = value(case.work.flops_formula(), &names);
                let has_blocks = case.work.op() == "transposed convolution";
                assert!(
                    flops == least || (has_blocks && flops > least),
                    "{what}: {flops}, by formula {least}"
                );
                if let Some(formula) = case.work.bytes_formula() {
                    assert_eq!(bytes, value(formula, &names), "{what}");
                }
            }
        }
    }
}
