//! Finding an adapter, and telling what it can run.

use crate::matrix_units::{self, MatrixSize};
#[cfg(feature = "processor")]
use crate::processor;
use crate::{Error, Result};

/// Subgroup sizes, in lanes, that the subgroup kernels are written for.
const LANES: [u32; 2] = [8, 16];

/// Which adapter to open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdapterChoice {
    /// The fastest kind there is: a discrete GPU, an integrated one, a virtual one, then the processor
    /// itself, which needs no driver. Drivers that compute on the processor are slower than that and have to
    /// be asked for.
    #[default]
    Best,
    /// The processor itself.
    Processor,
    /// The best adapter that a driver offers, software adapters included: all of them run kernels.
    Driver,
    /// The adapter at this position in [`adapters`].
    Index(usize),
    /// The first adapter whose name or driver contains this text, in upper or lower case.
    Name(String),
}

impl std::str::FromStr for AdapterChoice {
    type Err = std::convert::Infallible;

    /// A number is an index, `cpu` the processor, `driver` the best that a driver offers, anything else a
    /// name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "cpu" => Self::Processor,
            "driver" => Self::Driver,
            number_or_name => {
                number_or_name.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Index)
            }
        })
    }
}

/// Which kernels run, where an op has several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KernelFamily {
    /// Subgroup kernels on software adapters that can run them, workgroup kernels elsewhere.
    #[default]
    Auto,
    /// Workgroup-memory tiles on storage buffers: any WebGPU adapter.
    Workgroup,
    /// Textures and subgroup shuffles: adapters with subgroups of eight or of sixteen lanes.
    Subgroup,
}

/// An adapter of this machine, as [`adapters`] lists it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AdapterReport {
    /// Name, driver, backend and kind.
    pub info: wgpu::AdapterInfo,
    /// The limits it offers.
    pub limits: wgpu::Limits,
    /// Half-precision arithmetic in shaders.
    pub shader_f16: bool,
    /// Subgroup operations.
    pub subgroups: bool,
    /// Timestamps for profiling.
    pub timestamps: bool,
    /// Whether compiled pipelines can be kept in a file, as
    /// [`DeviceOptions::pipeline_cache`](crate::DeviceOptions) asks.
    pub pipeline_cache: bool,
    /// The side of the square matrices that its matrix units multiply, where there are kernels for them.
    /// [`DeviceOptions::matrix_units`](crate::DeviceOptions) turns these kernels on.
    pub matrix_units: Option<u32>,
    /// The lanes of the subgroups that hold such a matrix between them.
    pub matrix_lanes: Option<u32>,
    /// The kernel families it can run; none of them is the processor's.
    pub families: Vec<KernelFamily>,
    /// The family that [`KernelFamily::Auto`] takes on it.
    pub automatic: KernelFamily,
}

impl AdapterReport {
    /// Whether it is the processor, which runs the CPU twins of the kernels and has no families of them.
    #[must_use]
    pub fn is_processor(&self) -> bool {
        self.info.backend == wgpu::Backend::Noop
    }
}

/// Every adapter that wgpu finds, and the processor, best first: the order of [`AdapterChoice::Index`].
pub async fn adapters() -> Vec<AdapterReport> {
    enumerate().await.iter().map(Chosen::report).collect()
}

/// What a device can be opened on.
pub(crate) enum Chosen {
    Adapter(wgpu::Adapter),
    #[cfg(feature = "processor")]
    Processor,
}

impl Chosen {
    fn info(&self) -> wgpu::AdapterInfo {
        match self {
            Self::Adapter(adapter) => adapter.get_info(),
            #[cfg(feature = "processor")]
            Self::Processor => processor::info(),
        }
    }

    /// The rank by which adapters are sorted: the fastest kind has the lowest.
    fn rank(&self) -> u32 {
        match self {
            Self::Adapter(adapter) => match adapter.get_info().device_type {
                wgpu::DeviceType::DiscreteGpu => 0,
                wgpu::DeviceType::IntegratedGpu => 1,
                wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other => 2,
                wgpu::DeviceType::Cpu => 4,
            },
            #[cfg(feature = "processor")]
            Self::Processor => 3,
        }
    }

    fn is_adapter(&self) -> bool {
        matches!(self, Self::Adapter(_))
    }

    fn report(&self) -> AdapterReport {
        match self {
            Self::Adapter(adapter) => report(adapter),
            #[cfg(feature = "processor")]
            Self::Processor => AdapterReport {
                info: processor::info(),
                limits: processor::limits(),
                shader_f16: false,
                subgroups: false,
                timestamps: true,
                pipeline_cache: false,
                matrix_units: None,
                matrix_lanes: None,
                families: Vec::new(),
                automatic: KernelFamily::Auto,
            },
        }
    }
}

fn report(adapter: &wgpu::Adapter) -> AdapterReport {
    let (info, features) = (adapter.get_info(), adapter.features());
    let subgroup = subgroup_lanes(&info, features, KernelFamily::Subgroup).is_ok();
    let automatic = match subgroup_lanes(&info, features, KernelFamily::Auto) {
        Ok(Some(_)) => KernelFamily::Subgroup,
        _ => KernelFamily::Workgroup,
    };
    let matrices = matrix_units::offered(adapter);
    let mut families = vec![KernelFamily::Workgroup];
    families.extend(subgroup.then_some(KernelFamily::Subgroup));
    AdapterReport {
        info,
        limits: adapter.limits(),
        shader_f16: features.contains(wgpu::Features::SHADER_F16),
        subgroups: features.contains(wgpu::Features::SUBGROUP),
        timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
        pipeline_cache: features.contains(wgpu::Features::PIPELINE_CACHE),
        matrix_units: matrices.map(|size| size.side() as u32),
        matrix_lanes: matrices.map(MatrixSize::lanes),
        families,
        automatic,
    }
}

async fn enumerate() -> Vec<Chosen> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        flags: wgpu::InstanceFlags::empty().with_env(),
        ..wgpu::InstanceDescriptor::new_without_display_handle_from_env()
    });
    let mut adapters = instance.enumerate_adapters(wgpu::Backends::all()).await;
    if adapters.is_empty() {
        // Browsers do not list their adapters; they hand out one.
        adapters.extend(instance.request_adapter(&wgpu::RequestAdapterOptions::default()).await.ok());
    }
    let mut choices: Vec<_> = adapters.into_iter().map(Chosen::Adapter).collect();
    #[cfg(feature = "processor")]
    choices.push(Chosen::Processor);
    choices.sort_by_key(Chosen::rank);
    choices
}

/// Finds the adapter that `choice` asks for. Where `kernels` names a family, [`AdapterChoice::Best`] passes
/// over the processor, which runs no kernels.
///
/// # Errors
/// [`Error::NoAdapter`] when there is nothing of the kind, [`Error::Adapter`] for kernels on the processor.
pub(crate) async fn choose(choice: &AdapterChoice, kernels: KernelFamily) -> Result<Chosen> {
    #[cfg(feature = "processor")]
    if *choice == AdapterChoice::Processor {
        // Do not list the drivers' adapters: that takes longer than opening the processor.
        return for_kernels(Chosen::Processor, kernels);
    }
    let mut choices = enumerate().await;
    let only_adapters = match choice {
        AdapterChoice::Driver => true,
        AdapterChoice::Best => kernels != KernelFamily::Auto,
        _ => false,
    };
    if only_adapters {
        choices.retain(Chosen::is_adapter);
    }
    if choices.is_empty() {
        return Err(Error::NoAdapter(
            "no GPU adapter was found; install your GPU's driver, or Mesa's software Vulkan (on Debian and Ubuntu: \
             apt-get install mesa-vulkan-drivers), then try `clipseg devices`"
                .to_owned(),
        ));
    }
    let wanted = match choice {
        AdapterChoice::Best | AdapterChoice::Driver => return for_kernels(choices.swap_remove(0), kernels),
        AdapterChoice::Processor => {
            "of the processor: this program was built without its feature \"processor\"".to_owned()
        }
        AdapterChoice::Index(index) if *index < choices.len() => {
            return for_kernels(choices.swap_remove(*index), kernels);
        }
        AdapterChoice::Index(index) => format!("number {index}"),
        AdapterChoice::Name(name) => {
            match choices.iter().position(|adapter| is_named(&adapter.info(), name)) {
                Some(index) => return for_kernels(choices.swap_remove(index), kernels),
                None => format!("with {name:?} in its name"),
            }
        }
    };
    let list: Vec<_> = choices
        .iter()
        .enumerate()
        .map(|(index, adapter)| format!("{index}: {}", describe(&adapter.info())))
        .collect();
    Err(Error::NoAdapter(format!("no adapter {wanted}; there are: {}", list.join("; "))))
}

fn for_kernels(chosen: Chosen, kernels: KernelFamily) -> Result<Chosen> {
    if kernels == KernelFamily::Auto || chosen.is_adapter() {
        return Ok(chosen);
    }
    let reason =
        "it runs no kernels, so none can be chosen for it; leave the choice of kernels out".to_owned();
    Err(Error::Adapter { adapter: chosen.info().name, reason })
}

/// Whether the name or driver of an adapter contains this text, in upper or lower case, as
/// [`AdapterChoice::Name`] looks for it.
#[must_use]
pub fn is_named(info: &wgpu::AdapterInfo, text: &str) -> bool {
    describe(info).to_lowercase().contains(&text.to_lowercase())
}

/// One line for people: name, backend and driver, or the processor's instruction set and threads.
#[must_use]
pub fn describe(info: &wgpu::AdapterInfo) -> String {
    if info.backend == wgpu::Backend::Noop {
        return format!("{} ({})", info.name, info.driver_info);
    }
    let driver = [info.driver.as_str(), info.driver_info.as_str()].join(" ");
    format!("{} ({:?}, {})", info.name, info.backend, driver.trim())
}

/// The subgroup size for which to run the subgroup kernels; `None` where the workgroup kernels are to run.
///
/// The subgroup kernels need subgroups of one fixed size, one of [`LANES`]. Software adapters have that on
/// processors with vectors of 256 or 512 bits. A GPU may have it too, but is faster with the workgroup
/// kernels, so `Auto` takes the subgroup kernels on software adapters alone.
pub(crate) fn subgroup_lanes(
    info: &wgpu::AdapterInfo,
    features: wgpu::Features,
    family: KernelFamily,
) -> Result<Option<u32>, String> {
    let has_subgroups = features.contains(wgpu::Features::SUBGROUP);
    let sizes = [info.subgroup_min_size, info.subgroup_max_size];
    let lanes = LANES.into_iter().find(|&lanes| has_subgroups && sizes == [lanes, lanes]);
    match family {
        KernelFamily::Workgroup => Ok(None),
        KernelFamily::Auto => Ok(lanes.filter(|_| info.device_type == wgpu::DeviceType::Cpu)),
        KernelFamily::Subgroup if lanes.is_some() => Ok(lanes),
        KernelFamily::Subgroup => Err(format!(
            "the subgroup kernels need subgroups of {} or {} lanes; it has {}",
            LANES[0],
            LANES[1],
            if has_subgroups { format!("{} to {}", sizes[0], sizes[1]) } else { "none".to_owned() }
        )),
    }
}
