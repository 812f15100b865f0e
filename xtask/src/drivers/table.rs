//! The table of drivers and widths.

use anyhow::Result;

use super::measure::Measured;
use crate::cli::Bench;
use crate::markdown;

/// The number of kernels that a row names.
const CHIEF: usize = 3;

pub struct Table {
    rows: Vec<Vec<String>>,
    /// Paragraphs below the rows.
    notes: Vec<String>,
}

impl Table {
    pub fn new() -> Self {
        Self { rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a row. Without a `width` the variable was unset, as it is for most users.
    pub fn add(&mut self, driver: &str, width: Option<&str>, measured: &Measured) {
        let Measured { empty, small, verify, full } = measured;
        let benches = || full.iter().chain([small, empty]).flatten();
        let adapter = benches().next().map_or("", |bench| bench.adapter.as_str());
        let driver = match version(adapter) {
            Some(version) => format!("{driver}, {version}"),
            None => driver.to_owned(),
        };
        let width = match (width, bits(adapter)) {
            (Some(width), _) => width.to_owned(),
            (None, Some(bits)) => format!("not set: {bits}"),
            (None, None) => "–".to_owned(),
        };
        self.rows.push(vec![
            driver,
            width,
            cell(verify, |line| verdict(line)),
            cell(empty, |bench| seconds(bench.first_mask_seconds)),
            cell(small, |bench| seconds(bench.first_mask_seconds)),
            cell(small, warm),
            full.as_ref().map_or_else(|| "not run".to_owned(), |full| cell(full, warm)),
            benches().next().map_or_else(|| "–".to_owned(), chief),
        ]);
    }

    /// The cells of the row that was added last, in a line.
    pub fn last(&self) -> String {
        self.rows.last().map(|row| row.join(" | ")).unwrap_or_default()
    }

    /// A paragraph below the table.
    pub fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    pub fn to_markdown(&self) -> String {
        let heading = [
            "driver",
            "bits",
            "verify",
            "first mask, empty cache",
            "full cache",
            "small model, warm",
            "published size, warm",
            "chief kernels, GFLOP/s",
        ];
        let table = markdown::table(&heading.map(str::to_owned), &self.rows);
        self.notes.iter().fold(table, |text, note| format!("{text}\n{note}\n"))
    }
}

/// The text of what was measured, or why it was not.
fn cell<T>(result: &Result<T>, text: impl Fn(&T) -> String) -> String {
    // A `|` would end the cell.
    result.as_ref().map_or_else(|error| format!("{error:#}").replace('|', "/"), text)
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.2} s")
}

fn warm(bench: &Bench) -> String {
    bench.warm_seconds().map_or_else(|error| error.to_string(), seconds)
}

/// The kernels that took longest, each with its rate.
fn chief(bench: &Bench) -> String {
    let mut kernels: Vec<_> = bench.kernel_times.iter().flatten().filter(|kernel| kernel.flops > 0).collect();
    kernels.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let rate = |seconds: f64, flops: u64| 1e-9 * flops as f64 / seconds;
    let words = kernels.iter().take(CHIEF).map(|kernel| {
        let rate = rate(kernel.seconds, kernel.flops);
        format!("{} {rate:.*}", kernel.kernel, usize::from(rate < 10.0))
    });
    let words: Vec<_> = words.collect();
    if words.is_empty() { "–".to_owned() } else { words.join(", ") }
}

/// Shortens verify's last line to fit a cell: "1043 tensors of 110 references compared, 0 failed (tolerance
/// 1e-4)".
fn verdict(line: &str) -> String {
    match line.split_once(" tensors of ") {
        Some((count, rest)) if rest.contains(" 0 failed") => format!("{count} right"),
        _ => line.to_owned(),
    }
}

/// The driver's version in the adapter's description: "llvmpipe (LLVM 15.0.6, 512 bits) (Vulkan, llvmpipe
/// Mesa 22.3.6 (LLVM 15.0.6))". That of SwiftShader has its name alone.
fn version(adapter: &str) -> Option<String> {
    if adapter.starts_with("SwiftShader") {
        return Some("SwiftShader".to_owned());
    }
    let (_, rest) = adapter.split_once("Mesa ")?;
    Some(format!("Mesa {}", rest.split([' ', ')']).next()?))
}

fn bits(adapter: &str) -> Option<&str> {
    adapter.split_once(" bits)")?.0.rsplit(' ').next()
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    const PRINTED: &str = r#"{
        "adapter": "llvmpipe (LLVM 15.0.6, 512 bits) (Vulkan, llvmpipe Mesa 22.3.6 (LLVM 15.0.6))",
        "first_mask_seconds": 5.126,
        "warm": [{"name": "decoding", "median_seconds": 0.5}, {"name": "all together", "median_seconds": 0.627}],
        "kernel_times": [
            {"kernel": "copies", "seconds": 9.0, "flops": 0, "flops_per_second": null},
            {"kernel": "attention", "seconds": 0.25, "flops": 2000000000},
            {"kernel": "matmul", "seconds": 0.5, "flops": 42000000000}
        ]
    }"#;

    fn bench() -> Result<Bench> {
        Ok(serde_json::from_str(PRINTED)?)
    }

    fn row(measured: &Measured, width: Option<&str>) -> String {
        let mut table = Table::new();
        table.add("Debian 12", width, measured);
        let text = table.to_markdown();
        assert!(table.last().starts_with("Debian 12"));
        let line = text.lines().nth(2).unwrap_or_default();
        line.split('|').map(str::trim).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn a_row_has_what_was_measured() {
        let verify = "1043 tensors of 110 references compared, 0 failed (tolerance 1e-4)".to_owned();
        let measured = Measured { empty: bench(), small: bench(), verify: Ok(verify), full: Some(bench()) };
        let rest = "1043 right|5.13 s|5.13 s|0.63 s|0.63 s|matmul 84, attention 8.0|";
        assert_eq!(row(&measured, Some("512")), format!("|Debian 12, Mesa 22.3.6|512|{rest}"));
        assert_eq!(row(&measured, None), format!("|Debian 12, Mesa 22.3.6|not set: 512|{rest}"));
    }

    #[test]
    fn a_row_has_what_failed() {
        let died = || Err(anyhow!("it died by signal: 11 (SIGSEGV)"));
        let measured = Measured {
            empty: bench(),
            small: Err(anyhow!("a|b")),
            verify: died().map(|()| String::new()),
            full: None,
        };
        assert_eq!(
            row(&measured, Some("256")),
            "|Debian 12, Mesa 22.3.6|256|it died by signal: 11 (SIGSEGV)|5.13 s|a/b|a/b|not run|matmul 84, attention 8.0|"
        );
        let nothing = Measured {
            empty: Err(anyhow!("x")),
            small: Err(anyhow!("x")),
            verify: Err(anyhow!("x")),
            full: None,
        };
        assert_eq!(row(&nothing, None), "|Debian 12|–|x|x|x|x|not run|–|");
    }

    #[test]
    fn drivers_are_named_by_their_version() {
        let mesa = "llvmpipe (LLVM 19.1.7, 256 bits) (Vulkan, llvmpipe Mesa 25.0.7-2+deb13u1 (LLVM 19.1.7))";
        assert_eq!((version(mesa).as_deref(), bits(mesa)), (Some("Mesa 25.0.7-2+deb13u1"), Some("256")));
        let chromium = "SwiftShader Device (Subzero) (Vulkan, SwiftShader driver)";
        assert_eq!((version(chromium).as_deref(), bits(chromium)), (Some("SwiftShader"), None));
        assert_eq!(verdict("1043 tensors of 110 references compared, 3 failed (tolerance 1e-4)").len(), 66);
    }
}
