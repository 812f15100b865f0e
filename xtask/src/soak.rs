//! `cargo xtask soak`: one engine, many threads, mixed work, for as long as one likes.

mod memory;
mod work;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use clipseg::{AdapterChoice, ClipSeg, Device, DeviceOptions};
use clipseg_testing::Random;

use self::memory::{Sample, Samples};
use self::work::{Jobs, Work};
use crate::root;

/// How often memory is sampled.
const STEP: Duration = Duration::from_secs(1);
/// A thread that finishes nothing for this long is taken to hang. On two cores the longest work of eight
/// threads takes a few seconds.
const SILENCE: Duration = Duration::from_secs(300);

/// What `cargo xtask soak` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cargo xtask soak --minutes 60
  cargo xtask soak --minutes 5 --threads 2 --adapter llvmpipe

Each thread takes one piece of work after the other at random: photos and sizes, one prompt or many, words and pictures,
windows, refinement, smoothing, and futures that are dropped half-way. What each gives was computed alone before, and must come
out the same to the last bit.

Exits with 1 when an answer is wrong, a call fails, a thread hangs, or memory grows.")]
pub struct SoakArguments {
    /// How long
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// Threads on the one engine
    #[arg(long, default_value_t = 8)]
    threads: u64,
    /// A checkpoint directory
    #[arg(long, value_name = "DIR", default_value_os_t = root().join("fixtures/models/clipseg-shapes"))]
    model: PathBuf,
    /// The adapter's name or number, as `clipseg devices` lists them
    #[arg(long, value_name = "NAME|INDEX")]
    adapter: Option<AdapterChoice>,
}

/// What the threads report.
#[derive(Default)]
struct Told {
    stop: AtomicBool,
    answers: AtomicU64,
    /// The second in which each thread last finished something.
    beats: Vec<AtomicU64>,
    wrong: Mutex<Vec<String>>,
}

/// Runs for the time that the arguments ask for.
pub fn run(arguments: &SoakArguments) -> Result<()> {
    ensure!(arguments.minutes > 0.0 && arguments.minutes.is_finite(), "--minutes: must be above 0");
    ensure!((1..=256).contains(&arguments.threads), "--threads: must lie between 1 and 256");
    let adapter = arguments.adapter.clone().unwrap_or_default();
    let device = Device::open(&DeviceOptions { adapter, ..DeviceOptions::default() })?;
    println!("adapter: {}, {}", device.description(), device.runs());
    let model = ClipSeg::from_pretrained(&device, &arguments.model)?;
    let work = Work::new(&model)?;
    let jobs = Jobs::computed_alone(&work)?;
    println!("{} pieces of work, each computed alone", jobs.len());

    let told = Told { beats: (0..arguments.threads).map(|_| AtomicU64::new(0)).collect(), ..Told::default() };
    let mut samples = Samples::default();
    let (start, length) = (Instant::now(), Duration::from_secs_f64(arguments.minutes * 60.0));
    thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = (0..arguments.threads)
            .map(|number| {
                let (jobs, work, told) = (&jobs, &work, &told);
                scope.spawn(move || labour(number, jobs, work, told, start))
            })
            .collect();
        let mut minute = 0;
        while start.elapsed() < length {
            thread::sleep(STEP.min(length.saturating_sub(start.elapsed())));
            let sample = samples.take(&device);
            if start.elapsed().as_secs() / 60 > minute {
                minute = start.elapsed().as_secs() / 60;
                say(&told, sample, start.elapsed());
            }
            // The threads cannot be ended from here, so end the process.
            if let Some(thread) = told.silent(start.elapsed()) {
                eprintln!("error: thread {thread} has finished nothing for {} s", SILENCE.as_secs());
                std::process::exit(1);
            }
        }
        told.stop.store(true, Ordering::Relaxed);
        threads.into_iter().try_for_each(|thread| thread.join().ok().context("a thread panicked"))
    })?;
    say(&told, samples.take(&device), start.elapsed());
    verdict(told, &samples)
}

/// The work of one thread: random jobs until it is told to stop.
fn labour(number: u64, jobs: &Jobs, work: &Work<'_>, told: &Told, start: Instant) {
    let mut random = Random(number);
    while !told.stop.load(Ordering::Relaxed) {
        let job = jobs.any(&mut random);
        if let Err(wrong) = job.check(work) {
            told.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{wrong:#}"));
        }
        told.answers.fetch_add(1, Ordering::Relaxed);
        told.beats[number as usize].store(start.elapsed().as_secs(), Ordering::Relaxed);
    }
}

impl Told {
    /// The number of a thread that seems to hang, if there is one.
    fn silent(&self, now: Duration) -> Option<usize> {
        let is_silent = |beat: &AtomicU64| now.as_secs() > beat.load(Ordering::Relaxed) + SILENCE.as_secs();
        self.beats.iter().position(is_silent)
    }
}

fn say(told: &Told, sample: Sample, now: Duration) {
    let wrong = told.wrong.lock().unwrap_or_else(PoisonError::into_inner).len();
    let answers = told.answers.load(Ordering::Relaxed);
    println!("{:6.1} min: {answers} answers, {wrong} wrong; {sample}", now.as_secs_f64() / 60.0);
}

fn verdict(told: Told, samples: &Samples) -> Result<()> {
    let wrong = told.wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    for message in wrong.iter().take(20) {
        eprintln!("wrong: {message}");
    }
    ensure!(wrong.is_empty(), "{} of {} answers are wrong", wrong.len(), told.answers.into_inner());
    match samples.growth() {
        None => Ok(()),
        Some(growth) => bail!("memory grows: {growth}"),
    }
}
