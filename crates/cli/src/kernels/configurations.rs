//! The ways in which an adapter can be opened: families of kernels, weights in full or in f16, matrix units.

use anyhow::{Context, Result, ensure};
use clipseg::tensor::DType;
use clipseg::{
    AdapterChoice, AdapterReport, Device, DeviceOptions, KernelFamily, MatrixUnits, PipelineStore, Precision,
};

use crate::inputs;

/// A device that forms are measured on.
pub struct Configuration {
    pub name: String,
    pub device: Device,
    /// What the operands that are activations are stored as.
    pub activations: DType,
    /// Only the weights differ from the configuration before: what has none gives the same again.
    pub is_for_weights: bool,
    /// Only kernels on matrix units differ.
    pub is_for_matrix_units: bool,
    /// Whether the engine takes this family by itself.
    pub is_automatic: bool,
}

/// The adapter's report and a device on it.
pub fn find(adapter: &str) -> Result<AdapterReport> {
    let Ok(choice) = adapter.parse();
    let options = DeviceOptions { adapter: choice, ..DeviceOptions::default() };
    let device = Device::open(&options).with_context(|| format!("--adapter {adapter}"))?;
    ensure!(
        !device.is_processor(),
        "--adapter {adapter}: the processor runs no kernels, results are checked against it; name an adapter"
    );
    let adapters = pollster::block_on(clipseg::adapters());
    let own = adapters.into_iter().find(|report| clipseg::describe(&report.info) == device.description());
    own.context("the adapter is no longer there")
}

/// Every way to open the adapter, the engine's own family first.
pub fn open(adapter: &str, report: &AdapterReport, matrix_units: MatrixUnits) -> Result<Vec<Configuration>> {
    let mut families = report.families.clone();
    families.sort_by_key(|family| *family != report.automatic);
    let mut configurations = Vec::new();
    for family in families {
        let is_automatic = family == report.automatic;
        let mut add = |name: &str, precision, matrix_units, activations| -> Result<()> {
            let Ok(choice) = adapter.parse::<AdapterChoice>();
            let device = Device::open(&DeviceOptions {
                adapter: choice,
                kernels: family,
                precision,
                matrix_units,
                pipeline_cache: inputs::user_cache_folder().map(PipelineStore::Folder),
                ..DeviceOptions::default()
            })?;
            configurations.push(Configuration {
                name: name.to_owned(),
                device,
                activations,
                is_for_weights: activations == DType::F32 && precision == Precision::F16,
                is_for_matrix_units: matrix_units != MatrixUnits::Off,
                is_automatic,
            });
            Ok(())
        };
        let off = MatrixUnits::Off;
        if family == KernelFamily::Subgroup {
            add("subgroup, f32", Precision::F32, off, DType::F32)?;
            add("subgroup, f16 weights", Precision::F16, off, DType::F32)?;
            continue;
        }
        add("workgroup, f32", Precision::F32, off, DType::F32)?;
        add("workgroup, f16", Precision::F16, off, DType::F16)?;
        let is_wanted = match matrix_units {
            MatrixUnits::Off => false,
            MatrixUnits::Known => MatrixUnits::is_known(&report.info),
            MatrixUnits::Any => true,
        };
        if is_wanted && report.matrix_units.is_some() {
            add("matrix units, f16", Precision::F16, matrix_units, DType::F16)?;
        }
    }
    Ok(configurations)
}
