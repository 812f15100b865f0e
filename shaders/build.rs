//! Validates every WGSL file and writes one Rust module per kernel: its parameter block, constants, bindings and
//! overrides as naga reflects them, so that Rust cannot disagree with WGSL.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{
    AddressSpace, Expression, Handle, ImageClass, Literal, Module, Scalar, ScalarKind, StorageAccess, Type,
    TypeInner, VectorSize,
};

/// What a kernel may need beyond WebGPU's core: subgroups and matrix units, which a kernel says that it uses, and what naga calls a
/// capability although WGSL's core has it, `unpack2x16float`.
const CAPABILITIES: Capabilities = Capabilities::SUBGROUP
    .union(Capabilities::SUBGROUP_BARRIER)
    .union(Capabilities::SHADER_FLOAT16_IN_FLOAT32)
    .union(Capabilities::SHADER_FLOAT16)
    .union(Capabilities::COOPERATIVE_MATRIX);

fn main() {
    let folder = Path::new("wgsl");
    println!("cargo::rerun-if-changed=wgsl");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("shaders/wgsl is part of the crate")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wgsl"))
        .collect();
    files.sort();

    let mut generated = String::new();
    let mut names = Vec::new();
    for path in &files {
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("kernel files have plain names");
        let source = fs::read_to_string(path).expect("a readable file");
        let shown = path.display().to_string();
        let module = naga::front::wgsl::parse_str(&source)
            .unwrap_or_else(|error| panic!("{}", error.emit_to_string_with_path(&source, &shown)));
        Validator::new(ValidationFlags::all(), CAPABILITIES)
            .validate(&module)
            .unwrap_or_else(|error| panic!("{}", error.emit_to_string_with_path(&source, &shown)));
        write_kernel(&mut generated, name, &source, &module);
        names.push(name.to_owned());
    }
    writeln!(
        generated,
        "/// Every kernel, in alphabetical order.\npub static ALL: [&Kernel; {}] = [",
        names.len()
    )
    .expect("writing to a string");
    for name in &names {
        writeln!(generated, "    &{name}::KERNEL,").expect("writing to a string");
    }
    generated.push_str("];\n");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join("kernels.rs"), generated).expect("OUT_DIR is writable");
}

fn write_kernel(out: &mut String, name: &str, source: &str, module: &Module) {
    let [entry] = module.entry_points.as_slice() else { panic!("{name}.wgsl: one entry point per file") };
    let mut bindings = Vec::new();
    let mut params = String::new();
    for (_, variable) in module.global_variables.iter() {
        let Some(resource) = &variable.binding else { continue };
        assert_eq!(resource.group, 0, "{name}.wgsl: every binding is in group 0");
        let kind = match (&module.types[variable.ty].inner, variable.space) {
            (TypeInner::Struct { members, .. }, AddressSpace::Uniform) => {
                params = params_struct(name, module, members);
                "BindingKind::Uniform".to_owned()
            }
            (_, AddressSpace::Storage { access }) if access.contains(StorageAccess::STORE) => {
                "BindingKind::StorageReadWrite".to_owned()
            }
            (_, AddressSpace::Storage { .. }) => "BindingKind::StorageRead".to_owned(),
            (TypeInner::Image { class: ImageClass::Sampled { .. }, .. }, _) => {
                "BindingKind::Texture".to_owned()
            }
            (TypeInner::Image { class: ImageClass::Storage { access, .. }, .. }, _) => {
                let is_written = access.contains(StorageAccess::STORE);
                format!("BindingKind::StorageTexture{}", if is_written { "Write" } else { "Read" })
            }
            (other, _) => panic!("{name}.wgsl: a binding of a kind the engine does not use: {other:?}"),
        };
        let binding_name = variable.name.clone().unwrap_or_default();
        bindings.push((resource.binding, binding_name, kind, may_hold_f16(module, variable.ty)));
    }
    bindings.sort();
    for (place, (index, binding, ..)) in bindings.iter().enumerate() {
        assert_eq!(place, *index as usize, "{name}.wgsl: binding {binding} leaves a gap");
    }
    let overrides: Vec<_> = module.overrides.iter().filter_map(|(_, value)| value.name.clone()).collect();
    let constants = constants(name, module);
    let about: String = source
        .lines()
        .map_while(|line| line.strip_prefix("//"))
        .map(|line| format!("    ///{}\n", line.replace('[', "\\[").replace(']', "\\]")))
        .collect();
    let rows: String = bindings
        .iter()
        .map(|(_, binding, kind, halves)| {
            format!("            Binding {{ name: {binding:?}, kind: {kind}, may_hold_f16: {halves} }},\n")
        })
        .collect();
    let subgroups = source.contains("subgroup_invocation_id");
    let matrix_units = source.contains("enable wgpu_cooperative_matrix;");
    writeln!(
        out,
        "/// The kernel `{name}.wgsl`.\npub mod {name} {{\n    use crate::{{Binding, BindingKind, Kernel}};\n\n{params}\n{constants}{about}    \
         pub static KERNEL: Kernel = Kernel {{\n        name: {name:?},\n        \
         source: include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/wgsl/{name}.wgsl\")),\n        \
         entry_point: {entry:?},\n        workgroup_size: {size:?},\n        bindings: &[\n{rows}        ],\n        \
         overrides: &{overrides:?},\n        uses_subgroups: {subgroups},\n        \
         uses_matrix_units: {matrix_units},\n    }};\n}}\n",
        entry = entry.name,
        size = entry.workgroup_size,
    )
    .expect("writing to a string");
}

/// The kernel's named constants that are unsigned integers: tile sizes, which Rust derives grids from.
fn constants(name: &str, module: &Module) -> String {
    let mut out = String::new();
    for (_, constant) in module.constants.iter() {
        let Some(constant_name) = &constant.name else { continue };
        if let Expression::Literal(Literal::U32(value)) = module.global_expressions[constant.init] {
            writeln!(
                out,
                "    /// `{constant_name}` of `{name}.wgsl`.\n    pub const {constant_name}: u32 = {value};"
            )
            .expect("writing to a string");
        }
    }
    out
}

/// Whether a binding is an array that f16 values may lie in: of pairs of words, each of which unpacks to four.
fn may_hold_f16(module: &Module, kind: Handle<Type>) -> bool {
    let TypeInner::Array { base, .. } = module.types[kind].inner else { return false };
    let words = TypeInner::Vector { size: VectorSize::Bi, scalar: Scalar::U32 };
    let halves = TypeInner::Vector { size: VectorSize::Quad, scalar: Scalar::F16 };
    [words, halves].contains(&module.types[base].inner)
}

/// The Rust twin of the kernel's `Params`: scalars of four bytes in order, so both lay them out alike.
fn params_struct(name: &str, module: &Module, members: &[naga::StructMember]) -> String {
    let mut fields = String::new();
    for (place, member) in members.iter().enumerate() {
        let field = member.name.as_deref().unwrap_or_default();
        assert_eq!(member.offset as usize, place * 4, "{name}.wgsl: Params.{field} is not a plain scalar");
        let kind = match &module.types[member.ty] {
            Type { inner: TypeInner::Scalar(Scalar { kind: ScalarKind::Uint, width: 4 }), .. } => "u32",
            Type { inner: TypeInner::Scalar(Scalar { kind: ScalarKind::Float, width: 4 }), .. } => "f32",
            other => panic!("{name}.wgsl: Params.{field} is {other:?}; only u32 and f32 are used"),
        };
        writeln!(fields, "        /// `{field}` of the kernel's parameters.\n        pub {field}: {kind},")
            .expect("writing to a string");
    }
    format!(
        "    /// The kernel's parameters, as its uniform holds them.\n    #[repr(C)]\n    \
         #[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]\n    \
         pub struct Params {{\n{fields}    }}\n"
    )
}
