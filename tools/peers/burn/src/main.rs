//! One product of matrices on burn's wgpu backend: `clipseg-peer-burn ROWS INNER COLUMNS RUNS FOLDER`, as
//! `benches/examples/product.rs` takes and prints them.

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Instant;

use burn_tensor::{Device, DeviceKind, Tensor, TensorData};

/// The version that Cargo.toml pins.
const VERSION: &str = "0.22.1";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [rows, inner, columns, runs, folder] = &arguments[..] else {
        return Err("it takes ROWS INNER COLUMNS RUNS FOLDER".into());
    };
    let (rows, inner, columns) = (rows.parse::<usize>()?, inner.parse::<usize>()?, columns.parse::<usize>()?);
    let (runs, folder) = (runs.parse::<usize>()?, Path::new(folder));
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    let adapter = device.identity().ok_or("burn does not tell its adapter")?.name;
    let upload = |name: &str, shape: [usize; 2]| -> Result<Tensor<2>, Box<dyn Error>> {
        Ok(Tensor::from_data(TensorData::new(read(&folder.join(name))?, shape), &device))
    };
    let left = upload("left.f32", [rows, inner])?;
    let right = upload("right.f32", [inner, columns])?;

    // The result is dropped after the clock is read: until then it must be computed.
    let run = || -> Result<f64, Box<dyn Error>> {
        let start = Instant::now();
        let product = left.clone().matmul(right.clone());
        device.sync()?;
        let seconds = start.elapsed().as_secs_f64();
        drop(product);
        Ok(seconds)
    };
    // Warm is after a few: the first tunes, which runs all candidates.
    for _ in 0..3 {
        run()?;
    }
    let seconds = (0..runs).map(|_| run()).collect::<Result<Vec<_>, _>>()?;

    let product = left.clone().matmul(right.clone()).into_data().try_to_vec::<f32>()?;
    let bytes: Vec<u8> = product.iter().flat_map(|value| value.to_le_bytes()).collect();
    fs::write(folder.join("product.f32"), bytes)?;
    println!(r#"{{"engine": {:?}, "seconds": {seconds:?}}}"#, format!("burn {VERSION}, wgpu on {adapter}"));
    Ok(())
}

fn read(file: &Path) -> Result<Vec<f32>, Box<dyn Error>> {
    let bytes = fs::read(file)?;
    Ok(bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect())
}
