//! Matrix units: which adapters multiply whole matrices in hardware, and on which of them the kernels that do
//! so are trusted.

use crate::{DeviceOptions, Error, Precision, Result};

/// Whether products and attention may run on matrix units, through cooperative matrices of a native driver.
///
/// They multiply in f16 and add in f32, so they serve [`Precision::F16`](crate::Precision::F16) and the
/// workgroup kernels alone. wgpu calls its support for them experimental: what its validation misses may be
/// undefined behaviour in the driver. Hence they are off unless asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MatrixUnits {
    /// Never.
    #[default]
    Off,
    /// Where they can be used and the driver is one that passed every test of these kernels
    /// ([`MatrixUnits::is_known`]); elsewhere a warning is logged and the other kernels run.
    Known,
    /// On any driver that offers them: for tests, and to find out whether another driver can be trusted.
    Any,
}

impl MatrixUnits {
    /// The names that it is read from.
    pub const NAMES: [&str; 3] = ["off", "known", "any"];

    /// Whether the driver passed the tests of the kernels on matrix units, the step-by-step check, and
    /// verify.
    #[must_use]
    pub fn is_known(info: &wgpu::AdapterInfo) -> bool {
        KNOWN.iter().any(|&(backend, driver)| info.backend == backend && info.driver == driver)
    }
}

impl std::str::FromStr for MatrixUnits {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "off" => Ok(Self::Off),
            "known" => Ok(Self::Known),
            "any" => Ok(Self::Any),
            _ => {
                Err(format!("{name:?} is not a choice of matrix units; there are {}", Self::NAMES.join(", ")))
            }
        }
    }
}

/// Drivers on which the kernels passed. Each is here because it was run, not because its maker promises it.
const KNOWN: [(wgpu::Backend, &str); 2] = [
    // Mesa 26.2: 8×8 matrices on 8 lanes.
    (wgpu::Backend::Vulkan, "llvmpipe"),
    // 580.159.04 on an H100: 16×16 matrices on 32 lanes.
    (wgpu::Backend::Vulkan, "NVIDIA"),
];

/// The matrices that an adapter multiplies, of those that there are kernels for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MatrixSize {
    /// 8×8 on subgroups of 8 lanes: Mesa's llvmpipe.
    Eight,
    /// 8×8 on subgroups of 32 lanes: Apple's GPUs.
    EightOf32Lanes,
    /// 16×16 on subgroups of 32 lanes: NVIDIA's.
    Sixteen,
}

impl MatrixSize {
    /// Those that there are kernels for, the largest first.
    pub const ALL: [Self; 3] = [Self::Sixteen, Self::EightOf32Lanes, Self::Eight];

    /// Rows and columns.
    pub fn side(self) -> usize {
        match self {
            Self::Eight | Self::EightOf32Lanes => 8,
            Self::Sixteen => 16,
        }
    }

    /// Lanes of the subgroup that together hold one matrix.
    pub fn lanes(self) -> u32 {
        match self {
            Self::Eight => 8,
            Self::EightOf32Lanes | Self::Sixteen => 32,
        }
    }
}

/// Bytes of workgroup memory that the largest of the kernels needs.
const WORKGROUP_MEMORY: u32 = 32 << 10;

/// What the kernels need of a driver.
pub(crate) fn features() -> wgpu::Features {
    wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX
        | wgpu::Features::SHADER_F16
        | wgpu::Features::SUBGROUP
        | wgpu::Features::SUBGROUP_BARRIER
}

/// The largest matrices, in f16 with sums in f32, that `adapter` multiplies and that there are kernels for,
/// on a device with the features `has` and these `limits`.
fn largest(adapter: &wgpu::Adapter, has: wgpu::Features, limits: &wgpu::Limits) -> Option<MatrixSize> {
    if !has.contains(features()) || limits.max_compute_workgroup_storage_size < WORKGROUP_MEMORY {
        return None;
    }
    largest_of(lanes(&adapter.get_info())?, &adapter.cooperative_matrix_properties())
}

/// As [`largest`], in subgroups of so many lanes.
fn largest_of(lanes: u32, offered: &[wgpu::CooperativeMatrixProperties]) -> Option<MatrixSize> {
    MatrixSize::ALL.into_iter().find(|size| {
        let side = size.side() as u32;
        size.lanes() == lanes
            && offered.iter().any(|offered| {
                [offered.m_size, offered.n_size, offered.k_size] == [side; 3]
                    && offered.ab_type == wgpu::CooperativeScalarType::F16
                    && offered.cr_type == wgpu::CooperativeScalarType::F32
            })
    })
}

/// The lanes of every subgroup of an adapter, where they are all alike.
fn lanes(info: &wgpu::AdapterInfo) -> Option<u32> {
    // Metal says it of a pipeline alone, and wgpu gives the range that WebGPU allows. Apple's own GPUs have
    // 32 in all of them; of other makers' in older Macs, to whose drivers wgpu ascribes matrix units too, it
    // is not known.
    if info.backend == wgpu::Backend::Metal {
        return info.name.starts_with("Apple ").then_some(32);
    }
    (info.subgroup_min_size == info.subgroup_max_size).then_some(info.subgroup_min_size)
}

/// The matrices that a device of `adapter` could multiply.
pub(crate) fn offered(adapter: &wgpu::Adapter) -> Option<MatrixSize> {
    largest(adapter, adapter.features(), &adapter.limits())
}

/// As [`offered`], but `None` where `choice` does not want them. Where there are some, the device has to be
/// opened with [`features`].
pub(crate) fn wanted(adapter: &wgpu::Adapter, choice: MatrixUnits) -> Option<MatrixSize> {
    let is_wanted = match choice {
        MatrixUnits::Off => false,
        MatrixUnits::Known => MatrixUnits::is_known(&adapter.get_info()),
        MatrixUnits::Any => true,
    };
    if is_wanted { offered(adapter) } else { None }
}

/// Refuses or tells of matrix units that are asked for on the processor.
///
/// # Errors
/// [`Error::Adapter`] when they are insisted on.
#[cfg(feature = "processor")]
pub(crate) fn check_processor(options: &DeviceOptions) -> Result<()> {
    let name = crate::processor::info().name;
    let reason =
        "no matrix units can be used: the processor has none; take an adapter that has some".to_owned();
    match options.matrix_units {
        MatrixUnits::Off => {}
        MatrixUnits::Known => log::warn!("{name}: {reason}"),
        MatrixUnits::Any => return Err(Error::Adapter { adapter: name, reason }),
    }
    Ok(())
}

/// The matrices that the kernels on `device` multiply, as `options` ask. `lanes` are given where the device
/// runs the subgroup kernels, which use no matrix units.
///
/// # Errors
/// [`Error::Adapter`] when matrix units are insisted on and cannot be used.
pub(crate) fn choose(
    adapter: &wgpu::Adapter,
    device: &wgpu::Device,
    options: &DeviceOptions,
    lanes: Option<u32>,
) -> Result<Option<MatrixSize>> {
    if options.matrix_units == MatrixUnits::Off {
        return Ok(None);
    }
    let info = adapter.get_info();
    let is_known = options.matrix_units == MatrixUnits::Any || MatrixUnits::is_known(&info);
    let size = largest(adapter, device.features(), &device.limits());
    let reason = if lanes.is_some() {
        "the subgroup kernels do not; take the workgroup kernels"
    } else if options.precision != Precision::F16 {
        "they multiply in f16; take that precision"
    } else if size.is_none() {
        "there are kernels for matrices of 16×16 on 32 lanes and of 8×8 on 32 and on 8, in f16 with sums in f32; a host \
         has to open its device with wgpu's cooperative matrices, f16, subgroups and subgroup barriers, and 32 KiB of \
         workgroup memory"
    } else if !is_known {
        "the kernels for them are not known to be right with its driver"
    } else {
        return Ok(size);
    };
    let reason = format!("no matrix units can be used: {reason}");
    if options.matrix_units == MatrixUnits::Any {
        return Err(Error::Adapter { adapter: info.name, reason });
    }
    log::warn!("{}: {reason}", crate::describe(&info));
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(backend: wgpu::Backend, name: &str, [min, max]: [u32; 2]) -> wgpu::AdapterInfo {
        wgpu::AdapterInfo {
            name: name.to_owned(),
            subgroup_min_size: min,
            subgroup_max_size: max,
            ..wgpu::AdapterInfo::new(wgpu::DeviceType::IntegratedGpu, backend)
        }
    }

    fn offered(
        side: u32,
        ab_type: wgpu::CooperativeScalarType,
        cr_type: wgpu::CooperativeScalarType,
    ) -> wgpu::CooperativeMatrixProperties {
        wgpu::CooperativeMatrixProperties {
            m_size: side,
            n_size: side,
            k_size: side,
            ab_type,
            cr_type,
            saturating_accumulation: false,
        }
    }

    #[test]
    fn lanes_are_known_where_all_subgroups_have_as_many_and_on_apples_gpus() {
        use wgpu::Backend::{Metal, Vulkan};
        for (backend, name, range, expected) in [
            (Vulkan, "llvmpipe (LLVM 21.1.8, 256 bits)", [8, 8], Some(8)),
            (Vulkan, "NVIDIA H100 80GB HBM3", [32, 32], Some(32)),
            (Vulkan, "AMD Radeon RX 7900 XTX", [32, 64], None),
            // The range that wgpu gives on Metal.
            (Metal, "Apple M4 Pro", [4, 64], Some(32)),
            (Metal, "AMD Radeon Pro 5500M", [4, 64], None),
        ] {
            assert_eq!(lanes(&info(backend, name, range)), expected, "{name}");
        }
    }

    #[test]
    fn the_largest_matrices_with_kernels_for_these_lanes_are_taken() {
        use wgpu::CooperativeScalarType::{F16, F32};
        // In wgpu's order on Metal.
        let apple = [offered(8, F32, F32), offered(8, F16, F16), offered(8, F16, F32)];
        assert_eq!(largest_of(32, &apple), Some(MatrixSize::EightOf32Lanes));
        assert_eq!(largest_of(8, &apple), Some(MatrixSize::Eight));
        assert_eq!(largest_of(16, &apple), None);
        let both = [offered(8, F16, F32), offered(16, F16, F32)];
        assert_eq!(largest_of(32, &both), Some(MatrixSize::Sixteen));
        assert_eq!(largest_of(8, &both), Some(MatrixSize::Eight));
        // Sums in f16 or operands in f32 are not what the kernels multiply.
        assert_eq!(largest_of(32, &apple[..2]), None);
    }
}
