//! The tables of `clipseg bench --roofline`: what the adapter reaches at best, and what each kernel makes of
//! it.

use super::kernel::Kernel;
use crate::kernels::Ceilings;
use crate::kernels::format::{bytes_per_second, flops, seconds, working_set};
use crate::table::{self, Align};

/// Both tables, and what the second means.
pub fn text(measured: &Ceilings, kernels: &[Kernel]) -> String {
    format!(
        "\nwhat the adapter reaches at best, measured\n{}\n{}\nThe least is, run by run, the longer of the operations at the peak rate of \
         the units that the kernel uses and the bytes at the memory's.\n",
        ceilings(measured),
        rows(kernels)
    )
}

/// The adapter's ceilings.
fn ceilings(ceilings: &Ceilings) -> String {
    let mut rows = vec![["f32 arithmetic".to_owned(), flops(ceilings.f32_flops)]];
    let others = [
        ("f16 arithmetic", ceilings.f16_flops),
        ("matrix units, f16 with sums in f32", ceilings.matrix_flops),
    ];
    for (name, rate) in others {
        rows.extend(rate.map(|rate| [name.to_owned(), flops(rate)]));
    }
    rows.push(["workgroup memory, read".to_owned(), bytes_per_second(ceilings.workgroup_memory)]);
    for rates in &ceilings.memory {
        let size = working_set(rates.bytes);
        for (how, rate) in [("read", rates.read), ("written", rates.write), ("copied", rates.copy)] {
            rows.push([format!("{size}, {how}"), bytes_per_second(rate)]);
        }
    }
    rows.push(["a dispatch that waits for the one before".to_owned(), seconds(ceilings.dispatch_seconds)]);
    rows.push(["a submission, until the host knows".to_owned(), seconds(ceilings.submit_seconds)]);
    table::render([Align::Left, Align::Right], &rows)
}

/// What the kernels take, the longest first, and the share of that which they cannot do without; and all
/// together.
fn rows(kernels: &[Kernel]) -> String {
    let heading = [
        "kernels of one run",
        "runs",
        "GFLOP",
        "MB",
        "FLOP/byte",
        "ms",
        "GFLOP/s",
        "GB/s",
        "least ms",
        "of the ceiling",
    ];
    let sum = |of: fn(&Kernel) -> f64| kernels.iter().map(of).sum::<f64>();
    let all = Kernel {
        kernel: "all",
        runs: kernels.iter().map(|kernel| kernel.runs).sum(),
        seconds: sum(|kernel| kernel.seconds),
        share: 1.0,
        flops: kernels.iter().map(|kernel| kernel.flops).sum(),
        bytes: kernels.iter().map(|kernel| kernel.bytes).sum(),
        flops_per_second: sum(|kernel| kernel.flops as f64) / sum(|kernel| kernel.seconds),
        bytes_per_second: sum(|kernel| kernel.bytes as f64) / sum(|kernel| kernel.seconds),
        least_seconds: kernels.iter().map(|kernel| kernel.least_seconds).sum(),
    };
    let row = |own: &Kernel| {
        let least = own.least_seconds.unwrap_or_default();
        [
            own.kernel.to_owned(),
            own.runs.to_string(),
            format!("{:.2}", 1e-9 * own.flops as f64),
            format!("{:.1}", 1e-6 * own.bytes as f64),
            format!("{:.1}", own.flops as f64 / own.bytes as f64),
            format!("{:.3}", 1e3 * own.seconds),
            format!("{:.1}", 1e-9 * own.flops_per_second),
            format!("{:.1}", 1e-9 * own.bytes_per_second),
            format!("{:.3}", 1e3 * least),
            format!("{:.0} %", 1e2 * least / own.seconds),
        ]
    };
    let rows: Vec<_> = std::iter::once(heading.map(str::to_owned))
        .chain(kernels.iter().map(row))
        .chain(std::iter::once(row(&all)))
        .collect();
    let columns: [_; 10] = std::array::from_fn(|column| if column == 0 { Align::Left } else { Align::Right });
    table::render(columns, &rows)
}

#[cfg(test)]
mod tests {
    use clipseg::{Cost, KernelTime, MemoryRates, Peaks};

    use super::*;

    fn measured() -> Peaks {
        Peaks {
            f32_flops: 1e12,
            f16_flops: None,
            matrix_flops: Some(1e13),
            memory: vec![MemoryRates { bytes: 1 << 20, read: 1e11, write: 5e10, copy: 5e10 }],
            workgroup_memory: 1e12,
            dispatch_seconds: 2e-6,
            submit_seconds: 1e-5,
        }
    }

    fn time(kernel: &'static str, runs: usize, cost: Cost) -> KernelTime {
        KernelTime { kernel, runs, cost, seconds: 0.5, each: Vec::new() }
    }

    #[test]
    fn runs_are_judged_one_by_one() {
        // The one is bound by arithmetic, 1 ms, and the other by memory, 2 ms: together 2 · 1 + 2, although
        // either sum would take less.
        let arithmetic = Cost { flops: 1_000_000_000, bytes: 1_000_000 };
        let memory = Cost { flops: 1_000_000, bytes: 200_000_000 };
        let times = [
            time("matmul", 2, arithmetic),
            time("matmul", 1, memory),
            time("film", 1, Cost { flops: 0, bytes: 100_000 }),
        ];
        let kernels = Kernel::of(&times, Some(&measured()));
        let names: Vec<_> = kernels.iter().map(|kernel| (kernel.kernel, kernel.runs)).collect();
        assert_eq!(names, [("matmul", 3), ("film", 1)]);
        assert!((kernels[0].least_seconds.unwrap() - 4e-3).abs() < 1e-9);
        let text = text(&Ceilings::from(&measured()), &kernels);
        let all = text.lines().find(|line| line.starts_with("all")).unwrap();
        assert!(all.contains("1500.000") && all.contains("4.001"), "{text}");
        assert!(text.contains("1 MiB, written") && text.contains("10.0 TFLOP/s"), "{text}");
    }

    #[test]
    fn kernels_on_matrix_units_are_held_against_these() {
        let cost = Cost { flops: 10_000_000_000, bytes: 1_000_000 };
        let times = [time("matmul_tile", 1, cost), time("matmul_cooperative_16", 1, cost)];
        let kernels = Kernel::of(&times, Some(&measured()));
        let least: Vec<_> =
            kernels.iter().map(|own| (own.kernel, (1e3 * own.least_seconds.unwrap()).round())).collect();
        assert!(
            least.contains(&("matmul_tile", 10.0)) && least.contains(&("matmul_cooperative_16", 1.0)),
            "{least:?}"
        );
    }
}
