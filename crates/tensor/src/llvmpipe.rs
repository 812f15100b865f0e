//! Environment variables that Mesa's software driver, llvmpipe, reads when it is loaded, and their best
//! values.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The environment variable that tells llvmpipe how many bits its vectors have. It is read when the first
/// adapter is looked for.
pub const LLVMPIPE_WIDTH_VARIABLE: &str = "LP_NATIVE_VECTOR_WIDTH";

/// The environment variable that tells Mesa's drivers where to keep compiled shaders.
const MESA_CACHE_VARIABLE: &str = "MESA_SHADER_CACHE_DIR";

/// The patch number of the Vulkan headers that Mesa 22.3 was built with, which its manifest names.
const MESA_22_3_HEADERS: u32 = 230;

/// The vector width, `"512"` or `"256"`, with which the kernels run faster than with llvmpipe's own choice;
/// `None` where its own choice is best.
///
/// Up to Mesa 22.3, processors with AVX-512 need two thirds of the time with 512 bits, and processors without
/// AVX half of it with 256. Mesa 25.0 and 26.2 are two to twenty times slower with 512 bits than with their
/// own 256, so the answer depends on the driver that is installed: on the manifest (`lvp_icd*.json`) that the
/// Vulkan loader would read.
#[must_use]
pub fn llvmpipe_width() -> Option<&'static str> {
    let manifests = manifests(|name| env::var_os(name), env::home_dir());
    let headers = manifests.iter().filter_map(|path| header_patch(&fs::read_to_string(path).ok()?)).max()?;
    width_for(headers, has_avx(), has_avx512())
}

/// The environment variables to set, at the start of a program while no other thread runs, for llvmpipe to
/// use vectors of `width` bits: the width itself, and a folder in `caches` for the shaders that it compiles.
///
/// The folder matters: Mesa 25.0 does not key its shader cache by the width, and a process that finds the
/// shaders of another width there crashes. A program that sets the width must not fill the cache that others
/// share. Mesa makes that folder, but not `caches`, which must be there: otherwise it keeps no shaders.
#[must_use]
pub fn llvmpipe_environment(width: &str, caches: &Path) -> [(&'static str, OsString); 2] {
    let folder = caches.join(format!("mesa-{width}"));
    [(LLVMPIPE_WIDTH_VARIABLE, width.into()), (MESA_CACHE_VARIABLE, folder.into())]
}

fn width_for(header_patch: u32, has_avx: bool, has_avx512: bool) -> Option<&'static str> {
    match (header_patch <= MESA_22_3_HEADERS, has_avx, has_avx512) {
        (true, _, true) => Some("512"),
        (true, false, false) => Some("256"),
        _ => None,
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx() -> bool {
    std::is_x86_feature_detected!("avx")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512vl")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512() -> bool {
    false
}

/// The manifests of llvmpipe among those that the Vulkan loader reads, given the environment's variables and
/// the user's folder:
/// <https://github.com/KhronosGroup/Vulkan-Loader/blob/main/docs/LoaderDriverInterface.md#driver-discovery>.
fn manifests(variable: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Vec<PathBuf> {
    let list = |name| variable(name).map(|value| env::split_paths(&value).collect::<Vec<_>>());
    // These replace the search; the loader prefers the newer name.
    let named = list("VK_DRIVER_FILES").or_else(|| list("VK_ICD_FILENAMES"));
    let places = named.unwrap_or_else(|| {
        let in_home = |folder: &str| home.as_ref().map(|home| home.join(folder)).into_iter().collect();
        let configs = list("XDG_CONFIG_DIRS").unwrap_or_else(|| vec!["/etc/xdg".into()]);
        let data =
            list("XDG_DATA_DIRS").unwrap_or_else(|| vec!["/usr/local/share".into(), "/usr/share".into()]);
        let roots = [
            list("XDG_CONFIG_HOME").unwrap_or_else(|| in_home(".config")),
            configs,
            vec!["/etc".into()],
            list("XDG_DATA_HOME").unwrap_or_else(|| in_home(".local/share")),
            data,
        ];
        roots.into_iter().flatten().map(|root| root.join("vulkan/icd.d")).collect()
    });
    places.into_iter().flat_map(files).filter(|path| is_llvmpipe(path)).collect()
}

/// The files in a folder; a file itself.
fn files(path: PathBuf) -> Vec<PathBuf> {
    match fs::read_dir(&path) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => vec![path],
    }
}

fn is_llvmpipe(manifest: &Path) -> bool {
    let name = manifest.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("lvp_icd") && name.ends_with(".json"))
}

/// The last part of a manifest's `"api_version": "1.4.305"`: of Mesa's manifests the version of the Vulkan
/// headers. One field of a known file is not worth a JSON reader in this crate.
fn header_patch(manifest: &str) -> Option<u32> {
    let (_, rest) = manifest.split_once("\"api_version\"")?;
    let version = rest.split('"').nth(1)?;
    version.rsplit('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_drivers_that_gain_by_it_are_given_a_width() {
        let mesa = [("1.1.230", 230), ("1.4.305", 305), ("1.4.354", 354)];
        let [debian12, debian13, sid] = mesa.map(|(version, patch)| {
            let manifest = format!(
                "{{\n \"ICD\": {{ \"api_version\": \"{version}\",\n \"library_path\": \"l.so\" }} }}"
            );
            assert_eq!(header_patch(&manifest), Some(patch));
            patch
        });
        assert_eq!(width_for(debian12, true, true), Some("512"));
        assert_eq!(width_for(debian12, true, false), None);
        assert_eq!(width_for(debian12, false, false), Some("256"));
        for newer in [debian13, sid] {
            assert_eq!([width_for(newer, true, true), width_for(newer, false, false)], [None, None]);
        }
        for damaged in ["", "{}", "{\"api_version\": 1.1}", "{\"api_version\": \"one\"}"] {
            assert_eq!(header_patch(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn manifests_are_found_where_the_loader_looks() {
        let folder = tempfile::tempdir().unwrap();
        let drivers = folder.path().join("vulkan/icd.d");
        fs::create_dir_all(&drivers).unwrap();
        let [ours, other] = ["lvp_icd.x86_64.json", "radeon_icd.x86_64.json"].map(|name| drivers.join(name));
        fs::write(&ours, "{}").unwrap();
        fs::write(&other, "{}").unwrap();
        let with = |wanted: &'static str, value: &Path| {
            let value = value.as_os_str().to_owned();
            manifests(move |name| (name == wanted).then(|| value.clone()), None)
        };
        assert!(with("XDG_DATA_DIRS", folder.path()).contains(&ours));
        assert_eq!(with("VK_DRIVER_FILES", &drivers).as_slice(), std::slice::from_ref(&ours));
        assert_eq!(with("VK_ICD_FILENAMES", &ours), [ours]);
        assert!(with("VK_DRIVER_FILES", &other).is_empty());
    }
}
