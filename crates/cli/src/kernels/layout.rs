//! The layout of the Hugging Face Hub's repositories of WebGPU kernels: one op per repository, in
//! `build/webgpu/` its `manifest.json` (what it takes and gives, and variants of passes with conditions),
//! `metadata.json` (digests, provenance), `test.json`, `bench.json` and the shaders, templates of WGSL.
//!
//! [`Package`] reads such a folder, [`Program`] is what it comes to for tensors of given shapes on a device,
//! and [`export`] writes our kernels so. Specification 2.1 was read off `@huggingface/kernels`
//! 0.0.1-preview.3, which loads it, and off published files: the manifests of Add, MatMul and Softmax, a
//! `metadata.json` of specification 1.0, Add's `test.json`. No `bench.json` could be seen; ours has the form
//! of `test.json`.

mod digest;
pub mod export;
mod functions;
mod include;
mod manifest;
mod ordered;
mod own;
mod package;
mod program;
mod resources;
mod scope;
mod select;

pub use self::manifest::Port;
pub use self::package::Package;
pub use self::program::{Bound, Call, Pass, Program};
pub use self::scope::Device;

/// Our kernels, as [`export`] writes them.
pub fn ours() -> Vec<Package> {
    let package = |op: own::Op| {
        let template =
            |kernel: &'static clipseg_shaders::Kernel| (own::template_name(kernel), own::template(kernel));
        Package::new(op.manifest, op.kernels.into_iter().map(template).collect())
    };
    own::ops().into_iter().map(package).collect()
}
