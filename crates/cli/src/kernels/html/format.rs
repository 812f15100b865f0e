//! Numbers and texts as the page shows them.

use clipseg_files::printable;

/// A text, which anyone may have written, as it stands in HTML, also within an attribute: none of it is
/// markup, nor turns what follows.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in printable(text).chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// Three digits that count, and a prefix of SI's.
fn scaled(value: f64, unit: &str) -> String {
    const PREFIXES: [(f64, &str); 7] =
        [(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m")];
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value == 0.0 {
        return format!("0 {unit}");
    }
    // Rounded first: 999.7 k is 1.00 M.
    let reached = |least: f64| value.abs() >= 0.9995 * least;
    let (factor, prefix) = PREFIXES.into_iter().find(|(least, _)| reached(*least)).unwrap_or((1e-6, "µ"));
    format!("{} {prefix}{unit}", digits(value / factor))
}

/// Three digits that count.
fn digits(value: f64) -> String {
    let places = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.places$}")
}

pub fn seconds(value: f64) -> String {
    scaled(value, "s")
}

pub fn flops(value: f64) -> String {
    scaled(value, "FLOP/s")
}

pub fn operations(value: u64) -> String {
    scaled(value as f64, "FLOP")
}

pub fn bytes_per_second(value: f64) -> String {
    scaled(value, "B/s")
}

pub fn bytes(value: u64) -> String {
    scaled(value as f64, "B")
}

/// The size of a buffer, which is a power of two.
pub fn working_set(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        mebibytes => format!("{mebibytes} MiB"),
    }
}

/// A share as per cent: with a digit behind the point where it is small.
pub fn percent(share: f64) -> String {
    if !share.is_finite() {
        return "–".to_owned();
    }
    if share < 0.0995 { format!("{:.1} %", 1e2 * share) } else { format!("{:.0} %", 1e2 * share) }
}

/// A number by its power of ten.
pub fn scientific(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { format!("{value:.1e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_a_name_is_text() {
        let name = "<script>alert(\"x\")</script> & 'co' \u{202e}";
        let escaped = escape(name);
        assert!(!escaped.contains(['<', '>', '"', '\'', '\u{202e}']), "{escaped}");
        assert_eq!(escape("a < b & c"), "a &lt; b &amp; c");
        assert_eq!(escape("Käse 日本"), "Käse 日本");
    }

    #[test]
    fn numbers_have_three_digits_that_count() {
        let all = [1.0, 0.0123, 1.5e-6, 2.5e-9, 0.9999, 12_345.0].map(seconds).join(", ");
        assert_eq!(all, "1.00 s, 12.3 ms, 1.50 µs, 0.00 µs, 1.00 s, 12.3 ks");
        assert_eq!(flops(59.04e12), "59.0 TFLOP/s");
        assert_eq!(flops(999.9e9), "1.00 TFLOP/s");
        assert_eq!(operations(0), "0 FLOP");
        assert_eq!(bytes(1_500_000), "1.50 MB");
        assert_eq!(bytes_per_second(f64::INFINITY), "–");
        assert_eq!(seconds(f64::NAN), "–");
        assert_eq!([0.5, 0.031, 1.2, f64::NAN].map(percent).join(", "), "50 %, 3.1 %, 120 %, –");
        assert_eq!([working_set(64 << 10), working_set(8 << 20)].join(", "), "64 KiB, 8 MiB");
        assert_eq!([0.0, 1.234e-6].map(scientific).join(", "), "0, 1.2e-6");
    }
}
