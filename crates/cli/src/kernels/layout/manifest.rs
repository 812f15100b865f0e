//! `manifest.json`: what an op takes and gives, and the variants that compute it.
//!
//! This is its specification 2.1, which `@huggingface/kernels` 0.0.1-preview.3 loads. A value that is a text
//! is an expression, unless it is said to be a name.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::ordered::Ordered;

/// The specification that is read and written here.
pub const SPECIFICATION: &str = "2.1";
/// The domain of a manifest that names none.
const DOMAIN: &str = "ai.onnx";

/// An op and its variants.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "known keys that make no difference here")]
pub struct Manifest {
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    #[serde(rename = "$comment", default, skip_serializing)]
    pub(super) comment: IgnoredAny,
    #[serde(default = "default_domain")]
    pub domain: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing)]
    pub(super) conformance: IgnoredAny,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_version: Option<u32>,
    #[serde(default, skip_serializing)]
    pub(super) onnx: IgnoredAny,
    pub inputs: Ordered<Port>,
    pub outputs: Ordered<Port>,
    /// Numbers and texts that a caller gives besides tensors.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub args: Ordered<Value>,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub attributes: Ordered<Attribute>,
    #[serde(default, skip_serializing)]
    pub(super) attribute_constraints: IgnoredAny,
    /// The dtypes that each variable of the ports' may be.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub type_constraints: Ordered<Vec<String>>,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub tunables: Ordered<Tunable>,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub derive: Ordered<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<Requires>,
    /// What passes bind, by the handles that they name it by.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub bindings: Ordered<Binding>,
    pub variants: Vec<Variant>,
}

/// A tensor that the op takes or gives.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Port {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its name in ONNX's definition of the op.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub onnx: Option<String>,
    /// A dtype, or a variable of `typeConstraints`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<Value>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub narrowing: Option<String>,
}

/// A property of the op that a caller may set.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Attribute {
    /// A value, not an expression.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A number that someone may tune.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tunable {
    /// A value, not an expression.
    pub default: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What a device must have.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Requires {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    #[serde(skip_serializing_if = "is_empty")]
    pub limits: Ordered<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subgroup_min_size: Option<u32>,
    #[serde(skip_serializing)]
    pub(super) subgroup_matrix_configs: IgnoredAny,
}

/// A way to compute the op.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "known keys that make no difference here")]
pub struct Variant {
    #[serde(rename = "$comment", default, skip_serializing)]
    pub(super) comment: IgnoredAny,
    #[serde(default)]
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The higher comes first.
    #[serde(default)]
    pub priority: f64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<String>,
    /// Where one of these holds, another variant comes first, whatever its priority.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub demote_when: Vec<String>,
    /// Variants of a higher priority that exclude this one where they can be taken: one that is comes first
    /// anyway.
    #[serde(default, skip_serializing)]
    pub(super) superseded_by: IgnoredAny,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<Requires>,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub tunables: Ordered<Tunable>,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub derive: Ordered<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intermediates: Vec<Intermediate>,
    #[serde(default)]
    pub passes: Vec<Pass>,
    /// Only a family of variants has these.
    #[serde(default, skip_serializing)]
    pub(super) cases: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    pub(super) axes: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    pub(super) variants: Option<IgnoredAny>,
}

/// Memory between passes.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Intermediate {
    pub id: String,
    pub dtype: String,
    pub shape: Value,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub zero_init: bool,
}

/// A dispatch.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "known keys that make no difference here")]
pub struct Pass {
    #[serde(rename = "$comment", default, skip_serializing)]
    pub(super) comment: IgnoredAny,
    #[serde(default)]
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A template's file.
    #[serde(default)]
    pub shader: String,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub derive: Ordered<Value>,
    /// In the order of their binding numbers.
    #[serde(default)]
    pub bindings: Vec<PassBinding>,
    #[serde(default)]
    pub dispatch: Dispatch,
    #[serde(default, skip_serializing)]
    pub(super) profile: IgnoredAny,
    #[serde(default, skip_serializing)]
    pub(super) subgroup_collectives_width: IgnoredAny,
    #[serde(default, skip_serializing)]
    pub(super) submit_after: IgnoredAny,
    #[serde(default, skip_serializing)]
    pub(super) view_alias: IgnoredAny,
    /// Only a group of passes has this.
    #[serde(default, skip_serializing)]
    pub(super) repeat: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    pub(super) passes: Option<IgnoredAny>,
}

/// What a pass binds: by a handle, a tensor's or an intermediate's name, or written out.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum PassBinding {
    Named(String),
    Entry(Box<Binding>),
}

/// A resource of a shader.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Binding {
    /// `read-only-storage`, `storage` or `uniform`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer: Option<String>,
    /// The variable's name in WGSL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The tensor, where it has another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arg: Option<String>,
    /// The intermediate, where it has another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scratch: Option<String>,
    /// A type of WGSL, or a derived value behind a `$`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub element_type: Option<String>,
    /// Elements of an array of fixed size: a number, or a derived value behind a `$`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub struct_name: Option<String>,
    #[serde(rename = "struct", skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<Field>>,
}

/// A number of a uniform struct.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Field {
    pub name: String,
    /// `u32`, `i32` or `f32`.
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    #[serde(rename = "default", skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Value>,
    #[serde(skip_serializing)]
    pub(super) required: IgnoredAny,
    #[serde(skip_serializing)]
    pub(super) internal: IgnoredAny,
}

/// The workgroups of a pass: a grid, or a number that is folded into one.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Dispatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub y: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub z: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workgroup_size: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workgroups: Option<Value>,
}

fn default_domain() -> String {
    DOMAIN.to_owned()
}

fn is_empty<T>(entries: &Ordered<T>) -> bool {
    entries.len() == 0
}

/// A value that may be null, told from one that is not there.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
