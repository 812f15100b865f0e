//! `cargo xtask drivers`: the same checks and measurements with the software Vulkan drivers of several Debian
//! releases, and the table in `benches/RESULTS.md`.

mod measure;
mod release;
mod table;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use self::measure::{Session, empty};
use self::release::{Driver, Host, Ready};
use self::table::Table;
use crate::cargo;
use crate::results;
use crate::root;
use crate::synth;

/// What `cargo xtask drivers` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cargo xtask drivers                          every driver at every width; some 15 minutes
  cargo xtask drivers --release trixie --width 256 --width unset --quick

Needs a Debian machine and root, as each release runs in a mount namespace and a chroot. The releases are installed with
debootstrap, 600 to 700 MB each; those older than the machine's own are left out, as programs that are built here do not run
there.")]
pub struct DriversArguments {
    /// A release whose driver is run; may be repeated [default: all]
    #[arg(long, value_enum, value_name = "NAME")]
    release: Vec<Driver>,
    /// Bits of llvmpipe's vectors; may be repeated. unset is what a user has who sets nothing [default: all]
    #[arg(long, value_enum, value_name = "BITS")]
    width: Vec<Width>,
    /// Leave out the model of the published size
    #[arg(long)]
    quick: bool,
    /// Warm runs of the model of the published size, of which the median counts
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// End a program that takes longer
    #[arg(long, value_name = "SECONDS", default_value_t = 240, value_parser = clap::value_parser!(u32).range(1..))]
    longest: u32,
    /// Where the releases lie, or are installed [default: the environment's MESA_ROOTS, else
    /// target/mesa-roots]
    #[arg(long, value_name = "DIR")]
    roots: Option<PathBuf>,
    /// Where the table goes [default: with all drivers and widths benches/RESULTS.md, else it is printed
    /// alone]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Width {
    #[value(name = "512")]
    Bits512,
    #[value(name = "256")]
    Bits256,
    Unset,
}

impl Width {
    fn bits(self) -> Option<&'static str> {
        match self {
            Self::Bits512 => Some("512"),
            Self::Bits256 => Some("256"),
            Self::Unset => None,
        }
    }
}

/// How long a release may take to install.
const INSTALL_SECONDS: u32 = 900;

/// Runs every driver at every width and writes the table.
pub fn run(arguments: &DriversArguments) -> Result<()> {
    let host = Host::this()?;
    let (drivers, widths) = (all_or(&arguments.release), all_or(&arguments.width));
    let roots = roots(arguments.roots.as_deref())?;
    // All that is built is built before anything is timed.
    cargo::build_cli()?;
    let full = if arguments.quick { None } else { Some(synth::given_or_full_size(None)?) };
    let folder = root().join("target/drivers");
    empty(&folder)?;
    let session = Session { full, runs: arguments.runs, longest: arguments.longest, folder };
    let is_whole = arguments.release.is_empty() && arguments.width.is_empty() && !arguments.quick;
    let out = arguments.out.clone().or_else(|| is_whole.then(results::path));
    let mut table = Table::new();
    for driver in drivers {
        measure_all(driver, &session, &host, &roots, &widths, &mut table)?;
        // Write the table after each driver: what was measured stays when the next is interrupted.
        if let Some(file) = &out {
            results::write_section(
                file,
                "drivers",
                &format!("{}\n{}", about(arguments), table.to_markdown()),
            )?;
        }
    }
    println!("\n{}\n{}", about(arguments), table.to_markdown());
    if let Some(file) = out {
        println!("wrote {}", file.display());
    }
    Ok(())
}

/// Adds a driver's rows to the table, or why it has none.
fn measure_all(
    driver: Driver,
    session: &Session,
    host: &Host,
    roots: &Path,
    widths: &[Width],
    table: &mut Table,
) -> Result<()> {
    let ready = match Ready::get(driver, host, roots, INSTALL_SECONDS) {
        Ok(ready) => ready,
        Err(error) => {
            println!("{driver} is left out: {error:#}");
            table.note(format!("{driver} is left out: {error:#}."));
            return Ok(());
        }
    };
    // A driver without widths has one row.
    let widths = if driver.has_widths() { widths } else { &[Width::Unset] };
    for width in widths {
        let measured = session.measure(&ready, width.bits())?;
        table.add(&driver.to_string(), width.bits(), &measured);
        println!("{}", table.last());
    }
    Ok(())
}

/// What stands above the table.
fn about(arguments: &DriversArguments) -> String {
    let DriversArguments { runs, longest, .. } = arguments;
    format!(
        "# Software drivers\n\nWritten by `cargo xtask drivers`: one driver and width after another, all with one cache folder, where \
         verify follows what the command has left there. \"not set\" is the command's choice; verify then leaves it to the driver, as a \
         program does that embeds the library. The first mask is the small model's (`fixtures/models/clipseg-shapes`), from the start \
         of the process, with an empty cache folder and with a full one. Warm times are medians, of 5 runs of the small model and of \
         {runs} of the published size, the rates those of one more run of the latter, or of the former where the latter has none. A \
         program that takes longer than {longest} s is ended. Machine: {}; others may have worked there at the same time, so that \
         ratios say more than seconds.\n",
        results::machine()
    )
}

/// Runs verify and the ops' tests with Debian 13's driver, where this machine can have it, or says why it
/// cannot.
pub fn test_with_trixie() -> Result<()> {
    let ready = Host::this().and_then(|host| {
        ensure!(!host.is_newer_than(Driver::Trixie), "this machine's release is newer");
        Ready::get(Driver::Trixie, &host, &roots(None)?, 150)
    });
    let ready = match ready {
        Ok(ready) => ready,
        Err(error) => {
            println!("\n== verify and the ops' tests with Debian 13's driver: left out: {error:#}");
            return Ok(());
        }
    };
    println!("\n== verify with Debian 13's driver");
    let start = Instant::now();
    let folder = root().join("target/drivers");
    empty(&folder)?;
    let session = Session { full: None, runs: 1, longest: 600, folder };
    println!("{}", session.verify(&ready, Some("256"))?);
    println!("== verify with Debian 13's driver: ok, {:.0} s", start.elapsed().as_secs_f64());
    println!("\n== tests of the ops with Debian 13's driver");
    let start = Instant::now();
    println!("{}", session.test_ops(&ready, "256")?);
    println!("== tests of the ops with Debian 13's driver: ok, {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn roots(given: Option<&Path>) -> Result<PathBuf> {
    let given = given.map(Path::to_owned).or_else(|| std::env::var_os("MESA_ROOTS").map(PathBuf::from));
    // The programs run in the workspace's folder, wherever this was called.
    Ok(std::path::absolute(given.unwrap_or_else(|| root().join("target/mesa-roots")))?)
}

/// The values that were asked for, or all there are if none were.
fn all_or<T: ValueEnum + Clone>(asked: &[T]) -> Vec<T> {
    if asked.is_empty() { T::value_variants().to_vec() } else { asked.to_vec() }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        drivers: DriversArguments,
    }

    fn parsed(words: &[&str]) -> Result<DriversArguments, String> {
        let arguments = Arguments::try_parse_from([&["drivers"], words].concat());
        arguments.map(|arguments| arguments.drivers).map_err(|error| error.to_string())
    }

    #[test]
    fn releases_and_widths_may_be_repeated() {
        let all = parsed(&[]).expect("nothing need be given");
        assert_eq!(all_or(&all.release).len(), 4);
        assert_eq!(
            all_or(&all.width).iter().map(|width| width.bits()).collect::<Vec<_>>(),
            [Some("512"), Some("256"), None]
        );
        let some =
            parsed(&["--release", "trixie", "--release", "sid", "--width", "256"]).expect("all are known");
        assert_eq!(all_or(&some.release), [Driver::Trixie, Driver::Sid]);
        assert_eq!(all_or(&some.width), [Width::Bits256]);
        for wrong in [["--release", "potato"], ["--width", "7"], ["--longest", "0"], ["--runs", "0"]] {
            assert!(parsed(&wrong).is_err_and(|error| error.contains(wrong[1])), "{wrong:?}");
        }
    }
}
