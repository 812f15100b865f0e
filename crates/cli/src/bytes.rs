//! Sizes of memory, as people write them.

/// Parses a size: a number and its unit, which is B, KB, MB, GB or TB, each a thousand times the one before,
/// or KiB, MiB, GiB or TiB.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.find(|letter: char| !(letter.is_ascii_digit() || letter == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "b" => 1.0,
        "kb" | "k" => 1e3,
        "mb" | "m" => 1e6,
        "gb" | "g" => 1e9,
        "tb" | "t" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err("write a number and its unit, as in 512MB or 2GB".to_owned()),
    };
    match number.parse::<f64>() {
        // A float holds every number of bytes that a machine may have.
        Ok(number) if (1.0..=2.0_f64.powi(53)).contains(&(number * factor)) => Ok((number * factor) as u64),
        _ => Err("it must be a byte at least, and no more bytes than a machine can have".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        for (text, bytes) in [
            ("512MB", 512_000_000),
            ("1.5 gb", 1_500_000_000),
            ("2GiB", 2 << 30),
            ("7B", 7),
            ("1B", 1),
            ("64k", 64_000),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for wrong in [
            "",
            "512",
            "MB",
            "-1MB",
            "0MB",
            "0.5B",
            "0.0009kB",
            "1.2.3MB",
            "1e3MB",
            "12XB",
            "NaNMB",
            "99999999999GB",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
