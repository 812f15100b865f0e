//! What expressions and templates see, and their evaluation: those of a stranger, so with bounds.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Object, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior, escape_formatter};

use super::functions;
use super::ordered::Ordered;

/// Instructions that an expression or a template may take. Real ones take thousands.
const FUEL: u64 = 2_000_000;
/// Bytes of a shader at most.
const LONGEST: usize = 1 << 20;
/// Workgroups on a side of a grid that every device runs.
pub const FOLD: u32 = 65_535;
/// Names that the language has itself.
const BUILT_IN: [&str; 11] =
    ["true", "false", "none", "True", "False", "None", "range", "loop", "namespace", "dict", "f16Ok"];

/// What a manifest may know of a device.
#[derive(Clone, Debug, Default)]
pub struct Device {
    /// WebGPU's names of features.
    pub features: Vec<&'static str>,
    /// WebGPU's names of limits.
    pub limits: Vec<(&'static str, f64)>,
    pub vendor: &'static str,
    /// Where there are subgroups, the least and the most lanes of one.
    pub lanes: Option<[u32; 2]>,
    pub is_software: bool,
}

impl Device {
    /// A limit's value.
    pub fn limit(&self, name: &str) -> Option<f64> {
        self.limits.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
    }

    fn value(&self) -> Value {
        let limits = self.limits.iter().map(|(name, value)| (*name, functions::of(*value)));
        let mut info = vec![
            ("vendor", Value::from(self.vendor)),
            ("architecture", Value::from("")),
            ("isFallbackAdapter", Value::from(self.is_software)),
        ];
        if let Some([least, most]) = self.lanes {
            info.extend([("subgroupMinSize", Value::from(least)), ("subgroupMaxSize", Value::from(most))]);
        }
        Value::from_pairs([
            ("features", Value::from_object(Names(self.features.clone()))),
            ("wgslLanguageFeatures", Value::from_object(Names(Vec::new()))),
            ("limits", Value::from_pairs(limits)),
            ("adapterInfo", Value::from_pairs(info)),
        ])
    }
}

/// A set of names, of which expressions ask `has("…")`.
#[derive(Debug)]
struct Names(Vec<&'static str>);

impl Object for Names {
    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        arguments: &[Value],
    ) -> Result<Value, Error> {
        match (method, arguments) {
            ("has", [name]) => Ok(name.as_str().is_some_and(|name| self.0.contains(&name)).into()),
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

/// Evaluates expressions and renders templates.
pub struct Engine(Environment<'static>);

impl Engine {
    pub fn new(device: &Device) -> Result<Self> {
        let mut environment = Environment::new();
        functions::add(&mut environment);
        let has_f16 = device.features.contains(&"shader-f16");
        environment.add_function("f16Ok", move |dtype: String| {
            has_f16 || !["f16", "float16"].contains(&dtype.as_str())
        });
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        // As the layout's own runtime prints them: WGSL's literals, and nothing for nothing.
        environment.set_formatter(|output, state, value| match value.kind() {
            ValueKind::Bool => {
                output.write_str(if value.is_true() { "true" } else { "false" }).map_err(Error::from)
            }
            ValueKind::None => Ok(()),
            _ => escape_formatter(output, state, value),
        });
        environment.set_fuel(Some(FUEL));
        Ok(Self(environment))
    }

    /// An expression's value.
    pub fn value(&self, expression: &str, scope: &Scope) -> Result<Value> {
        let in_it = || format!("in the expression `{}`", clipseg_files::shown(expression));
        let compiled =
            self.0.compile_expression_owned(expression.to_owned()).map_err(told).with_context(in_it)?;
        for name in compiled.undeclared_variables(false) {
            if let Some(reason) = scope.failed.get(&name) {
                return Err(anyhow!("{name} could not be computed: {reason}")).with_context(in_it);
            }
            let is_known = scope.names.contains_key(&name)
                || BUILT_IN.contains(&&*name)
                || functions::NAMES.contains(&&*name);
            ensure!(is_known, "{name} is not known there, {}", in_it());
        }
        let value = compiled.eval(scope.value()).map_err(told).with_context(in_it)?;
        Ok(functions::whole(value))
    }

    /// The value of what may be an expression, a number, or a list of such.
    pub fn json(&self, json: &serde_json::Value, scope: &Scope) -> Result<Value> {
        match json {
            serde_json::Value::String(expression) => self.value(expression, scope),
            serde_json::Value::Array(elements) => {
                elements.iter().map(|json| self.json(json, scope)).collect()
            }
            serde_json::Value::Object(entries) => {
                let entries = entries.iter().map(|(name, json)| Ok((name.clone(), self.json(json, scope)?)));
                Ok(Value::from_pairs(entries.collect::<Result<Vec<_>>>()?))
            }
            json => Ok(plain(json)),
        }
    }

    /// Whether an expression is exactly true.
    pub fn holds(&self, expression: &str, scope: &Scope) -> Result<bool> {
        let value = self.value(expression, scope)?;
        Ok(value.kind() == ValueKind::Bool && value.is_true())
    }

    /// A whole number from 0 on.
    pub fn count(&self, json: &serde_json::Value, scope: &Scope) -> Result<u64> {
        let value = self.json(json, scope)?;
        match value.as_i64().map(u64::try_from) {
            Some(Ok(count)) => Ok(count),
            _ => bail!("{json} comes to {value}, expected a whole number from 0 on"),
        }
    }

    /// A shape.
    pub fn shape(&self, json: &serde_json::Value, scope: &Scope) -> Result<Vec<usize>> {
        let value = self.json(json, scope)?;
        let sizes = || -> Option<Vec<usize>> {
            let sizes = value.try_iter().ok()?;
            sizes.map(|size| size.as_usize()).collect()
        };
        match value.kind() {
            ValueKind::Seq => sizes(),
            _ => value.as_usize().map(|size| vec![size]),
        }
        .with_context(|| format!("{json} comes to {value}, expected a shape"))
    }

    /// Adds what `derive` computes, in its order. One that fails is kept as such: it may be of a variant that
    /// is not taken.
    pub fn derive(&self, derive: &Ordered<serde_json::Value>, scope: &mut Scope) {
        for (name, json) in derive.iter() {
            match self.json(json, scope) {
                Ok(value) => scope.set(name, value),
                Err(error) => {
                    scope.names.remove(name);
                    scope.failed.insert(name.clone(), format!("{error:#}"));
                }
            }
        }
    }

    /// A template's text.
    pub fn render(&self, template: &str, scope: &Scope) -> Result<String> {
        let text = self.0.render_str(template, scope.value()).map_err(told)?;
        ensure!(text.len() <= LONGEST, "it makes a shader of {} bytes; {LONGEST} are the most", text.len());
        Ok(text)
    }
}

/// An error of the language with its place, without the text around it.
fn told(error: Error) -> anyhow::Error {
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    let line = error.line().filter(|_| error.name() != Some("<expression>"));
    let line = line.map(|line| format!(" in line {line}")).unwrap_or_default();
    anyhow!("{}{detail}{line}", error.kind())
}

/// A value of JSON that is not an expression.
pub fn plain(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(value) => (*value).into(),
        serde_json::Value::Number(number) => number.as_f64().map_or(Value::UNDEFINED, functions::of),
        serde_json::Value::String(text) => text.as_str().into(),
        serde_json::Value::Array(elements) => elements.iter().map(plain).collect(),
        serde_json::Value::Object(entries) => {
            Value::from_pairs(entries.iter().map(|(name, value)| (name.as_str(), plain(value))))
        }
    }
}

/// Names and their values.
#[derive(Clone, Default)]
pub struct Scope {
    names: BTreeMap<String, Value>,
    /// Derived values that could not be computed, and why.
    failed: BTreeMap<String, String>,
}

impl Scope {
    pub fn new(device: &Device) -> Self {
        let mut scope = Self::default();
        scope.set("device", device.value());
        scope.set("DISPATCH_FOLD_WIDTH", FOLD.into());
        for name in ["args", "repeat"] {
            scope.set(name, Value::from_pairs(Vec::<(String, Value)>::new()));
        }
        scope
    }

    pub fn set(&mut self, name: &str, value: Value) {
        self.failed.remove(name);
        self.names.insert(name.to_owned(), value);
    }

    /// Sets a name to an object.
    pub fn set_map<N: Into<String>>(&mut self, name: &str, entries: impl IntoIterator<Item = (N, Value)>) {
        let entries = entries.into_iter().map(|(name, value)| (name.into(), value));
        self.set(name, Value::from_pairs(entries.collect::<Vec<(String, Value)>>()));
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.names.get(name)
    }

    fn value(&self) -> Value {
        Value::from_pairs(self.names.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> Device {
        Device {
            features: vec!["subgroups"],
            limits: vec![("maxComputeWorkgroupSizeX", 256.0)],
            vendor: "intel",
            lanes: Some([8, 32]),
            is_software: false,
        }
    }

    fn scope() -> Scope {
        let mut scope = Scope::new(&device());
        scope.set_map("shapes", [("a", plain(&serde_json::json!([6, 8])))]);
        scope
    }

    #[test]
    fn devices_and_shapes_are_seen() {
        let (engine, scope) = (Engine::new(&device()).unwrap(), scope());
        for (expression, expected) in [
            ("device.features.has(\"subgroups\")", "True"),
            ("device.features.has(\"shader-f16\")", "False"),
            (
                "has(device.adapterInfo, \"subgroupMinSize\") and device.adapterInfo.subgroupMinSize >= 8",
                "True",
            ),
            ("device.limits.maxComputeWorkgroupSizeX / 2", "128"),
            ("ceilDiv(dim(shapes.a, 1), 3) if f16Ok(\"f32\") and not f16Ok(\"f16\") else 0", "3"),
            ("numel(shapes.a) / 4", "12"),
        ] {
            assert_eq!(engine.value(expression, &scope).unwrap().to_string(), expected, "{expression}");
        }
        assert!(engine.holds("1 == 1", &scope).unwrap() && !engine.holds("1", &scope).unwrap());
    }

    #[test]
    fn values_are_derived_in_order_and_failures_told_where_they_matter() {
        let (engine, mut scope) = (Engine::new(&device()).unwrap(), scope());
        let derive = serde_json::from_str(
            r#"{"z": "dim(shapes.a, 0)", "a": "z * 2", "list": ["z", 4, "\"x\""], "bad": "ceilDiv(1, 0)", "no": false}"#,
        );
        engine.derive(&derive.unwrap(), &mut scope);
        assert_eq!(engine.value("[a, list, no]", &scope).unwrap().to_string(), "[12, [6, 4, 'x'], False]");
        let error = format!("{:#}", engine.value("bad + 1", &scope).unwrap_err());
        assert!(error.contains("bad could not be computed") && error.contains("divided by zero"), "{error}");
    }

    #[test]
    fn what_is_not_known_is_told() {
        let (engine, scope) = (Engine::new(&device()).unwrap(), scope());
        for (expression, word) in [
            ("unknown + 1", "unknown is not known"),
            ("moveAxis(shapes.a, 0, 1)", "moveAxis is not known"),
            ("1 +", "syntax error"),
            ("device.features.get(1)", "unknown method"),
        ] {
            let error = format!("{:#}", engine.value(expression, &scope).unwrap_err());
            assert!(error.contains(word) && error.contains(expression), "{error}");
        }
        assert!(engine.count(&"0 - 1".into(), &scope).is_err());
        assert!(engine.shape(&"\"a\"".into(), &scope).is_err());
        assert_eq!(engine.shape(&"shapes.a".into(), &scope).unwrap(), [6, 8]);
    }

    #[test]
    fn a_template_that_does_not_end_is_broken_off() {
        let (engine, scope) = (Engine::new(&device()).unwrap(), scope());
        assert_eq!(
            engine.render("{% if shapes.a %}\n{{ dim(shapes.a, 0) }}u\n{% endif %}\nend", &scope).unwrap(),
            "6u\nend"
        );
        assert_eq!(
            engine.render("{{ 1 == 1 }} {{ none }}{{ unknown }}{{ 8 / 4 }}", &scope).unwrap(),
            "true 2.0"
        );
        let endless = "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}";
        assert!(engine.render(endless, &scope).is_err());
        let error = format!("{:#}", engine.render("\n{% bad %}", &scope).unwrap_err());
        assert!(error.contains("line 2"), "{error}");
    }
}
