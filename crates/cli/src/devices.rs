//! `clipseg devices`.

mod check;

use anyhow::{Result, bail};
use clap::Args;
use clipseg::wgpu::DeviceType;
use clipseg::{AdapterReport, KernelFamily};
use clipseg_files::shown;
use serde::Serialize;

use self::check::Outcome;
use crate::drivers::{self, WidthChoice};
use crate::{output, report};

/// List the adapters and the processor, the default first, with their limits and which kernels each can run.
/// Which of a family's kernels are fastest on an adapter, --tune-kernels of the other commands measures.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Run a small model that is built in, and compare every step on every adapter with plain loops on the
    /// processor: one page that tells whether an adapter computes what it should, and if not, which kernel is
    /// the first to go wrong, on which sizes and by how much. Exits with 1 if one does.
    #[arg(long)]
    check: bool,
    /// List and check only these adapters: a number in the list, or part of a name.
    #[arg(long, value_name = "NAME|INDEX")]
    adapter: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  clipseg devices
  clipseg devices --json
  clipseg devices --check                for a report of wrong masks
  clipseg segment --adapter 0 …";

/// One adapter.
#[derive(Serialize)]
struct Adapter {
    /// What `--adapter` takes.
    index: usize,
    name: String,
    description: String,
    kind: &'static str,
    /// The driver's interface; none where it is the processor.
    backend: String,
    limits: Limits,
    /// Half-precision arithmetic in shaders.
    f16: bool,
    subgroups: Option<SubgroupSizes>,
    timestamps: bool,
    /// Whether compiled pipelines are kept in a file.
    pipeline_cache: bool,
    /// Rows and columns of the matrices that its matrix units multiply, where there are kernels for them.
    matrix_units: Option<u32>,
    /// The kernel families that it can run.
    kernels: Vec<&'static str>,
    /// The family that is taken.
    automatic_kernels: &'static str,
    /// The vectors that Mesa's llvmpipe compiles for.
    vector_width: Option<VectorWidth>,
    /// What would make it faster.
    hint: Option<&'static str>,
    /// What a check of its kernels gave.
    checks: Option<Vec<Outcome>>,
}

/// The width of llvmpipe's vectors.
#[derive(Serialize)]
struct VectorWidth {
    bits: u32,
    set_by: WidthChoice,
}

/// The limits that decide what fits.
#[derive(Serialize)]
struct Limits {
    max_buffer_size: u64,
    max_storage_buffer_binding_size: u64,
    max_texture_dimension_2d: u32,
    max_compute_workgroup_storage_size: u32,
    max_compute_invocations_per_workgroup: u32,
}

/// What Mesa's software driver calls itself.
const LLVMPIPE: &str = "llvmpipe";

/// For a software adapter whose subgroups are not those that the fast kernels are written for.
const LANES_HINT: &str = "software adapters are many times faster with subgroups of 8 or 16 lanes; Mesa's llvmpipe has them \
                          when LP_NATIVE_VECTOR_WIDTH is 256, 512, or not set";

/// Lanes of a subgroup.
#[derive(Serialize)]
struct SubgroupSizes {
    min: u32,
    max: u32,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let reports = pollster::block_on(clipseg::adapters());
    let wanted = |index: usize, report: &AdapterReport| match &arguments.adapter {
        None => true,
        Some(wanted) => match wanted.parse::<usize>() {
            Ok(wanted) => wanted == index,
            Err(_) => clipseg::is_named(&report.info, wanted),
        },
    };
    if let Some(adapter) = &arguments.adapter
        && !reports.iter().enumerate().any(|(index, report)| wanted(index, report))
    {
        bail!(
            "--adapter {}: none of the {} adapters has this number or name; `clipseg devices` lists them, from 0",
            shown(adapter),
            reports.len()
        );
    }
    let wanted = reports.iter().enumerate().filter(|(index, report)| wanted(*index, report));
    let adapters = wanted.map(|(index, report)| {
        let checks = arguments.check.then(|| check::check(index, report));
        Adapter { checks, ..Adapter::new(index, report) }
    });
    let adapters: Vec<_> = adapters.collect();
    if arguments.json {
        output::print_json(&adapters)?;
    } else {
        output::print(&adapters.iter().map(Adapter::to_text).collect::<Vec<_>>().join("\n"))?;
    }
    let mut outcomes = adapters.iter().filter_map(|adapter| adapter.checks.as_ref()).flatten().peekable();
    if arguments.check && outcomes.peek().is_none() {
        report::warning(
            "nothing was checked: adapters are held against the processor, and there is none but that; install a \
             driver, or leave out --adapter",
        );
    }
    if outcomes.any(|outcome| !outcome.is_right()) {
        bail!(
            "an adapter does not compute what it should; please report the page above, and use --adapter cpu meanwhile"
        );
    }
    Ok(())
}

impl Adapter {
    fn new(index: usize, report: &AdapterReport) -> Self {
        let AdapterReport { info, limits, .. } = report;
        Self {
            index,
            name: info.name.clone(),
            description: clipseg::describe(info),
            kind: if report.is_processor() { "processor" } else { kind(info.device_type) },
            backend: if report.is_processor() { "none".to_owned() } else { format!("{:?}", info.backend) },
            limits: Limits {
                max_buffer_size: limits.max_buffer_size,
                max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
                max_texture_dimension_2d: limits.max_texture_dimension_2d,
                max_compute_workgroup_storage_size: limits.max_compute_workgroup_storage_size,
                max_compute_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup,
            },
            f16: report.shader_f16,
            subgroups: report
                .subgroups
                .then_some(SubgroupSizes { min: info.subgroup_min_size, max: info.subgroup_max_size }),
            timestamps: report.timestamps,
            pipeline_cache: report.pipeline_cache,
            matrix_units: report.matrix_units,
            kernels: report.families.iter().copied().map(family).collect(),
            automatic_kernels: family(report.automatic),
            // A lane has 32 bits.
            vector_width: (info.driver == LLVMPIPE)
                .then(|| VectorWidth { bits: 32 * info.subgroup_max_size, set_by: drivers::width_choice() }),
            hint: (info.device_type == DeviceType::Cpu
                && !report.is_processor()
                && report.automatic == KernelFamily::Workgroup)
                .then_some(LANES_HINT),
            checks: None,
        }
    }

    fn to_text(&self) -> String {
        if self.kernels.is_empty() {
            return format!(
                "{}: {}\n   kind      {}, which needs no driver: --adapter cpu\n   limits    buffers of {}\n   \
                 kernels   none: it runs their twins\n",
                self.index,
                self.description,
                self.kind,
                bytes(self.limits.max_buffer_size),
            );
        }
        let limits = &self.limits;
        let subgroups = match &self.subgroups {
            Some(SubgroupSizes { min, max }) if min == max => format!("subgroups of {min} lanes"),
            Some(SubgroupSizes { min, max }) => format!("subgroups of {min} to {max} lanes"),
            None => "no subgroups".to_owned(),
        };
        let has = |feature: bool, name: &str| format!("{}{name}", if feature { "" } else { "no " });
        let kernels = self.kernels.iter().map(|&name| match name == self.automatic_kernels {
            true => format!("{name} (automatic)"),
            false => name.to_owned(),
        });
        let width = self.vector_width.as_ref();
        let width = width.map(|width| {
            let reason = match width.set_by {
                WidthChoice::Clipseg => {
                    "which clipseg chose: on this driver its kernels are fastest with them"
                }
                WidthChoice::Environment => "as LP_NATIVE_VECTOR_WIDTH says",
                WidthChoice::Driver => "the driver's own choice",
            };
            format!("   vectors   of {} bits, {reason}\n", width.bits)
        });
        let width = width.unwrap_or_default();
        let matrices = match self.matrix_units {
            Some(side) => format!("matrices of {side} × {side}"),
            None => has(false, "matrix units"),
        };
        let hint = self.hint.map(|hint| format!("   hint      {hint}\n")).unwrap_or_default();
        format!(
            "{}: {}\n   kind      {}\n   \
             limits    buffers of {}, bindings of {}, textures of {side} × {side}, workgroups of {} invocations \
             with {} of memory\n   features  {}, {subgroups}, {}, {}, {matrices}\n   kernels   {}\n   tuning    --tune-kernels \
             takes the fastest of a family at products, attention, layer norm and softmax\n{width}{hint}{}",
            self.index,
            self.description,
            self.kind,
            bytes(limits.max_buffer_size),
            bytes(limits.max_storage_buffer_binding_size),
            limits.max_compute_invocations_per_workgroup,
            bytes(limits.max_compute_workgroup_storage_size.into()),
            has(self.f16, "f16"),
            has(self.timestamps, "timestamps"),
            has(self.pipeline_cache, "pipeline cache"),
            kernels.collect::<Vec<_>>().join(", "),
            self.checks.iter().flatten().map(Outcome::to_text).collect::<String>(),
            side = limits.max_texture_dimension_2d,
        )
    }
}

pub fn kind(device_type: DeviceType) -> &'static str {
    match device_type {
        DeviceType::DiscreteGpu => "discrete GPU",
        DeviceType::IntegratedGpu => "integrated GPU",
        DeviceType::VirtualGpu => "virtual GPU",
        DeviceType::Cpu => "software",
        DeviceType::Other => "other",
    }
}

fn family(family: KernelFamily) -> &'static str {
    match family {
        KernelFamily::Auto => "auto",
        KernelFamily::Workgroup => "workgroup",
        KernelFamily::Subgroup => "subgroup",
        _ => "other",
    }
}

/// A size for people, in the largest unit that leaves at least 1.
fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.into_iter().find(|&(unit, _)| count >= unit) {
        Some((unit, name)) if count.is_multiple_of(unit) => format!("{} {name}", count / unit),
        Some((unit, name)) => format!("{:.1} {name}", count as f64 / unit as f64),
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_short() {
        assert_eq!(
            [0, 1023, 1024, 3 << 29, 1 << 60].map(super::bytes).join(" "),
            "0 B 1023 B 1 KiB 1.5 GiB 1073741824 GiB"
        );
    }
}
