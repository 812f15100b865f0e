//! JSON values that know their path in the file, for messages.

use clipseg_files::shown;
use serde_json::Value;

/// A value and its path in the file: `model.merges[3]`. A missing value is null.
pub(super) struct Field<'a> {
    path: String,
    pub value: &'a Value,
}

impl<'a> Field<'a> {
    pub fn root(value: &'a Value) -> Self {
        Self { path: String::new(), value }
    }

    /// The field of this name in an object.
    pub fn get(&self, name: &str) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { path, value: &self.value[name] }
    }

    /// The items of an array that may have at most `most` of them.
    pub fn items(&self, most: usize) -> Result<impl Iterator<Item = Field<'a>> + use<'a>, String> {
        let items = self.value.as_array().ok_or_else(|| self.wrong("an array"))?;
        if items.len() > most {
            return Err(format!(
                "{} has {} items; CLIP's tokenizers have at most {most}",
                self.path,
                items.len()
            ));
        }
        let path = self.path.clone();
        Ok(items.iter().enumerate().map(move |(at, value)| Field { path: format!("{path}[{at}]"), value }))
    }

    pub fn text(&self) -> Result<&'a str, String> {
        self.value.as_str().ok_or_else(|| self.wrong("a text"))
    }

    /// A boolean; `default` if it is missing.
    pub fn flag(&self, default: bool) -> Result<bool, String> {
        match self.value {
            Value::Null => Ok(default),
            Value::Bool(flag) => Ok(*flag),
            _ => Err(self.wrong("true or false")),
        }
    }

    /// Refuses the value unless it is one of `expected`, which are the values in CLIP's files. Null also
    /// stands for a missing value.
    pub fn check(&self, expected: &[Value]) -> Result<(), String> {
        if expected.contains(self.value) {
            return Ok(());
        }
        let expected: Vec<_> = expected.iter().map(Value::to_string).collect();
        Err(self.wrong(&format!("{}, as CLIP's tokenizers have it", expected.join(" or "))))
    }

    /// The `type` of an object.
    pub fn kind(&self) -> Result<&'a str, String> {
        self.get("type").text()
    }

    /// The message for a value that is not what it must be.
    pub fn wrong(&self, must: &str) -> String {
        let value = match self.value {
            Value::Null => "null".to_owned(),
            Value::Array(items) => format!("an array of {}", items.len()),
            Value::Object(fields) => format!("an object of {}", fields.len()),
            Value::String(text) => format!("{:?}", shown(text)),
            other => other.to_string(),
        };
        let path = if self.path.is_empty() { "the file" } else { &self.path };
        format!("{path} = {value}: must be {must}")
    }
}
