//! Reading a JSON object field by field, so that a bad value is reported under its full name.
//!
//! A derived `Deserialize` with a flattened rest would buffer the object and lose the field's name in errors.

use serde::Deserialize;
use serde_json::Value;

use super::{Activation, Object};
use crate::error::{Error, Result};

/// The not yet consumed fields of one object of `config.json`.
pub(crate) struct Fields {
    object: Object,
    /// Path of the object within the file, ending in a dot unless it is the top (`text_config.`).
    prefix: String,
}

impl Fields {
    pub(crate) fn new(object: Object, prefix: impl Into<String>) -> Self {
        Self { object, prefix: prefix.into() }
    }

    /// Takes the field `name` out, or its default where the file does not have it.
    pub(crate) fn take<T: FieldValue>(&mut self, name: &str, default: impl FnOnce() -> T) -> Result<T> {
        match self.object.remove(name) {
            Some(value) => T::from_value(value, &format!("{}{name}", self.prefix)),
            None => Ok(default()),
        }
    }

    /// What no `take` asked for.
    pub(crate) fn rest(self) -> Object {
        self.object
    }
}

/// A type that a configuration field can have.
pub(crate) trait FieldValue: Sized {
    /// Converts `value`, or says why it cannot, calling the field by its `path`.
    fn from_value(value: Value, path: &str) -> Result<Self>;
}

/// The error about a value of the wrong type. Of a long value only the beginning is shown.
pub(crate) fn wrong_type(value: &Value, path: &str, expected: &str) -> Error {
    let shown: String = value.to_string().chars().take(60).collect();
    Error::config(format!("{path} = {shown}: must be {expected}"))
}

macro_rules! field_value_by_serde {
    ($($type:ty => $expected:literal),* $(,)?) => {$(
        impl FieldValue for $type {
            fn from_value(value: Value, path: &str) -> Result<Self> {
                Self::deserialize(&value).map_err(|_| wrong_type(&value, path, $expected))
            }
        }
    )*};
}

field_value_by_serde! {
    bool => "true or false",
    f64 => "a number",
    u32 => "a whole number from 0 to 4294967295",
    usize => "a whole number that is not negative",
    Option<u32> => "a whole number from 0 to 4294967295, or null",
    String => "a text",
    Vec<usize> => "a list of whole numbers that are not negative",
    Activation => "one of \"quick_gelu\", \"gelu\", \"gelu_new\", \"relu\", \"selu\"",
}

/// Declares a configuration: each field with its documentation, type and default in one place. Adds `extra` for
/// unknown keys, `Default`, and `from_fields`.
macro_rules! config_struct {
    (
        $(#[$struct_attribute:meta])*
        pub struct $name:ident {
            $( $(#[$field_attribute:meta])* pub $field:ident: $type:ty = $default:expr, )*
        }
    ) => {
        $(#[$struct_attribute])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        pub struct $name {
            $( $(#[$field_attribute])* pub $field: $type, )*
            /// Keys of the file that this crate does not know, kept so that `to_json` writes them back.
            #[serde(flatten)]
            pub extra: serde_json::Map<String, serde_json::Value>,
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* extra: serde_json::Map::new() }
            }
        }

        impl $name {
            fn from_fields(mut fields: $crate::config::fields::Fields) -> $crate::error::Result<Self> {
                Ok(Self {
                    $( $field: fields.take(stringify!($field), || $default)?, )*
                    extra: fields.rest(),
                })
            }

            /// The configuration as indented JSON, unknown keys included.
            pub fn to_json(&self) -> String {
                // Serialisation fails on keys that are not texts and on writers that fail; there are none here.
                serde_json::to_string_pretty(self).expect("a configuration has text keys alone")
            }
        }
    };
}
pub(crate) use config_struct;
