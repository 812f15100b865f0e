//! CLIPSeg's WGSL kernels, their typed description, and a CPU twin of each.
//!
//! A kernel is one file in `wgsl/`; what several share is in `wgsl/shared/`, and they include it. The build
//! composes a kernel's text, validates it with naga and reflects its bindings, overrides, constants and
//! parameter block into a module of [`kernels`], so that Rust cannot disagree with WGSL. `cargo run -p
//! clipseg-shaders --example kernel -- NAME` prints the composed text. [`twins`] holds the same arithmetic as
//! plain loops: each kernel's specification and the oracle of its tests. Nothing here knows a device.

pub mod twins;

/// How a kernel meets one of its resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindingKind {
    /// The parameter block, always binding 0.
    Uniform,
    /// A storage buffer that is read.
    StorageRead,
    /// A storage buffer that is written, and may be read.
    StorageReadWrite,
    /// An `rgba32float` texture that is read as a sampled one.
    Texture,
    /// An `rgba32float` texture that is read as a storage texture.
    StorageTextureRead,
    /// An `rgba32float` texture that is written.
    StorageTextureWrite,
}

/// A resource of a kernel; its place in [`Kernel::bindings`] is its binding number in group 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The variable's name in WGSL.
    pub name: &'static str,
    /// What is bound there.
    pub kind: BindingKind,
    /// Whether half-precision floats may lie there, as WGSL declares it: some kernels take them besides
    /// floats, and their overrides say which it is.
    pub may_hold_f16: bool,
}

/// A compute kernel as its WGSL file declares it.
#[derive(Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The file's name without its ending.
    pub name: &'static str,
    /// The WGSL text, with what the file includes.
    pub source: &'static str,
    /// The entry point's name.
    pub entry_point: &'static str,
    /// Invocations of a workgroup along x, y and z.
    pub workgroup_size: [u32; 3],
    /// Bytes of the parameter block: the kernel's `Params`, and what follows them.
    pub params_bytes: u32,
    /// Where in the parameter block the dispatch's first workgroup stands, a `vec3<u32>` that the kernel adds
    /// to every workgroup's id: so that a long dispatch can be cut into several. Zeros for a whole one. None
    /// where the kernel's dispatches cannot be cut.
    pub first_workgroup: Option<u32>,
    /// Resources, by binding number.
    pub bindings: &'static [Binding],
    /// Names of the pipeline-overridable constants; the kernel's module has their values as `Overrides`.
    pub overrides: &'static [&'static str],
    /// Whether the kernel needs subgroup operations, which WebGPU's core does not promise.
    pub uses_subgroups: bool,
    /// Whether it needs cooperative matrices and f16 arithmetic, which some native drivers offer and WebGPU
    /// does not.
    pub uses_matrix_units: bool,
}

impl Kernel {
    /// Whether some of its operands lie in textures; else all lie in buffers.
    #[must_use]
    pub fn binds_textures(&self) -> bool {
        self.bindings.iter().any(|binding| {
            matches!(
                binding.kind,
                BindingKind::Texture | BindingKind::StorageTextureRead | BindingKind::StorageTextureWrite
            )
        })
    }
}

/// Makes the struct of a kernel's overrides: fields with names in WGSL and the values that they have there.
macro_rules! overrides {
    ($($field:ident: $name:literal = $default:literal,)+) => {
        /// Values of the kernel's overrides. The default is WGSL's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Overrides {
            $(#[doc = concat!("`", $name, "` of the kernel.")] pub $field: u32,)+
        }

        impl Overrides {
            /// Names and values, as a pipeline takes them.
            #[must_use]
            pub fn values(self) -> [(&'static str, u32); [$($name),+].len()] {
                [$(($name, self.$field)),+]
            }

            /// Those that `values` has; the default for the others. Names of other kernels' are passed over.
            #[must_use]
            pub fn of(values: &[(&'static str, u32)]) -> Self {
                let value = |name: &str| values.iter().find(|(given, _)| *given == name).map(|(_, value)| *value);
                Self { $($field: value($name).unwrap_or($default)),+ }
            }
        }

        impl Default for Overrides {
            fn default() -> Self {
                Self { $($field: $default),+ }
            }
        }
    };
}

/// One module per kernel, written by the build from the WGSL files.
pub mod kernels {
    use crate::Kernel;
    include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
}

/// An activation, by the number that the kernels' `ACTIVATION` override takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Activation {
    /// The identity.
    #[default]
    None = 0,
    /// `x · σ(1.702 x)`
    QuickGelu = 1,
    /// `x · Φ(x)`, by the error function.
    Gelu = 2,
    /// The tanh form of GELU.
    GeluNew = 3,
    /// `max(x, 0)`
    Relu = 4,
    /// Scaled exponential linear unit.
    Selu = 5,
}

impl Activation {
    /// Every activation, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::None, Self::QuickGelu, Self::Gelu, Self::GeluNew, Self::Relu, Self::Selu];
}
