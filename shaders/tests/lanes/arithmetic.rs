//! WGSL's arithmetic on values that all threads of a workgroup have.

use clipseg_shaders::twins::half;
use naga::{BinaryOperator, MathFunction, ScalarKind, TypeInner, UnaryOperator};

/// A value of each thread: so many words, one thread's behind the other's.
#[derive(Clone, Debug, PartialEq)]
pub struct Wide {
    pub size: usize,
    pub words: Vec<u32>,
}

impl Wide {
    /// Of each thread's words.
    pub fn of(threads: usize, size: usize, mut words: impl FnMut(usize, usize) -> u32) -> Self {
        let all = (0..threads).flat_map(|thread| (0..size).map(move |word| (thread, word)));
        Self { size, words: all.map(|(thread, word)| words(thread, word)).collect() }
    }

    /// The same words for every thread.
    pub fn uniform(threads: usize, words: &[u32]) -> Self {
        Self::of(threads, words.len(), |_, word| words[word])
    }

    pub fn threads(&self) -> usize {
        self.words.len() / self.size
    }

    /// A thread's words.
    pub fn at(&self, thread: usize) -> &[u32] {
        &self.words[thread * self.size..][..self.size]
    }

    /// A thread's word, or its only one in place of each.
    fn word(&self, thread: usize, word: usize) -> u32 {
        self.words[thread * self.size + if self.size == 1 { 0 } else { word }]
    }

    fn float(&self, thread: usize, word: usize) -> f32 {
        f32::from_bits(self.word(thread, word))
    }
}

/// The kind of a type's scalars.
pub fn kind_of(inner: &TypeInner) -> ScalarKind {
    inner.scalar_kind().unwrap_or_else(|| panic!("{inner:?} has no scalars"))
}

pub fn unary(op: UnaryOperator, kind: ScalarKind, value: &Wide) -> Wide {
    let each = |word: u32| match (op, kind) {
        (UnaryOperator::Negate, ScalarKind::Float) => (-f32::from_bits(word)).to_bits(),
        (UnaryOperator::LogicalNot, _) => u32::from(word == 0),
        (UnaryOperator::BitwiseNot, _) => !word,
        other => panic!("{other:?} is not interpreted"),
    };
    Wide { size: value.size, words: value.words.iter().map(|&word| each(word)).collect() }
}

/// Operands of two types, of which either may be a scalar beside the other's vectors or matrices.
pub fn binary(op: BinaryOperator, types: [&TypeInner; 2], left: &Wide, right: &Wide) -> Wide {
    if op == BinaryOperator::Multiply
        && let Some(product) = matrix_product(types, left, right)
    {
        return product;
    }
    let kind = kind_of(types[0]);
    Wide::of(left.threads(), left.size.max(right.size), |thread, word| {
        let [a, b] = [left, right].map(|side| side.word(thread, word));
        match kind {
            ScalarKind::Float => floats(op, f32::from_bits(a), f32::from_bits(b)),
            ScalarKind::Uint | ScalarKind::Bool => integers(op, a, b),
            other => panic!("{op:?} of {other:?} is not interpreted"),
        }
    })
}

fn floats(op: BinaryOperator, a: f32, b: f32) -> u32 {
    match op {
        BinaryOperator::Add => (a + b).to_bits(),
        BinaryOperator::Subtract => (a - b).to_bits(),
        BinaryOperator::Multiply => (a * b).to_bits(),
        BinaryOperator::Divide => (a / b).to_bits(),
        BinaryOperator::Equal => (a == b).into(),
        BinaryOperator::NotEqual => (a != b).into(),
        BinaryOperator::Less => (a < b).into(),
        BinaryOperator::LessEqual => (a <= b).into(),
        BinaryOperator::Greater => (a > b).into(),
        BinaryOperator::GreaterEqual => (a >= b).into(),
        other => panic!("{other:?} of floats is not interpreted"),
    }
}

/// Of threads that take no part, too, so that nothing is undefined.
fn integers(op: BinaryOperator, a: u32, b: u32) -> u32 {
    match op {
        BinaryOperator::Add => a.wrapping_add(b),
        BinaryOperator::Subtract => a.wrapping_sub(b),
        BinaryOperator::Multiply => a.wrapping_mul(b),
        BinaryOperator::Divide => a.checked_div(b).unwrap_or(a),
        BinaryOperator::Modulo => a.checked_rem(b).unwrap_or(0),
        BinaryOperator::And | BinaryOperator::LogicalAnd => a & b,
        BinaryOperator::InclusiveOr | BinaryOperator::LogicalOr => a | b,
        BinaryOperator::ExclusiveOr => a ^ b,
        BinaryOperator::ShiftLeft => a.wrapping_shl(b),
        BinaryOperator::ShiftRight => a.wrapping_shr(b),
        BinaryOperator::Equal => (a == b).into(),
        BinaryOperator::NotEqual => (a != b).into(),
        BinaryOperator::Less => (a < b).into(),
        BinaryOperator::LessEqual => (a <= b).into(),
        BinaryOperator::Greater => (a > b).into(),
        BinaryOperator::GreaterEqual => (a >= b).into(),
    }
}

/// The product with a matrix, by columns; none where no side is one, or the other is a scalar.
fn matrix_product(types: [&TypeInner; 2], left: &Wide, right: &Wide) -> Option<Wide> {
    let matrix = |inner: &TypeInner| match *inner {
        TypeInner::Matrix { columns, rows, .. } => Some([columns as usize, rows as usize]),
        _ => None,
    };
    let sum = |terms: &mut dyn Iterator<Item = f32>| terms.sum::<f32>().to_bits();
    match (matrix(types[0]), matrix(types[1])) {
        (Some([columns, rows]), None) if right.size == columns => {
            Some(Wide::of(left.threads(), rows, |thread, row| {
                let term = |column| left.float(thread, column * rows + row) * right.float(thread, column);
                sum(&mut (0..columns).map(term))
            }))
        }
        (None, Some([columns, rows])) if left.size == rows => {
            Some(Wide::of(left.threads(), columns, |thread, column| {
                let term = |row| left.float(thread, row) * right.float(thread, column * rows + row);
                sum(&mut (0..rows).map(term))
            }))
        }
        (Some([inner, rows]), Some([columns, _])) => {
            Some(Wide::of(left.threads(), columns * rows, |thread, word| {
                let term = |k: usize| {
                    let a = left.float(thread, k * rows + word % rows);
                    a * right.float(thread, word / rows * inner + k)
                };
                sum(&mut (0..inner).map(term))
            }))
        }
        _ => None,
    }
}

/// A function of up to three arguments, the first of which has this type.
pub fn math(function: MathFunction, inner: &TypeInner, arguments: &[&Wide]) -> Wide {
    let first = arguments[0];
    let threads = first.threads();
    if function == MathFunction::Dot {
        return Wide::of(threads, 1, |thread, _| {
            let terms =
                (0..first.size).map(|word| first.float(thread, word) * arguments[1].float(thread, word));
            terms.sum::<f32>().to_bits()
        });
    }
    if let (MathFunction::Transpose, &TypeInner::Matrix { columns, rows, .. }) = (function, inner) {
        let [columns, rows] = [columns as usize, rows as usize];
        return Wide::of(threads, first.size, |thread, word| {
            first.word(thread, word % columns * rows + word / columns)
        });
    }
    let is_float = kind_of(inner) == ScalarKind::Float;
    Wide::of(threads, first.size, |thread, word| {
        let number = |argument: usize| arguments[argument].word(thread, word);
        let float = |argument: usize| f32::from_bits(number(argument));
        if !is_float {
            return match function {
                MathFunction::Min => number(0).min(number(1)),
                MathFunction::Max => number(0).max(number(1)),
                MathFunction::Clamp => number(0).max(number(1)).min(number(2)),
                other => panic!("{other:?} of whole numbers is not interpreted"),
            };
        }
        let value = match function {
            MathFunction::Abs => float(0).abs(),
            MathFunction::Min => float(0).min(float(1)),
            MathFunction::Max => float(0).max(float(1)),
            MathFunction::Clamp => float(0).max(float(1)).min(float(2)),
            MathFunction::Exp => float(0).exp(),
            MathFunction::Fma => float(0).mul_add(float(1), float(2)),
            MathFunction::InverseSqrt => float(0).sqrt().recip(),
            MathFunction::Sign if float(0) == 0.0 => 0.0,
            MathFunction::Sign => float(0).signum(),
            other => panic!("{other:?} is not interpreted"),
        };
        value.to_bits()
    })
}

/// A value as another kind of scalars; the same bits where it is not converted.
pub fn cast(from: ScalarKind, to: ScalarKind, is_converted: bool, value: &Wide) -> Wide {
    let each = |word: u32| match (from, to) {
        _ if !is_converted || from == to => word,
        (ScalarKind::Uint | ScalarKind::Bool, ScalarKind::Float) => (word as f32).to_bits(),
        (ScalarKind::Float, ScalarKind::Uint) => f32::from_bits(word) as u32,
        (ScalarKind::Bool, ScalarKind::Uint) => word,
        (ScalarKind::Uint, ScalarKind::Bool) => u32::from(word != 0),
        other => panic!("a conversion of {other:?} is not interpreted"),
    };
    Wide { size: value.size, words: value.words.iter().map(|&word| each(word)).collect() }
}

/// A value in f16, which is kept as the same number in f32: an f16 is a word here, too.
pub fn to_f16(from: ScalarKind, value: &Wide) -> Wide {
    let mut value = cast(from, ScalarKind::Float, true, value);
    value.words.iter_mut().for_each(|word| *word = half(f32::from_bits(*word)).to_bits());
    value
}

/// One or the other of two values, as a scalar or each component of the condition says.
pub fn select(condition: &Wide, accept: &Wide, reject: &Wide) -> Wide {
    Wide::of(accept.threads(), accept.size, |thread, word| {
        let side = if condition.word(thread, word) != 0 { accept } else { reject };
        side.word(thread, word)
    })
}
