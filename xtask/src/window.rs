//! `cargo xtask window`: the example of a window, run, or tried on a virtual screen by typing into it and
//! looking at what it draws.

mod program;
mod screen;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use clipseg_shapes::{SIZE, Scene};
use image::RgbImage;

use self::program::{Program, Report};
use self::screen::Screen;
use crate::{cargo, install, root, synth, vulkan};

/// Where it is built.
const TARGET: &str = "target/window";
/// What is typed, and which objects of the scene it means.
const RING: (&str, [usize; 1]) = ("the orange ring", [3]);
const MORE: &str = ", a dotted triangle, a yellow square";
/// The scene that the window shows by itself.
const SCENE: (u64, u64) = (2024, 69);
/// The colours of the first prompts' masks.
const RED: [u8; 3] = [255, 64, 96];
/// Between what is reported and what is on the screen.
const PRESENTED: Duration = Duration::from_millis(500);

/// What `cargo xtask window` takes.
#[derive(Args, Debug)]
pub struct WindowArguments {
    /// Try it on a virtual screen: type, look at what is drawn, measure frames while a model of the published
    /// size loads and runs
    #[arg(long)]
    check: bool,
    /// With --check, where the picture of the screen goes
    #[arg(long, value_name = "FILE", requires = "check", default_value_os_t = root().join(TARGET).join("screenshot.png"))]
    screenshot: PathBuf,
    /// What the window takes, see its --help
    #[arg(last = true, conflicts_with = "check")]
    arguments: Vec<OsString>,
}

/// Runs it, or checks it.
pub fn run(arguments: &WindowArguments) -> Result<()> {
    let build = alone(["build", "--locked"]);
    if !arguments.check {
        cargo::step("build the window", build)?;
        let status = program::command().args(&arguments.arguments).status();
        ensure!(status.context("the window does not start")?.success(), "the window failed");
        return Ok(());
    }
    vulkan::ensure_adapter()?;
    ensure_screen()?;
    cargo::step("build the window", build)?;
    cargo::step("format of the window", alone(["fmt", "--check"]))?;
    cargo::step("tests of the window", alone(["test", "--locked"]))?;
    let model = synth::given_or_full_size(None)?;
    let screen = Screen::open(1000, 700)?;
    let picture = type_into_a_scene(&screen)?;
    picture.save(&arguments.screenshot)?;
    println!("the screen is in {}", arguments.screenshot.display());
    time_frames(&screen, &model, &[])?;
    time_frames(&screen, &model, &["--all-features"])
}

/// Cargo in the example's own package.
fn alone(words: [&str; 2]) -> Command {
    let mut command = cargo::cargo(words);
    command.current_dir(root().join("examples/window")).env("CARGO_TARGET_DIR", root().join(TARGET));
    command
}

/// Installs what a virtual screen takes, where it is not there.
fn ensure_screen() -> Result<()> {
    const PROGRAMS: [&str; 2] = ["Xvfb", "xdotool"];
    /// What a window on X loads when it opens.
    const LIBRARIES: [&str; 4] =
        ["libX11-xcb.so.1", "libXcursor.so.1", "libXi.so.6", "libxkbcommon-x11.so.0"];
    let libraries = Command::new("/sbin/ldconfig").arg("-p").output();
    let libraries = libraries.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let has_libraries = libraries.is_ok_and(|known| LIBRARIES.iter().all(|name| known.contains(name)));
    let has_program = |name: &&str| {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&paths).any(|folder| folder.join(name).is_file())
    };
    if has_libraries && PROGRAMS.iter().all(has_program) {
        return Ok(());
    }
    install::install(
        &["xvfb", "xdotool", "libx11-xcb1", "libxcursor1", "libxi6", "libxrandr2", "libxkbcommon-x11-0"],
        "Xvfb, xdotool or the libraries of an X window were not found",
        "Install Xvfb, xdotool, libxcursor, libxi and libxkbcommon-x11",
    )
}

/// Types into the window as it comes up by itself; what is on the screen in the end.
fn type_into_a_scene(screen: &Screen) -> Result<RgbImage> {
    let mut program = Program::start(screen, &[])?;
    let encoded =
        program.wait_for(Duration::from_secs(120), |report| report.milliseconds.encoding.is_some())?;
    thread::sleep(PRESENTED);
    let plain = screen.picture()?;
    screen.focus()?;
    screen.type_words(RING.0)?;
    let found = program.wait_for(Duration::from_secs(60), |report| report.words == RING.0)?;
    thread::sleep(PRESENTED);
    let shown = screen.picture()?;
    ensure!(found.picture == encoded.picture, "the picture has moved while someone typed");
    let scene = Scene::new(SCENE.0, SCENE.1);
    let Tinted { overlap, deviation, area } = tinted(&plain, &shown, &found, &scene);
    println!(
        "typed {:?}: its mask overlaps the ring by {overlap:.2}, and is off the colour by {deviation:.1} levels",
        RING.0
    );
    ensure!(overlap > 0.8, "the mask of {:?} overlaps the ring by {overlap:.2} only", RING.0);
    ensure!(deviation < 3.0, "the mask's colour is off by {deviation:.1} levels");

    let [left, top, width, height] = found.slider;
    screen.click(left + 0.6 * width, top + height / 2.0)?;
    let stricter =
        program.wait_for(Duration::from_secs(60), |report| report.threshold > found.threshold + 0.2)?;
    thread::sleep(PRESENTED);
    let smaller = tinted(&plain, &screen.picture()?, &stricter, &scene).area;
    println!(
        "at a threshold of {:.2} instead of {:.2} it has {smaller} pixels instead of {area}",
        stricter.threshold, found.threshold
    );
    ensure!(0 < smaller && smaller < area, "the threshold changes nothing");
    screen.click(left + 0.3 * width, top + height / 2.0)?;
    program.wait_for(Duration::from_secs(60), |report| report.threshold < stricter.threshold - 0.1)?;

    screen.type_words(MORE)?;
    let all = [RING.0, MORE].concat();
    program.wait_for(Duration::from_secs(60), |report| report.words == all)?;
    // Out of the way, and once more, so that a usual time is shown.
    screen.click(left + width / 2.0, top + 15.0 * height)?;
    screen.type_words(" ")?;
    program.wait_for(Duration::from_secs(60), |report| report.words.trim() == all && report.words != all)?;
    thread::sleep(4 * PRESENTED);
    screen.picture()
}

/// How a mask on the screen is like what it should be.
struct Tinted {
    /// Intersection over union with the scene's own mask.
    overlap: f64,
    /// The mean difference from the photo under half of the colour, well within.
    deviation: f64,
    /// Pixels.
    area: usize,
}

fn tinted(plain: &RgbImage, shown: &RgbImage, report: &Report, scene: &Scene) -> Tinted {
    let truth = scene.mask(&RING.1);
    let [left, top, width, height] = report.picture;
    let (mut both, mut either, mut area, mut deviations) = (0_usize, 0_usize, 0, Vec::new());
    for y in top as u32..(top + height) as u32 {
        for x in left as u32..(left + width) as u32 {
            let place = |at: u32, begin: f64, length: f64| {
                (((f64::from(at) + 0.5 - begin) / length * SIZE as f64) as usize).min(SIZE - 1)
            };
            let is_ring = truth[place(y, top, height) * SIZE + place(x, left, width)] == 1;
            let [before, after] = [plain, shown].map(|picture| picture.get_pixel(x, y).0);
            let difference = |from: [u8; 3], to: [u8; 3]| {
                from.into_iter().zip(to).map(|(one, other)| u32::from(one.abs_diff(other))).sum::<u32>()
            };
            let is_tinted = difference(before, after) > 24;
            area += usize::from(is_tinted);
            both += usize::from(is_tinted && is_ring);
            either += usize::from(is_tinted || is_ring);
            // The outline is of the colour alone.
            if is_tinted && is_ring && difference(after, RED) > 24 {
                let half = [0, 1, 2].map(|channel: usize| before[channel].midpoint(RED[channel]));
                deviations.push(f64::from(difference(after, half)) / 3.0);
            }
        }
    }
    let deviation = deviations.iter().sum::<f64>() / deviations.len().max(1) as f64;
    Tinted { overlap: both as f64 / either.max(1) as f64, deviation, area }
}

/// Types while a model of the published size loads, and runs; how long frames took. That is told and not
/// judged: it depends on the machine and on who else is at work there.
fn time_frames(screen: &Screen, model: &Path, flags: &[&str]) -> Result<()> {
    let photo = root().join("fixtures/photos/coffee.jpg");
    let mut arguments = vec![photo.as_os_str(), "--model".as_ref(), model.as_os_str()];
    arguments.extend(flags.iter().map(OsStr::new));
    let mut program = Program::start(screen, &arguments)?;
    // The photo is there before the model.
    program.wait_for(Duration::from_secs(60), |report| report.photo == photo)?;
    screen.focus()?;
    screen.type_words("a cup")?;
    program.wait_for(Duration::from_secs(300), |report| report.milliseconds.finding.is_some())?;
    let mut typed = "a cup".to_owned();
    for letter in " of coffee".chars() {
        typed.push(letter);
        screen.type_words(&letter.to_string())?;
    }
    let report = program.wait_for(Duration::from_secs(300), |report| report.words == typed)?;
    let device = if flags.is_empty() { "eframe's own device" } else { "a device with all features" };
    println!("\n{device}:\n\n| while the engine is | frames | median | longest |\n|---|---|---|---|");
    for (phase, frames) in &report.frames {
        let program::Frames { count, median, longest } = frames;
        println!("| {phase} | {count} | {median:.0} ms | {longest:.0} ms |");
    }
    let program::Milliseconds { loading, encoding, finding } = report.milliseconds;
    let shown = |time: Option<f64>| time.map_or("?".to_owned(), |time| format!("{time:.0}"));
    println!(
        "\nloaded in {} ms, encoded in {} ms, the last words found in {} ms",
        shown(loading),
        shown(encoding),
        shown(finding)
    );
    Ok(())
}
