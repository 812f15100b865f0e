//! Our kernels as ops of the layout: those on storage buffers in f32. It has no place for textures, which the
//! subgroup kernels work on, nor for wgpu's cooperative matrices, nor for weights of two f16 values per word,
//! nor for the most lanes that subgroups may have, which `matmul_tile_lanes` limits.

mod table;

use clipseg_shaders::{BindingKind, Kernel};
use serde_json::{Value, json};

use super::manifest::{
    Attribute, Binding, Dispatch, Field, Manifest, Pass, PassBinding, Port, Requires, Variant,
};
use super::ordered::Ordered;
use super::scope::FOLD;

pub use self::table::ops;

/// An op that our kernels compute.
pub struct Op {
    pub manifest: Manifest,
    /// The kernels of its variants, each once.
    pub kernels: Vec<&'static Kernel>,
}

/// A kernel as a variant of an op.
struct Form {
    kernel: &'static Kernel,
    /// What is added to the kernel's name.
    suffix: &'static str,
    priority: u32,
    when: Vec<String>,
    /// The values of its parameters, by their names, as expressions.
    params: Vec<(&'static str, &'static str)>,
    /// The tensor behind each of its buffers.
    buffers: Vec<(&'static str, &'static str)>,
    /// The values of its overrides.
    overrides: Vec<(&'static str, u32)>,
    grid: [String; 3],
}

impl Form {
    fn new(kernel: &'static Kernel, grid: [String; 3]) -> Self {
        let (when, params, buffers, overrides) = Default::default();
        Self { kernel, suffix: "", priority: 0, when, params, buffers, overrides, grid }
    }

    fn id(&self) -> String {
        format!("{}{}", self.kernel.name, self.suffix)
    }

    fn variant(&self) -> Variant {
        Variant {
            id: self.id(),
            priority: self.priority.into(),
            when: self.when.clone(),
            requires: self
                .kernel
                .uses_subgroups
                .then(|| Requires { features: vec!["subgroups".to_owned()], ..Requires::default() }),
            derive: self.overrides.iter().map(|(name, value)| (*name, json!(value))).collect(),
            passes: vec![Pass {
                id: "main".to_owned(),
                name: Some(format!("clipseg.{}", self.kernel.name)),
                shader: template_name(self.kernel),
                bindings: self.kernel.bindings.iter().map(|binding| self.binding(binding)).collect(),
                dispatch: grid(&self.grid),
                ..Pass::default()
            }],
            ..Variant::default()
        }
    }

    fn binding(&self, binding: &clipseg_shaders::Binding) -> PassBinding {
        let name = Some(binding.name.to_owned());
        let storage = |buffer: &str| {
            let buffers = self.buffers.iter().find(|(own, _)| *own == binding.name);
            Binding {
                name: name.clone(),
                arg: buffers.map(|(_, role)| *role).filter(|role| *role != binding.name).map(str::to_owned),
                buffer: Some(buffer.to_owned()),
                element_type: Some(element(self.kernel, binding.name)),
                ..Binding::default()
            }
        };
        PassBinding::Entry(Box::new(match binding.kind {
            BindingKind::Uniform => {
                let fields = fields(self.kernel).into_iter().map(|(field, kind)| {
                    let value = self.params.iter().find(|(own, _)| *own == field);
                    let value = value.map_or_else(|| json!(0), |(_, value)| json!(value));
                    Field { name: field, kind, value: Some(value), ..Field::default() }
                });
                Binding { name, fields: Some(fields.collect()), ..Binding::default() }
            }
            BindingKind::StorageRead => storage("read-only-storage"),
            // There is no kernel on textures among these.
            _ => storage("storage"),
        }))
    }
}

/// The template that a kernel is written to.
pub fn template_name(kernel: &Kernel) -> String {
    format!("{}.wgsl.jinja", kernel.name)
}

/// A kernel's text as a template: its overrides are constants whose values a variant derives. Its dispatches
/// are whole, so that it takes no first workgroup. Browsers want subgroups enabled, which naga does not need;
/// and their analysis of uniformity does not see that all lanes of a subgroup take the same turns.
pub fn template(kernel: &Kernel) -> String {
    let line = |line: &str| match overridden(line) {
        Some(name) => format!("const {name}: u32 = {{{{ {name} }}}}u;"),
        None => line.replace(" + params.first_workgroup", ""),
    };
    let mut lines: Vec<_> = kernel.source.lines().collect();
    if let Some(member) = lines.iter().position(|line| line.trim_start().starts_with(FIRST_WORKGROUP)) {
        // The member and the comment above it.
        lines.drain(member - 1..=member);
    }
    let directives = if kernel.uses_subgroups { SUBGROUPS } else { "" };
    directives.to_owned() + &lines.into_iter().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

/// What comes first in a template with subgroup operations.
const SUBGROUPS: &str = "enable subgroups;\ndiagnostic(off, subgroup_uniformity);\n\n";

/// The parameter by which the engine cuts long dispatches.
const FIRST_WORKGROUP: &str = "first_workgroup:";

/// The name that a line of WGSL declares as an override.
fn overridden(line: &str) -> Option<&str> {
    line.strip_prefix("override ")?.split_once(':').map(|(name, _)| name)
}

/// The fields of a kernel's parameters with their types.
fn fields(kernel: &Kernel) -> Vec<(String, String)> {
    let (_, rest) = kernel.source.split_once("struct Params {").unwrap_or_default();
    let (body, _) = rest.split_once('}').unwrap_or_default();
    let lines = body.lines().filter(|line| !line.trim_start().starts_with("//"));
    let field = |line: &str| {
        let (name, kind) = line.trim().trim_end_matches(',').split_once(':')?;
        Some((name.trim().to_owned(), kind.trim().to_owned()))
    };
    lines.filter(|line| !line.trim_start().starts_with(FIRST_WORKGROUP)).filter_map(field).collect()
}

/// The type of a buffer's elements.
fn element(kernel: &Kernel, name: &str) -> String {
    let declared = kernel.source.split_once(&format!("> {name}: array<")).map(|(_, rest)| rest);
    let element = declared.and_then(|rest| rest.split_once(">;")).map(|(element, _)| element);
    element.unwrap_or("f32").to_owned()
}

fn grid([x, y, z]: &[String; 3]) -> Dispatch {
    let [x, y, z] = [x, y, z].map(|size| Some(json!(size)));
    Dispatch { x, y, z, ..Dispatch::default() }
}

/// So many workgroups in a grid that is folded where a side would be too long, as our kernels take them.
fn folded(workgroups: &str) -> [String; 3] {
    [format!("min({workgroups}, {FOLD})"), format!("ceilDiv({workgroups}, {FOLD})"), "1".to_owned()]
}

/// What an op takes and gives.
struct Contract {
    domain: &'static str,
    name: &'static str,
    since_version: Option<u32>,
    description: &'static str,
    /// Each with ONNX's name of it, and whether it may be left out.
    inputs: Vec<(&'static str, &'static str, bool)>,
    /// With ONNX's name and its shape.
    output: (&'static str, &'static str, Value),
    attributes: Vec<(&'static str, Value, &'static str)>,
    derive: Vec<(&'static str, &'static str)>,
}

impl Contract {
    fn op(self, forms: Vec<Form>) -> Op {
        let port = |onnx: &str, optional, shape| Port {
            onnx: Some(onnx.to_owned()),
            dtype: Some("T".to_owned()),
            optional,
            shape,
            ..Port::default()
        };
        let inputs = self.inputs.iter().map(|(role, onnx, optional)| (*role, port(onnx, *optional, None)));
        let (role, onnx, shape) = self.output;
        let attribute = |(name, default, description): (&'static str, Value, &str)| {
            (name, Attribute { default: Some(default), description: Some(description.to_owned()) })
        };
        let mut kernels: Vec<&'static Kernel> = Vec::new();
        for form in &forms {
            if kernels.iter().all(|known| known.name != form.kernel.name) {
                kernels.push(form.kernel);
            }
        }
        let manifest = Manifest {
            domain: self.domain.to_owned(),
            name: self.name.to_owned(),
            since_version: self.since_version,
            description: Some(self.description.to_owned()),
            inputs: inputs.collect(),
            outputs: [(role, port(onnx, false, Some(shape)))].into_iter().collect(),
            attributes: self.attributes.into_iter().map(attribute).collect(),
            type_constraints: [("T", vec!["float32".to_owned()])].into_iter().collect(),
            derive: self.derive.into_iter().map(|(name, value)| (name, json!(value))).collect::<Ordered<_>>(),
            variants: forms.iter().map(Form::variant).collect(),
            ..Manifest::default()
        };
        Op { manifest, kernels }
    }
}
