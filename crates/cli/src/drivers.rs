//! What drivers read from the environment, set before any of them is loaded.

use std::env;
use std::sync::OnceLock;

use clipseg::{LLVMPIPE_WIDTH_VARIABLE, llvmpipe_width};
use serde::Serialize;

/// Whether the width is ours.
static IS_OURS: OnceLock<bool> = OnceLock::new();

/// The width of llvmpipe's vectors, and who says so.
#[derive(Serialize)]
pub struct VectorWidth {
    /// The value of `LP_NATIVE_VECTOR_WIDTH`.
    pub bits: String,
    /// `clipseg`, or `environment`.
    pub set_by: &'static str,
}

/// Sets what the user has not.
///
/// # Safety
/// No other thread may run.
pub unsafe fn prepare() {
    let is_set = |name| env::var_os(name).is_some();
    // Mesa's layer that picks a default adapter asks a Wayland compositor which one it uses. Where there is none (over SSH, in a
    // container), libwayland complains on stderr that XDG_RUNTIME_DIR is not set. The layer has nothing to add here, as
    // adapters are chosen by kind or by `--adapter`; it stays on for those who steer it by its own variable.
    if cfg!(target_os = "linux") && !is_set("XDG_RUNTIME_DIR") && !is_set("MESA_VK_DEVICE_SELECT") {
        // SAFETY: the caller's promise: no other thread exists that could read the environment.
        unsafe { env::set_var("NODEVICE_SELECT", "1") };
    }
    let is_ours = *IS_OURS.get_or_init(|| !is_set(LLVMPIPE_WIDTH_VARIABLE));
    if is_ours {
        // SAFETY: as above.
        unsafe { env::set_var(LLVMPIPE_WIDTH_VARIABLE, llvmpipe_width()) };
    }
}

/// What llvmpipe finds in the environment.
pub fn vector_width() -> VectorWidth {
    let is_ours = IS_OURS.get().is_some_and(|&is_ours| is_ours);
    VectorWidth {
        bits: env::var(LLVMPIPE_WIDTH_VARIABLE).unwrap_or_default(),
        set_by: if is_ours { "clipseg" } else { "environment" },
    }
}
