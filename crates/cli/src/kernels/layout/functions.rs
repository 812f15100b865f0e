//! The functions that expressions and templates of the layout may call, of numbers and shapes.

use minijinja::value::{Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};

/// Their names: all of the layout's but those that only ops without a counterpart here use.
pub const NAMES: [&str; 20] = [
    "ceil",
    "floor",
    "min",
    "max",
    "pow",
    "ceilDiv",
    "pow2ceil",
    "log2ceil",
    "numel",
    "dim",
    "rows",
    "outer",
    "inner",
    "prefix",
    "suffix",
    "broadcastShape",
    "matmulShape",
    "sameShape",
    "has",
    "dtypeBytes",
];

/// The largest whole number up to which all are exact as floats.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Makes the functions known.
pub fn add(environment: &mut Environment<'_>) {
    environment.add_function("ceil", |x: Value| Ok::<_, Error>(of(float(&x)?.ceil())));
    environment.add_function("floor", |x: Value| Ok::<_, Error>(of(float(&x)?.floor())));
    environment.add_function("min", |all: Rest<Value>| fold(&all, f64::INFINITY, f64::min));
    environment.add_function("max", |all: Rest<Value>| fold(&all, f64::NEG_INFINITY, f64::max));
    environment.add_function("pow", |x: Value, y: Value| Ok::<_, Error>(of(float(&x)?.powf(float(&y)?))));
    environment.add_function("ceilDiv", |x: Value, y: Value| quotient(&x, &y));
    environment.add_function("pow2ceil", |x: Value| Ok::<_, Error>(of(2f64.powf(log2_ceil(float(&x)?)))));
    environment.add_function("log2ceil", |x: Value| Ok::<_, Error>(of(log2_ceil(float(&x)?))));
    environment.add_function("numel", |x: Value| Ok::<_, Error>(of(shape(&x)?.iter().product())));
    environment.add_function("dim", |x: Value, axis: Value| {
        let sizes = shape(&x)?;
        Ok::<_, Error>(of(sizes[place(&sizes, &axis)?]))
    });
    environment.add_function("rows", |x: Value, axis: Value| {
        let sizes = shape(&x)?;
        let axis = place(&sizes, &axis)?;
        let others = sizes.iter().enumerate().filter(|(place, _)| *place != axis);
        Ok::<_, Error>(of(others.map(|(_, size)| size).product()))
    });
    environment.add_function("outer", |x: Value, axis: Value| {
        let sizes = shape(&x)?;
        Ok::<_, Error>(of(sizes[..place(&sizes, &axis)?].iter().product()))
    });
    environment.add_function("inner", |x: Value, axis: Value| {
        let sizes = shape(&x)?;
        Ok::<_, Error>(of(sizes[place(&sizes, &axis)? + 1..].iter().product()))
    });
    environment.add_function("prefix", |x: Value, end: Value| {
        let sizes = shape(&x)?;
        let end = (float(&end)?.max(0.0) as usize).min(sizes.len());
        Ok::<_, Error>(list(&sizes[..end]))
    });
    environment.add_function("suffix", |x: Value, start: Value| {
        let sizes = shape(&x)?;
        let start = (float(&start)?.max(0.0) as usize).min(sizes.len());
        Ok::<_, Error>(list(&sizes[start..]))
    });
    environment.add_function("broadcastShape", |a: Value, b: Value| {
        Ok::<_, Error>(list(&broadcast(&shape(&a)?, &shape(&b)?)?))
    });
    environment.add_function("matmulShape", |a: Value, b: Value| product(&shape(&a)?, &shape(&b)?));
    environment.add_function("sameShape", |a: Value, b: Value| Ok::<_, Error>(shape(&a)? == shape(&b)?));
    environment.add_function("has", |object: Value, name: String| {
        object.get_attr(&name).is_ok_and(|value| !value.is_undefined())
    });
    environment.add_function("dtypeBytes", |dtype: String| match dtype.as_str() {
        "float16" | "f16" => Ok(2),
        "int64" | "vec2<u32>" => Ok(8),
        "float32" | "f32" | "uint32" | "u32" | "int32" | "i32" | "int8" | "int16" | "uint8" | "bool" => Ok(4),
        _ => Err(error(format!("{dtype} is not a dtype"))),
    });
}

/// A number as expressions have it: a whole one has no point, whatever computed it.
pub fn of(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() <= EXACT { Value::from(number as i64) } else { number.into() }
}

/// As [`of`] where it is a number, and within a list.
pub fn whole(value: Value) -> Value {
    match value.kind() {
        ValueKind::Number if !value.is_integer() => f64::try_from(value.clone()).map_or(value, of),
        ValueKind::Seq => match value.try_iter() {
            Ok(elements) => elements.map(whole).collect(),
            Err(_) => value,
        },
        _ => value,
    }
}

fn error(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

fn float(value: &Value) -> Result<f64, Error> {
    f64::try_from(value.clone()).map_err(|_| error(format!("{value} is not a number")))
}

fn fold(all: &[Value], start: f64, function: fn(f64, f64) -> f64) -> Result<Value, Error> {
    all.iter().try_fold(start, |folded, value| Ok(function(folded, float(value)?))).map(of)
}

fn quotient(x: &Value, y: &Value) -> Result<Value, Error> {
    let (x, y) = (float(x)?, float(y)?);
    if y == 0.0 { Err(error(format!("{x} is divided by zero"))) } else { Ok(of((x / y).ceil())) }
}

fn log2_ceil(x: f64) -> f64 {
    if x <= 1.0 { 0.0 } else { x.log2().ceil() }
}

fn shape(value: &Value) -> Result<Vec<f64>, Error> {
    if value.kind() != ValueKind::Seq {
        return Err(error(format!("{value} is not a shape")));
    }
    value.try_iter()?.map(|size| float(&size)).collect()
}

fn list(sizes: &[f64]) -> Value {
    sizes.iter().map(|&size| of(size)).collect()
}

/// The dimension that an axis names, which counts from the end where it is negative.
fn place(sizes: &[f64], axis: &Value) -> Result<usize, Error> {
    if sizes.is_empty() {
        return Err(error("a scalar has no dimensions".to_owned()));
    }
    Ok(float(axis)?.rem_euclid(sizes.len() as f64) as usize)
}

fn broadcast(a: &[f64], b: &[f64]) -> Result<Vec<f64>, Error> {
    let rank = a.len().max(b.len());
    let at = |sizes: &[f64], place: usize| {
        (place + sizes.len()).checked_sub(rank).and_then(|place| sizes.get(place)).copied().unwrap_or(1.0)
    };
    let one = |place| match (at(a, place), at(b, place)) {
        (1.0, size) | (size, 1.0) => Ok(size),
        (size, other) if size == other => Ok(size),
        _ => Err(error(format!("{a:?} and {b:?} do not broadcast"))),
    };
    (0..rank).map(one).collect()
}

/// The shape of a product of matrices, as ONNX's MatMul has it.
fn product(a: &[f64], b: &[f64]) -> Result<Value, Error> {
    let ([.., a_inner], [.., b_last]) = (a, b) else {
        return Err(error("a scalar is not a matrix".to_owned()));
    };
    let b_inner = if b.len() == 1 { b_last } else { &b[b.len() - 2] };
    if a_inner != b_inner {
        return Err(error(format!("{a:?} and {b:?} have other inner sizes")));
    }
    let batch = |sizes: &[f64]| sizes[..sizes.len().saturating_sub(2)].to_vec();
    let mut shape = broadcast(&batch(a), &batch(b))?;
    shape.extend((a.len() > 1).then(|| a[a.len() - 2]));
    shape.extend((b.len() > 1).then_some(b_last));
    Ok(list(&shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(expression: &str) -> String {
        let mut environment = Environment::new();
        add(&mut environment);
        match environment.compile_expression(expression).unwrap().eval(()) {
            Ok(value) => whole(value).to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn numbers_are_what_the_layout_defines() {
        for (expression, expected) in [
            ("ceilDiv(7, 2)", "4"),
            ("8 / 4", "2"),
            ("[8 / 4, 1.5]", "[2, 1.5]"),
            ("min(3, 2.5, 4)", "2.5"),
            ("max(3, 2)", "3"),
            ("floor(pow(256, 0.5))", "16"),
            ("[pow2ceil(0), pow2ceil(5), pow2ceil(64)]", "[1, 8, 64]"),
            ("[log2ceil(1), log2ceil(5)]", "[0, 3]"),
            ("numel([])", "1"),
            ("[dim([2, 3, 5], -1), dim([2, 3, 5], 4)]", "[5, 3]"),
            ("[rows([2, 3, 5], 2), outer([2, 3, 5], -1), inner([2, 3, 5], 0)]", "[6, 6, 15]"),
            ("[prefix([2, 3, 5], 1), suffix([2, 3, 5], 1), prefix([2], -1)]", "[[2], [3, 5], []]"),
            ("broadcastShape([2, 1, 4], [3, 1])", "[2, 3, 4]"),
            ("matmulShape([7, 2, 3], [3, 5])", "[7, 2, 5]"),
            ("matmulShape([3], [3, 5])", "[5]"),
            ("sameShape([2, 3], [2, 3])", "True"),
            ("[has({'a': 0}, 'a'), has({'a': 0}, 'b')]", "[True, False]"),
            ("dtypeBytes('float16') + dtypeBytes('f32')", "6"),
            ("\"vec4<\" ~ 'f32' ~ \">\"", "vec4<f32>"),
        ] {
            assert_eq!(value(expression), expected, "{expression}");
        }
    }

    #[test]
    fn what_cannot_be_computed_is_an_error() {
        for (expression, word) in [
            ("ceilDiv(1, 0)", "divided by zero"),
            ("dim([], 0)", "no dimensions"),
            ("numel(3)", "not a shape"),
            ("min('a', 2)", "not a number"),
            ("broadcastShape([2], [3])", "do not broadcast"),
            ("matmulShape([2, 3], [4, 5])", "inner sizes"),
            ("dtypeBytes('f8')", "not a dtype"),
        ] {
            assert!(value(expression).contains(word), "{expression}: {}", value(expression));
        }
    }

    #[test]
    fn every_function_is_there() {
        let mut environment = Environment::empty();
        add(&mut environment);
        let mut known: Vec<_> = environment.globals().map(|(name, _)| name.to_owned()).collect();
        known.sort();
        let mut names = NAMES.map(str::to_owned);
        names.sort();
        assert_eq!(known, names);
    }
}
