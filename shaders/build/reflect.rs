//! What naga finds in a kernel, written as a Rust module: parameters, overrides, constants and bindings.

use std::fmt::Write as _;

use naga::{
    AddressSpace, Binding, BuiltIn, Expression, Handle, ImageClass, Literal, Module, Scalar, ScalarKind,
    StorageAccess, Type, TypeInner, VectorSize,
};

/// Appends the module of a kernel to `out`. `source` is its composed text.
pub fn write_kernel(out: &mut String, name: &str, source: &str, module: &Module) {
    let [entry] = module.entry_points.as_slice() else { panic!("{name}.wgsl: one entry point per file") };
    let mut bindings = Vec::new();
    let mut params = Params::default();
    for (_, variable) in module.global_variables.iter() {
        let Some(resource) = &variable.binding else { continue };
        assert_eq!(resource.group, 0, "{name}.wgsl: every binding is in group 0");
        let kind = match (&module.types[variable.ty].inner, variable.space) {
            (TypeInner::Struct { members, span }, AddressSpace::Uniform) => {
                params = Params::of(name, module, members, *span);
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
    let overrides = overrides(name, module);
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
    let names: Vec<_> = overrides.iter().map(|(name, _)| name).collect();
    let subgroups =
        entry.function.arguments.iter().any(|argument| {
            matches!(argument.binding, Some(Binding::BuiltIn(BuiltIn::SubgroupInvocationId)))
        });
    let matrix_units =
        module.types.iter().any(|(_, kind)| matches!(kind.inner, TypeInner::CooperativeMatrix { .. }));
    let overrides = overrides_struct(&overrides);
    let Params { text: params, bytes: params_bytes, first_workgroup } = params;
    writeln!(
        out,
        "/// The kernel `{name}.wgsl`.\npub mod {name} {{\n    use crate::{{Binding, BindingKind, Kernel}};\n\n{params}\n{overrides}{constants}{about}    \
         pub static KERNEL: Kernel = Kernel {{\n        name: {name:?},\n        \
         source: include_str!(concat!(env!(\"OUT_DIR\"), \"/wgsl/{name}.wgsl\")),\n        \
         entry_point: {entry:?},\n        workgroup_size: {size:?},\n        \
         params_bytes: {params_bytes},\n        first_workgroup: {first_workgroup:?},\n        bindings: &[\n{rows}        ],\n        \
         overrides: &{names:?},\n        uses_subgroups: {subgroups},\n        \
         uses_matrix_units: {matrix_units},\n    }};\n}}\n",
        entry = entry.name,
        size = entry.workgroup_size,
    )
    .expect("writing to a string");
}

/// The kernel's overrides with their defaults.
fn overrides(name: &str, module: &Module) -> Vec<(String, u32)> {
    let named = module.overrides.iter().map(|(_, value)| {
        let override_name = value.name.clone().unwrap_or_default();
        let default = value.init.map(|init| &module.global_expressions[init]);
        let Some(Expression::Literal(Literal::U32(default))) = default else {
            panic!("{name}.wgsl: {override_name} is not a u32 with a default; only such overrides are used");
        };
        (override_name, *default)
    });
    named.collect()
}

/// The call of the macro that makes a struct of them; nothing where there are none.
fn overrides_struct(overrides: &[(String, u32)]) -> String {
    if overrides.is_empty() {
        return String::new();
    }
    let rows = overrides
        .iter()
        .map(|(name, default)| format!("        {}: {name:?} = {default},\n", name.to_ascii_lowercase()));
    format!("    overrides! {{\n{}    }}\n\n", rows.collect::<String>())
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

/// Whether a binding is an array that f16 values may lie in: of pairs of words, each of which unpacks to
/// four.
fn may_hold_f16(module: &Module, kind: Handle<Type>) -> bool {
    let TypeInner::Array { base, .. } = module.types[kind].inner else { return false };
    let words = TypeInner::Vector { size: VectorSize::Bi, scalar: Scalar::U32 };
    let halves = TypeInner::Vector { size: VectorSize::Quad, scalar: Scalar::F16 };
    [words, halves].contains(&module.types[base].inner)
}

/// A kernel's parameter block.
#[derive(Default)]
struct Params {
    /// The Rust struct of the members that an op sets: scalars of four bytes in order, so both lay them out
    /// alike.
    text: String,
    /// What the uniform takes.
    bytes: u32,
    /// The offset of `first_workgroup`, which the engine sets where it cuts a dispatch. It is the last
    /// member.
    first_workgroup: Option<u32>,
}

impl Params {
    fn of(name: &str, module: &Module, members: &[naga::StructMember], span: u32) -> Self {
        let (scalars, first_workgroup) = match members {
            [scalars @ .., last] if last.name.as_deref() == Some("first_workgroup") => {
                let vector = TypeInner::Vector { size: VectorSize::Tri, scalar: Scalar::U32 };
                assert_eq!(module.types[last.ty].inner, vector, "{name}.wgsl: first_workgroup");
                (scalars, Some(last.offset))
            }
            all => (all, None),
        };
        let mut fields = String::new();
        for (place, member) in scalars.iter().enumerate() {
            let field = member.name.as_deref().unwrap_or_default();
            assert_eq!(
                member.offset as usize,
                place * 4,
                "{name}.wgsl: Params.{field} is not a plain scalar"
            );
            let kind = match &module.types[member.ty] {
                Type { inner: TypeInner::Scalar(Scalar { kind: ScalarKind::Uint, width: 4 }), .. } => "u32",
                Type { inner: TypeInner::Scalar(Scalar { kind: ScalarKind::Float, width: 4 }), .. } => "f32",
                other => panic!("{name}.wgsl: Params.{field} is {other:?}; only u32 and f32 are used"),
            };
            writeln!(
                fields,
                "        /// `{field}` of the kernel's parameters.\n        pub {field}: {kind},"
            )
            .expect("writing to a string");
        }
        let text = format!(
            "    /// The kernel's parameters, as its uniform begins with them.\n    #[repr(C)]\n    \
             #[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]\n    \
             pub struct Params {{\n{fields}    }}\n"
        );
        Self { text, bytes: span, first_workgroup }
    }
}
