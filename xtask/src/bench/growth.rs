//! How time and memory grow with the work.

use std::path::Path;

use anyhow::Result;

use crate::cli::{Bench, clipseg, json_of};
use crate::{markdown, root};

/// A flag of `clipseg bench` and what is given to it.
struct Curve {
    title: &'static str,
    flag: &'static str,
    values: &'static [u64],
}

const CURVES: [Curve; 4] = [
    Curve { title: "prompts on one photo", flag: "prompts", values: &[1, 2, 4, 8, 16, 32, 64] },
    Curve { title: "pixels on a side", flag: "size", values: &[224, 352, 448, 704] },
    Curve { title: "threads that share an engine", flag: "threads", values: &[1, 2, 4] },
    Curve { title: "photos encoded together", flag: "batch", values: &[1, 2, 4, 8] },
];

/// One point of a curve.
struct Point {
    value: u64,
    /// Until all threads had segmented all their photos.
    seconds: f64,
    /// Operations in that time.
    flops: u64,
    arena_bytes: u64,
}

/// Measures every curve and prints a table of each.
pub fn print(model: &Path, runs: u16) -> Result<()> {
    println!(
        "\nTime of all steps of a warm run, and the device memory that plans work in, each also relative to the first row; \
         beside them, what the\nkernels' operations predict for the time. Medians of {runs} runs."
    );
    for Curve { title, flag, values } in &CURVES {
        let measure = |&value: &u64| measure(model, runs, flag, value);
        let points = values.iter().map(measure).collect::<Result<Vec<_>>>()?;
        print!("\n{}", to_markdown(title, &points));
    }
    Ok(())
}

fn measure(model: &Path, runs: u16, flag: &str, value: u64) -> Result<Point> {
    let mut command = clipseg(root());
    command.arg("bench").arg("--model").arg(model).args(["--adapter", "driver", "--json", "--profile"]);
    command.args(["--runs", &runs.to_string(), &format!("--{flag}"), &value.to_string()]);
    let bench: Bench = json_of(&mut command)?;
    // Threads do the same work each, and photos of a batch are counted in it.
    let (threads, photos) = match flag {
        "threads" => (value, value),
        "batch" => (1, value),
        _ => (1, 1),
    };
    let flops: u64 = bench.kernel_times.iter().flatten().map(|kernel| kernel.flops).sum();
    Ok(Point {
        value,
        seconds: photos as f64 / bench.photos_per_second,
        flops: threads * flops,
        arena_bytes: bench.arena_bytes,
    })
}

fn to_markdown(title: &str, points: &[Point]) -> String {
    let heading = [title, "time", "of the first", "predicted", "memory", "of the first"].map(str::to_owned);
    let Some(first) = points.first() else { return String::new() };
    let row = |point: &Point| {
        let times = |value: f64, first: f64| format!("{:.2} ×", value / first);
        vec![
            point.value.to_string(),
            format!("{:.0} ms", 1e3 * point.seconds),
            times(point.seconds, first.seconds),
            times(point.flops as f64, first.flops as f64),
            format!("{:.0} MB", 1e-6 * point.arena_bytes as f64),
            times(point.arena_bytes as f64, first.arena_bytes as f64),
        ]
    };
    markdown::table(&heading, &points.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_relative_to_the_first() {
        let point = |value, seconds, flops, arena_bytes| Point { value, seconds, flops, arena_bytes };
        let text = to_markdown("prompts", &[point(1, 0.5, 1000, 4_000_000), point(8, 0.75, 2000, 5_000_000)]);
        let last = text.lines().last().unwrap_or_default();
        let cells: Vec<_> = last.split('|').map(str::trim).collect();
        assert_eq!(cells[1..7], ["8", "750 ms", "1.50 ×", "2.00 ×", "5 MB", "1.25 ×"], "{text}");
    }
}
