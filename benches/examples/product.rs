//! One product of matrices on our kernels, for `cargo xtask peers`: `product ROWS INNER COLUMNS RUNS FOLDER`.
//!
//! `FOLDER` has the two as `left.f32` and `right.f32`, row after row, and gets `product.f32`. Prints a line
//! of JSON: the seconds of each warm run, from the submit until the device is done. `tools/peers/burn` and
//! `tools/peers/product.py` take and print the same.

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Instant;

use clipseg_benches::run_to_end;
use clipseg_tensor::{AdapterChoice, Device, DeviceOptions, Linear, Recorder};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [rows, inner, columns, runs, folder] = &arguments[..] else {
        return Err("it takes ROWS INNER COLUMNS RUNS FOLDER".into());
    };
    let (rows, inner, columns) = (rows.parse::<usize>()?, inner.parse::<usize>()?, columns.parse::<usize>()?);
    let (runs, folder) = (runs.parse::<usize>()?, Path::new(folder));
    let (left, right) = (read(&folder.join("left.f32"))?, read(&folder.join("right.f32"))?);
    // A layer's weights are a column after the other.
    let weights: Vec<f32> = (0..inner * columns).map(|i| right[i % inner * columns + i / inner]).collect();
    let adapter = AdapterChoice::Driver;
    let device = Device::open(&DeviceOptions { adapter, ..DeviceOptions::default() })?;
    let layer = Linear::new(&device, columns, inner, &weights, None)?;
    let input = device.upload(&[rows, inner], &left)?;

    let mut recorder = Recorder::new(&device);
    // Kept until the plan is done with. It is not made an output, as a copy out of a texture is not the
    // product's.
    let result = recorder.linear(&input, &layer)?;
    let plan = recorder.finish()?;
    // Warm is after a few: the first makes the pipelines.
    for _ in 0..3 {
        run_to_end(&device, &plan);
    }
    let mut seconds = Vec::new();
    for _ in 0..runs {
        let start = Instant::now();
        run_to_end(&device, &plan);
        seconds.push(start.elapsed().as_secs_f64());
    }
    drop(result);

    // The same again, to be looked at.
    let mut recorder = Recorder::new(&device);
    let result = recorder.linear(&input, &layer)?;
    let result = recorder.output(&result)?;
    let plan = recorder.finish()?;
    let product = pollster::block_on(plan.run().finish(&[&result]))?;
    let bytes: Vec<u8> = product[0].values.iter().flat_map(|value| value.to_le_bytes()).collect();
    fs::write(folder.join("product.f32"), bytes)?;
    println!(r#"{{"engine": {:?}, "seconds": {seconds:?}}}"#, format!("clipseg on {}", device.description()));
    Ok(())
}

fn read(file: &Path) -> Result<Vec<f32>, Box<dyn Error>> {
    let bytes = fs::read(file)?;
    Ok(bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect())
}
