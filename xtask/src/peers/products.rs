//! Single products of matrices, engine after engine: ours, burn's wgpu backend and PyTorch's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use clipseg_testing::Random;
use serde::Deserialize;

use super::Session;
use super::table::{Column, Table};
use crate::cli::{json_of, median};
use crate::compare::Measure;
use crate::{cargo, root};

/// The most that a product may differ from the host's, relative to its largest number. Sums of 3072 f32 in
/// any order are within 1e-6. Factors that are cut to fewer bits, as some GPUs' matrix units cut them, differ
/// by more than this.
const TOLERANCE: f64 = 1e-5;

/// What stands above the table.
pub const ABOUT: &str = "Products as the vision tower has them, rows × inner × columns, on the same random numbers, each \
    within 1e-5 of the largest number of what the host computes. From the call until the device is done, with all that is \
    prepared once done before: weights on the device (ours packed, as they are in a model), kernels compiled, burn's tuned.\n\n";

/// (rows, inner, columns) of a 352 × 352 image's tokens: the attention's output; its queries, keys and
/// values; the MLP's two.
const SHAPES: [Shape; 4] = [(485, 768, 768), (485, 768, 2304), (485, 768, 3072), (485, 3072, 768)];
type Shape = (usize, usize, usize);

/// What an engine prints.
#[derive(Deserialize)]
struct Turn {
    /// Its name and version, and what it runs on.
    engine: String,
    seconds: Vec<f64>,
}

/// The programs that were built.
pub struct Engines {
    ours: PathBuf,
    burn: Result<PathBuf>,
}

impl Engines {
    /// Builds them. burn may fail: it wants a newer Rust than we do, and its crates from crates.io.
    pub fn build() -> Result<Self> {
        cargo::build_example("product")?;
        println!("\nburn is next: its first build takes some ten minutes on two cores");
        let burn = cargo::build_alone("tools/peers/burn", "target/burn");
        let program = |path: &str| root().join(format!("{path}{}", std::env::consts::EXE_SUFFIX));
        let burn = burn.map(|()| program("target/burn/release/clipseg-peer-burn"));
        Ok(Self { ours: program("target/release/examples/product"), burn })
    }
}

/// Every engine in turn, in every round and on every shape.
pub fn measure(session: &Session, engines: &Engines) -> Result<Table> {
    let column = |&(rows, inner, columns): &Shape| Column {
        heading: format!("{rows} × {inner} × {columns}"),
        flops: Some(2.0 * (rows * inner * columns) as f64),
    };
    let mut table = Table::new(SHAPES.iter().map(column).collect());
    if let Err(error) = &engines.burn {
        table.note(&format!("burn is left out: {error:#}."));
    }
    let mut burn_fails_at = Vec::new();
    for round in 1..=session.rounds {
        for (column, &shape) in SHAPES.iter().enumerate() {
            println!("round {round} of {}, product of {shape:?}", session.rounds);
            let task = Task::new(session, shape)?;
            let mut ours = Command::new(&engines.ours);
            // Set the vector width, as the command does.
            if let Some(width) = clipseg::llvmpipe_width() {
                ours.envs(clipseg::llvmpipe_environment(width, &root().join("target")));
            }
            let (name, seconds) = task.turn(ours).context("our product failed")?;
            table.add(&name, column, seconds);
            if let Ok(burn) = &engines.burn
                && !burn_fails_at.contains(&shape)
            {
                match task.turn(Command::new(burn)) {
                    Ok((name, seconds)) => table.add(&name, column, seconds),
                    Err(error) if round == 1 => {
                        println!("  burn: left out: {error:#}");
                        let heading = format!("{} × {} × {}", shape.0, shape.1, shape.2);
                        table.note(&format!("burn is left out at {heading}: {error:#}."));
                        burn_fails_at.push(shape);
                    }
                    Err(error) => return Err(error.context("burn failed")),
                }
            }
            let mut torch = session.python.command();
            torch.arg(root().join("tools/peers/product.py")).arg(session.threads().to_string());
            let (name, seconds) = task.turn(torch).context("PyTorch failed")?;
            table.add(&name, column, seconds);
        }
    }
    Ok(table)
}

/// A product that all engines compute, and the expected result.
struct Task<'a> {
    session: &'a Session,
    shape: Shape,
    expected: Vec<f32>,
}

impl<'a> Task<'a> {
    fn new(session: &'a Session, shape: Shape) -> Result<Self> {
        let (rows, inner, columns) = shape;
        let mut random = Random(1);
        let (left, right) = (random.values(rows * inner), random.values(inner * columns));
        write(&session.folder.join("left.f32"), &left)?;
        write(&session.folder.join("right.f32"), &right)?;
        Ok(Self { session, shape, expected: product(&left, &right, inner, columns) })
    }

    /// Has a program compute it, and gives the engine's name and the median seconds of its runs.
    fn turn(&self, mut command: Command) -> Result<(String, f64)> {
        let (rows, inner, columns) = self.shape;
        let file = self.session.folder.join("product.f32");
        // Another engine's product must not be taken for this one's.
        if file.exists() {
            fs::remove_file(&file)?;
        }
        command.args([rows, inner, columns, self.session.runs].map(|number| number.to_string()));
        command.arg(&self.session.folder);
        let turn: Turn = json_of(&mut command)?;
        let difference = checked(&self.expected, &read(&file)?)?;
        let seconds = median(turn.seconds);
        println!("  {}: {:.1} ms, within {difference:.1e}", turn.engine, seconds * 1e3);
        Ok((turn.engine, seconds))
    }
}

/// How far a product is from the expected, if that is near enough.
fn checked(expected: &[f32], found: &[f32]) -> Result<f64> {
    let difference = Measure::of(expected, found).relative;
    // Written so that a NaN fails.
    ensure!(
        difference <= TOLERANCE,
        "its product differs from the host's by {difference:.1e} of the largest"
    );
    Ok(difference)
}

/// The product, summed in f64.
fn product(left: &[f32], right: &[f32], inner: usize, columns: usize) -> Vec<f32> {
    let mut all = Vec::with_capacity(left.len() / inner * columns);
    let mut sums = vec![0.0f64; columns];
    for row in left.chunks_exact(inner) {
        sums.fill(0.0);
        for (&factor, right) in row.iter().zip(right.chunks_exact(columns)) {
            for (sum, &value) in sums.iter_mut().zip(right) {
                *sum += f64::from(factor) * f64::from(value);
            }
        }
        all.extend(sums.iter().map(|&sum| sum as f32));
    }
    all
}

fn write(file: &Path, values: &[f32]) -> Result<()> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}

fn read(file: &Path) -> Result<Vec<f32>> {
    let bytes =
        fs::read(file).map_err(|error| anyhow!("it left no product in {}: {error}", file.display()))?;
    Ok(bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_product() {
        let (left, right) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 0.0, 1.0, 10.0, 100.0]);
        assert_eq!(product(&left, &right, 3, 2), [31.0, 302.0, 64.0, 605.0]);
    }

    #[test]
    fn a_wrong_product_is_refused() {
        let expected = Random(1).values(100);
        assert!(checked(&expected, &expected).is_ok());
        let changed = |index: usize, value: f32| {
            let mut found = expected.clone();
            found[index] += value;
            checked(&expected, &found)
        };
        assert!(changed(99, 1e-6).is_ok(), "rounding");
        assert!(changed(99, 1e-4).is_err(), "one number, and little");
        assert!(changed(0, f32::NAN).is_err(), "not a number");
        assert!(checked(&expected, &expected[..99]).is_err(), "one too few");
        assert!(checked(&expected, &[0.0; 100]).is_err(), "nothing computed");
        // Factors of 8 bits, as bfloat16 has them.
        let cut: Vec<f32> = expected.iter().map(|x| f32::from_bits(x.to_bits() & 0xFFFF_0000)).collect();
        assert!(checked(&expected, &cut).is_err(), "fewer bits");
    }
}
