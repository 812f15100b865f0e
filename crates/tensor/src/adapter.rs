//! Finding an adapter, and telling what it can run.

use crate::{Error, Result};

/// Lanes of a subgroup that the subgroup kernels are written for.
const LANES: [u32; 2] = [8, 16];

/// Which adapter to open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdapterChoice {
    /// The fastest kind there is: discrete, integrated, virtual, then software.
    #[default]
    Best,
    /// The place in [`adapters`].
    Index(usize),
    /// The first whose name or driver contains this, whatever the case.
    Name(String),
}

impl std::str::FromStr for AdapterChoice {
    type Err = std::convert::Infallible;

    /// A number is an index, anything else a name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Index))
    }
}

/// Which kernels run, where an op has several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KernelFamily {
    /// Subgroup kernels on software adapters that can run them, classic ones elsewhere.
    #[default]
    Auto,
    /// Workgroup-memory tiles on storage buffers: any WebGPU adapter.
    Classic,
    /// Textures and subgroup shuffles: adapters with subgroups of eight or of sixteen lanes.
    Subgroup,
}

/// An adapter of this machine, as [`adapters`] lists it.
#[derive(Clone, Debug)]
pub struct AdapterReport {
    /// Name, driver, backend and kind.
    pub info: wgpu::AdapterInfo,
    /// The limits it offers.
    pub limits: wgpu::Limits,
    /// Half-precision arithmetic in shaders.
    pub half_precision: bool,
    /// Subgroup operations.
    pub subgroups: bool,
    /// Timestamps for profiling.
    pub timestamps: bool,
    /// Whether compiled pipelines can be kept in a file: what [`DeviceOptions::pipeline_cache`](crate::DeviceOptions) asks for.
    pub pipeline_cache: bool,
    /// The kernel families it can run.
    pub families: Vec<KernelFamily>,
    /// The family that [`KernelFamily::Auto`] takes on it.
    pub automatic: KernelFamily,
}

/// Every adapter that wgpu finds, best first: the order of [`AdapterChoice::Index`].
pub async fn adapters() -> Vec<AdapterReport> {
    enumerate().await.iter().map(report).collect()
}

fn report(adapter: &wgpu::Adapter) -> AdapterReport {
    let features = adapter.features();
    let subgroup = subgroup_lanes(adapter, KernelFamily::Subgroup).is_ok();
    let automatic = match subgroup_lanes(adapter, KernelFamily::Auto) {
        Ok(Some(_)) => KernelFamily::Subgroup,
        _ => KernelFamily::Classic,
    };
    let mut families = vec![KernelFamily::Classic];
    families.extend(subgroup.then_some(KernelFamily::Subgroup));
    AdapterReport {
        info: adapter.get_info(),
        limits: adapter.limits(),
        half_precision: features.contains(wgpu::Features::SHADER_F16),
        subgroups: features.contains(wgpu::Features::SUBGROUP),
        timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
        pipeline_cache: features.contains(wgpu::Features::PIPELINE_CACHE),
        families,
        automatic,
    }
}

async fn enumerate() -> Vec<wgpu::Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        flags: wgpu::InstanceFlags::empty().with_env(),
        ..wgpu::InstanceDescriptor::new_without_display_handle_from_env()
    });
    let mut adapters = instance.enumerate_adapters(wgpu::Backends::all()).await;
    if adapters.is_empty() {
        // Browsers do not enumerate; they hand out one.
        adapters.extend(instance.request_adapter(&wgpu::RequestAdapterOptions::default()).await.ok());
    }
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other => 2,
        wgpu::DeviceType::Cpu => 3,
    });
    adapters
}

pub(crate) async fn choose(choice: &AdapterChoice) -> Result<wgpu::Adapter> {
    let mut adapters = enumerate().await;
    if adapters.is_empty() {
        return Err(Error::NoAdapter(
            "no GPU adapter was found; install your GPU's driver, or Mesa's software Vulkan (on Debian and Ubuntu: \
             apt-get install mesa-vulkan-drivers), then try `clipseg devices`"
                .to_owned(),
        ));
    }
    let place = match choice {
        AdapterChoice::Best => Some(0),
        AdapterChoice::Index(index) => (*index < adapters.len()).then_some(*index),
        AdapterChoice::Name(name) => {
            let name = name.to_lowercase();
            adapters.iter().position(|adapter| describe(&adapter.get_info()).to_lowercase().contains(&name))
        }
    };
    match place {
        Some(place) => Ok(adapters.swap_remove(place)),
        None => {
            let wanted = match choice {
                AdapterChoice::Index(index) => format!("number {index}"),
                AdapterChoice::Name(name) => format!("with {name:?} in its name"),
                AdapterChoice::Best => String::new(),
            };
            let list: Vec<_> = adapters
                .iter()
                .enumerate()
                .map(|(index, adapter)| format!("{index}: {}", describe(&adapter.get_info())))
                .collect();
            Err(Error::NoAdapter(format!("no adapter {wanted}; there are: {}", list.join("; "))))
        }
    }
}

/// One line for people: name, backend and driver.
#[must_use]
pub fn describe(info: &wgpu::AdapterInfo) -> String {
    let driver = [info.driver.as_str(), info.driver_info.as_str()].join(" ");
    format!("{} ({:?}, {})", info.name, info.backend, driver.trim())
}

/// For how many lanes to run the subgroup kernels, or none to run the classic ones.
///
/// They need subgroups of one size, one of [`LANES`], which is what software adapters have on processors with vectors of 256 or
/// 512 bits; a GPU may have them too, but is faster with the classic ones, so `Auto` takes them on software adapters alone.
pub(crate) fn subgroup_lanes(adapter: &wgpu::Adapter, family: KernelFamily) -> Result<Option<u32>, String> {
    let info = adapter.get_info();
    let has_subgroups = adapter.features().contains(wgpu::Features::SUBGROUP);
    let sizes = [info.subgroup_min_size, info.subgroup_max_size];
    let lanes = LANES.into_iter().find(|&lanes| has_subgroups && sizes == [lanes, lanes]);
    match family {
        KernelFamily::Classic => Ok(None),
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
