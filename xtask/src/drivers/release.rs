//! Runs a program with the software Vulkan driver of a Debian release, on a Debian machine.
//!
//! Each release is in a folder of its own. The program sees that folder as its `/`, and in it this workspace,
//! by a bind mount that ends with the program. So it finds the other release's libraries and drivers, and the
//! same files.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::cli::{limited, printed};
use crate::install::{self, install};
use crate::root;

/// A driver that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Driver {
    /// Mesa of Debian 12
    Bookworm,
    /// Mesa of Debian 13
    Trixie,
    /// The newest Mesa of Debian
    Sid,
    /// SwiftShader as Debian's Chromium has it, for this machine's release
    Swiftshader,
}

impl Driver {
    fn version(self) -> Option<Version> {
        match self {
            Self::Bookworm => Some(Version::Number(12)),
            Self::Trixie => Some(Version::Number(13)),
            Self::Sid => Some(Version::Unreleased),
            Self::Swiftshader => None,
        }
    }

    /// Debian's name for the release.
    fn codename(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
            Self::Swiftshader => "swiftshader",
        }
    }

    /// Whether the driver reads `LP_NATIVE_VECTOR_WIDTH`.
    pub fn has_widths(self) -> bool {
        self != Self::Swiftshader
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Bookworm => "Debian 12",
            Self::Trixie => "Debian 13",
            Self::Sid => "Debian sid",
            Self::Swiftshader => "Chromium",
        })
    }
}

/// A release of Debian, older ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    Number(u32),
    /// testing or sid
    Unreleased,
}

/// The Debian machine that runs this.
pub struct Host(Version);

impl Host {
    /// This machine, if it can run other releases' drivers: if it is a Debian one and the user is root.
    pub fn this() -> Result<Self> {
        let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let version = debian_version(&text)?;
        ensure!(
            install::is_root(),
            "other releases' drivers are run by root alone, as they take mount namespaces and chroot: run it as root"
        );
        Ok(Self(version))
    }

    /// Whether this machine's own Mesa is `driver`. On an unreleased Debian it is not taken for sid's:
    /// `/etc/os-release` does not tell testing, whose Mesa is older, from sid.
    fn has(&self, driver: Driver) -> bool {
        self.0 != Version::Unreleased && driver.version() == Some(self.0)
    }

    /// Whether `driver` is of an older release than this machine's. Programs that are built here do not run
    /// there.
    pub fn is_newer_than(&self, driver: Driver) -> bool {
        driver.version().is_some_and(|version| version < self.0)
    }
}

/// The release of Debian that the text of `/etc/os-release` names.
fn debian_version(os_release: &str) -> Result<Version> {
    let field = |name: &str| {
        let value = os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.map(|value| value.trim().trim_matches('"'))
    };
    if field("ID") != Some("debian") {
        bail!(
            "drivers of several Debian releases can be run on a Debian machine, as root; this is {}",
            field("PRETTY_NAME").unwrap_or(std::env::consts::OS)
        );
    }
    match field("VERSION_ID") {
        Some(number) => {
            let number =
                number.parse().with_context(|| format!("/etc/os-release has VERSION_ID={number}"))?;
            Ok(Version::Number(number))
        }
        None => Ok(Version::Unreleased),
    }
}

/// A driver that is there, and how to run a program with it.
pub struct Ready {
    /// The folder of its release; `None` for the host's own.
    root: Option<PathBuf>,
    /// The driver's manifest for the Vulkan loader, as the program sees it.
    manifest: PathBuf,
}

/// Mounts the places before `--` into the folder, and runs the command after it there.
const ENTER: &str = r#"
root=$1 here=$2; shift 2
while [ "$1" != -- ]; do mkdir -p "$root$1"; mount --rbind "$1" "$root$1"; shift; done
shift
exec chroot "$root" env --chdir="$here" "$@"
"#;

impl Ready {
    /// Finds a driver, or installs it into a folder of `roots`. That takes 1 to 2 minutes for a release, and
    /// at most `seconds`.
    pub fn get(driver: Driver, host: &Host, roots: &Path, seconds: u32) -> Result<Self> {
        if driver == Driver::Swiftshader {
            return Ok(Self { root: None, manifest: swiftshader(roots, seconds)? });
        }
        ensure!(
            !host.is_newer_than(driver),
            "it is older than this machine's release: a program that is built here does not run there"
        );
        if host.has(driver) {
            let manifest = llvmpipe_manifest(Path::new("/")).or_else(|_| {
                install(&["mesa-vulkan-drivers"], "there is no llvmpipe", "Install Mesa's Vulkan drivers")?;
                llvmpipe_manifest(Path::new("/"))
            })?;
            return Ok(Self { root: None, manifest });
        }
        run(Command::new("unshare").args(["--mount", "true"]))
            .context("this machine lets no one have a mount namespace, as containers often do")?;
        let folder = roots.join(driver.codename());
        make(&folder, |folder| {
            ensure_debootstrap()?;
            // debootstrap runs in a mount namespace too: whatever it mounts in the folder goes with it,
            // however it ends.
            let mut debootstrap = limited("unshare", seconds);
            debootstrap.args(["--mount", "--", "debootstrap"]);
            debootstrap.args(["--variant=minbase", "--include=libvulkan1,mesa-vulkan-drivers"]);
            run(debootstrap.arg(driver.codename()).arg(folder))
        })?;
        let found = llvmpipe_manifest(&folder)?;
        let manifest = Path::new("/").join(found.strip_prefix(&folder)?);
        Ok(Self { root: Some(folder), manifest })
    }

    /// A command that runs `program` with the driver in the workspace's folder, and ends it after `seconds`.
    /// The caller adds arguments and environment.
    pub fn command(&self, program: &Path, seconds: u32) -> Command {
        let mut command = match &self.root {
            None => limited(program, seconds),
            Some(folder) => {
                let mut command = limited("unshare", seconds);
                command.args(["--mount", "--", "sh", "-euc", ENTER, "sh"]).arg(folder).arg(root());
                command.args(["/proc", "/sys", "/dev"]).arg(root());
                if let Some(place) = program.parent().filter(|place| !place.starts_with(root())) {
                    command.arg(place);
                }
                command.arg("--").arg(program);
                command
            }
        };
        command.current_dir(root());
        // The machine's other adapters are left out. The loader's older name is for programs that know only
        // that one.
        command.envs(["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].map(|name| (name, &self.manifest)));
        command
    }
}

/// Fills `folder` unless it is complete. What an interrupted run has left is deleted first.
fn make(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let complete = folder.join("complete");
    if complete.exists() {
        return Ok(());
    }
    println!("filling {}, once; this takes 1 to 2 minutes", folder.display());
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot delete {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    fill(folder)?;
    fs::write(&complete, "").with_context(|| format!("cannot write {}", complete.display()))
}

fn ensure_debootstrap() -> Result<()> {
    if Command::new("debootstrap").arg("--version").output().is_ok() {
        return Ok(());
    }
    install(&["debootstrap"], "there is no debootstrap", "Install debootstrap")
}

/// The manifest of llvmpipe in the folder of a release. In some releases its name contains the processor's.
fn llvmpipe_manifest(release: &Path) -> Result<PathBuf> {
    let folder = release.join("usr/share/vulkan/icd.d");
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let is_llvmpipe = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("lvp_icd"))
    };
    let found = entries.flatten().map(|entry| entry.path()).find(is_llvmpipe);
    found.with_context(|| {
        format!("{} has no lvp_icd*.json: mesa-vulkan-drivers is not installed", folder.display())
    })
}

/// The manifest of the installed Chromium's SwiftShader, or of one that is unpacked, not installed, into a
/// folder of `roots`.
fn swiftshader(roots: &Path, seconds: u32) -> Result<PathBuf> {
    const MANIFEST: &str = "usr/lib/chromium/vk_swiftshader_icd.json";
    let installed = Path::new("/").join(MANIFEST);
    if installed.exists() {
        return Ok(installed);
    }
    let folder = roots.join(Driver::Swiftshader.codename());
    make(&folder, |folder| {
        run(limited("apt-get", seconds).args(["update", "--quiet"]))?;
        run(limited("apt-get", seconds)
            .args(["download", "--quiet", "chromium-common"])
            .current_dir(folder))?;
        let archive = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).next();
        let archive = archive.context("apt-get has downloaded nothing")?;
        run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(folder))?;
        Ok(fs::remove_file(archive)?)
    })?;
    Ok(folder.join(MANIFEST))
}

/// Runs a program without showing its output; an error has the last line of it.
fn run(command: &mut Command) -> Result<()> {
    printed(command).map(drop).with_context(|| {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        format!("`{} {}` failed", command.get_program().display(), words.join(" "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIXIE: &str = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nVERSION_ID=\"13\"\nID=debian\n";
    const SID: &str = "PRETTY_NAME=\"Debian GNU/Linux forky/sid\"\nVERSION_CODENAME=forky\nID=debian\n";

    #[test]
    fn a_release_is_told_from_older_and_newer_ones() {
        let [trixie, sid] = [TRIXIE, SID].map(|text| Host(debian_version(text).expect("a Debian")));
        let drivers = [Driver::Bookworm, Driver::Trixie, Driver::Sid, Driver::Swiftshader];
        assert_eq!(drivers.map(|driver| trixie.is_newer_than(driver)), [true, false, false, false]);
        assert_eq!(drivers.map(|driver| sid.is_newer_than(driver)), [true, true, false, false]);
        assert_eq!(drivers.map(|driver| trixie.has(driver)), [false, true, false, false]);
        assert_eq!(drivers.map(|driver| sid.has(driver)), [false; 4]);
        let error = Ready::get(Driver::Bookworm, &trixie, Path::new("roots"), 1).err();
        assert!(error.is_some_and(|error| error.to_string().contains("older than this machine's release")));
    }

    #[test]
    fn other_systems_are_refused_by_name() {
        let ubuntu = "PRETTY_NAME=\"Ubuntu 24.04 LTS\"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\n";
        let error = debian_version(ubuntu).map_err(|error| error.to_string());
        assert!(
            error.as_ref().is_err_and(|error| error.ends_with("as root; this is Ubuntu 24.04 LTS")),
            "{error:?}"
        );
        let error = debian_version("").map_err(|error| error.to_string());
        assert!(error.is_err_and(|error| error.contains(std::env::consts::OS)));
        assert!(debian_version("ID=debian\nVERSION_ID=\"twelve\"\n").is_err());
    }

    #[test]
    fn a_program_of_another_release_sees_the_workspace() {
        let ready = Ready { root: Some("roots/trixie".into()), manifest: "/lvp_icd.json".into() };
        let words = |program: &Path| -> Vec<_> {
            let command = ready.command(program, 9);
            command
                .get_args()
                .skip_while(|&word| word != "sh")
                .map(|word| word.to_string_lossy().into_owned())
                .collect()
        };
        let here = root().to_string_lossy().into_owned();
        let inside = words(&root().join("target/release/clipseg"));
        let expected = ["roots/trixie", &here, "/proc", "/sys", "/dev", &here, "--"];
        assert_eq!(inside[4..11], expected);
        // The folder of a program elsewhere is mounted too.
        assert_eq!(words(Path::new("/elsewhere/clipseg"))[10..], ["/elsewhere", "--", "/elsewhere/clipseg"]);
    }

    #[test]
    fn a_folder_is_filled_once_and_anew_after_an_interruption() {
        let folder = std::env::temp_dir().join(format!("clipseg-drivers-{}", std::process::id()));
        assert!(make(&folder, |folder| Ok(fs::write(folder.join("half"), "")?)).is_ok());
        assert!(make(&folder, |_| bail!("it is there")).is_ok());
        fs::remove_file(folder.join("complete")).expect("it was written");
        let again = make(&folder, |folder| {
            ensure!(!folder.join("half").exists(), "the rest of the first run is there");
            bail!("interrupted")
        });
        assert_eq!(again.map_err(|error| error.to_string()), Err("interrupted".to_owned()));
        assert!(!folder.join("complete").exists());
        fs::remove_dir_all(&folder).expect("it was made");
    }
}
