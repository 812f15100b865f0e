//! Builds the Vulkan driver with which ONNX Runtime's WebGPU provider accepts lavapipe.
//! `tools/peers/lavapipe_for_dawn.c` says how that works.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::root;

/// Whether an adapter, as we describe it, is one that the provider refuses.
pub fn is_needed(adapter: &str) -> bool {
    cfg!(target_os = "linux") && adapter.contains("llvmpipe")
}

/// Compiles the driver into `folder`, and returns its manifest for the Vulkan loader.
pub fn build(folder: &Path) -> Result<PathBuf> {
    let library = folder.join("liblavapipe_for_dawn.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c11", "-O1", "-shared", "-fPIC", "-o"]).arg(&library);
    compiler.arg(root().join("tools/peers/lavapipe_for_dawn.c")).arg("-ldl");
    let output = compiler.output().context(
        "its WebGPU provider refuses lavapipe, and there is no C compiler `cc` for the driver that makes it take it",
    )?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("`cc` cannot compile its driver: {}", message.lines().next().unwrap_or("it says nothing"));
    }
    let file = folder.join("lavapipe_for_dawn.json");
    let driver = json!({
        "file_format_version": "1.0.0",
        "ICD": { "library_path": library, "api_version": "1.3.0" },
    });
    fs::write(&file, driver.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lavapipe_needs_it() {
        assert!(!is_needed("AMD Radeon RX 7800 XT (Vulkan, radv)"));
        assert_eq!(
            is_needed("llvmpipe (LLVM 15.0.6, 256 bits) (Vulkan, llvmpipe)"),
            cfg!(target_os = "linux")
        );
    }

    #[test]
    fn what_cannot_be_built_is_an_error() {
        let folder = Path::new("/a/folder/that/is/not/there");
        assert!(build(folder).is_err());
    }
}
