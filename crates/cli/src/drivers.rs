//! Environment variables that graphics drivers read, set before any driver is loaded.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Result, bail};
use clipseg::{LLVMPIPE_WIDTH_VARIABLE, llvmpipe_environment, llvmpipe_width};
use serde::Serialize;

use crate::inputs;

/// Who chose the vector width of llvmpipe.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WidthChoice {
    /// This command, as the installed driver is faster with it.
    Clipseg,
    /// The user, by the environment variable.
    Environment,
    /// llvmpipe itself.
    Driver,
}

/// Set by [`prepare`].
static WIDTH_CHOICE: OnceLock<WidthChoice> = OnceLock::new();

/// Sets the variables that the user has not set.
///
/// # Errors
/// When the user asks for a vector width with which llvmpipe crashes.
///
/// # Safety
/// No other thread may run.
pub unsafe fn prepare() -> Result<()> {
    let is_set = |name| env::var_os(name).is_some();
    // Mesa's layer that picks a default adapter asks a Wayland compositor which one it uses. Where there is
    // none (over SSH, in a container), libwayland complains on stderr that XDG_RUNTIME_DIR is not set. The
    // layer has nothing to add here, as adapters are chosen by kind or by `--adapter`; it stays on for users
    // who set its own variable.
    if cfg!(target_os = "linux") && !is_set("XDG_RUNTIME_DIR") && !is_set("MESA_VK_DEVICE_SELECT") {
        // SAFETY: the caller's promise: no other thread exists that could read the environment.
        unsafe { env::set_var("NODEVICE_SELECT", "1") };
    }
    let told = env::var_os(LLVMPIPE_WIDTH_VARIABLE);
    let told = told.map(|width| checked(&width.to_string_lossy())).transpose()?;
    let (choice, settings) = choose(told, llvmpipe_width(), inputs::user_cache_folder());
    WIDTH_CHOICE.get_or_init(|| choice);
    if let Some((width, caches)) = settings {
        // Mesa makes its own folder there, but not the folders above it, without which it keeps no shaders.
        // If these cannot be made, it keeps none either, which is not a reason to fail.
        let _ = fs::create_dir_all(&caches);
        for (name, value) in llvmpipe_environment(width, &caches) {
            if !is_set(name) {
                // SAFETY: as above.
                unsafe { env::set_var(name, value) };
            }
        }
    }
    Ok(())
}

/// Who chooses the vector width, and what is set: the width that the environment has `told` goes before the
/// command's `own`. Without a folder for caches nothing is set.
fn choose<'a>(
    told: Option<&'a str>,
    own: Option<&'a str>,
    caches: Option<PathBuf>,
) -> (WidthChoice, Option<(&'a str, PathBuf)>) {
    match (told, own.zip(caches.as_ref())) {
        (Some(told), _) => (WidthChoice::Environment, caches.map(|caches| (told, caches))),
        (None, Some((own, _))) => (WidthChoice::Clipseg, caches.map(|caches| (own, caches))),
        (None, None) => (WidthChoice::Driver, None),
    }
}

/// The vector width that the user asks for, if llvmpipe has it: with any other, the driver crashes the
/// process.
fn checked(width: &str) -> Result<&'static str> {
    match ["128", "256", "512"].into_iter().find(|&known| known == width) {
        Some(width) => Ok(width),
        None => bail!(
            "the environment variable {LLVMPIPE_WIDTH_VARIABLE} is {width:?}; llvmpipe's vectors have 128, 256 or 512 bits: \
             set one of these, or unset the variable"
        ),
    }
}

/// Who chose llvmpipe's vector width.
pub fn width_choice() -> WidthChoice {
    WIDTH_CHOICE.get().copied().unwrap_or(WidthChoice::Driver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_that_is_told_is_one_that_was_made() {
        let caches = || Some(PathBuf::from("caches"));
        for (told, own, caches, choice) in [
            (Some("128"), Some("256"), caches(), WidthChoice::Environment),
            (Some("128"), None, None, WidthChoice::Environment),
            (None, Some("256"), caches(), WidthChoice::Clipseg),
            (None, Some("256"), None, WidthChoice::Driver),
            (None, None, caches(), WidthChoice::Driver),
        ] {
            let (found, settings) = choose(told, own, caches.clone());
            assert!(found == choice, "{told:?} {own:?} {caches:?}");
            let expected = told.or(own).zip(caches).filter(|_| choice != WidthChoice::Driver);
            assert_eq!(settings, expected);
        }
    }

    #[test]
    fn a_width_that_crashes_the_driver_is_refused() {
        for width in ["128", "256", "512"] {
            assert_eq!(checked(width).unwrap(), width);
        }
        for width in ["7", "", "0", "-256", "1024", "wide"] {
            assert!(checked(width).unwrap_err().to_string().contains("unset the variable"));
        }
    }
}
