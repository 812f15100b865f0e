//! Reads a JSON object field by field, so that a bad value is reported under its full name.
//!
//! A derived `Deserialize` with a flattened `extra` would buffer the object and lose the field's name in
//! errors.

use serde::Deserialize;
use serde_json::Value;

use super::{Activation, Object};
use crate::error::{Error, Result};

/// The fields of one object of `config.json` that have not been taken yet.
pub(crate) struct Fields {
    object: Object,
    /// Path of the object within the file, ending in a dot (`text_config.`); empty for the top-level object.
    prefix: String,
}

impl Fields {
    pub(crate) fn new(object: Object, prefix: impl Into<String>) -> Self {
        Self { object, prefix: prefix.into() }
    }

    /// Takes out the field `name`, read as an `R`; its default if the file does not have it, or has null.
    pub(crate) fn take<T, R: FieldValue + Into<T>>(
        &mut self,
        name: &str,
        default: impl FnOnce() -> T,
    ) -> Result<T> {
        match self.object.remove(name) {
            None => Ok(default()),
            Some(Value::Null) if !R::HAS_NULL => Ok(default()),
            Some(value) => R::from_value(value, &format!("{}{name}", self.prefix)).map(Into::into),
        }
    }

    /// The fields that were never taken.
    pub(crate) fn rest(self) -> Object {
        self.object
    }
}

/// A type that a configuration field can have, or can be read as.
pub(crate) trait FieldValue: Sized {
    /// Whether null is a value of its own. For all other types null means the field's default, as in the
    /// files of transformers 5, which writes null for every setting that was not made.
    const HAS_NULL: bool = false;

    /// Converts `value`; the error names the field by its `path`.
    fn from_value(value: Value, path: &str) -> Result<Self>;
}

/// The error for a value of the wrong type. Only the beginning of a long value is shown.
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
    String => "a text",
    isize => "a whole number",
    Vec<isize> => "a list of whole numbers",
    Activation => "one of \"quick_gelu\", \"gelu\", \"gelu_new\", \"relu\", \"selu\"",
}

impl FieldValue for Option<u32> {
    const HAS_NULL: bool = true;

    fn from_value(value: Value, path: &str) -> Result<Self> {
        let expected = "a whole number from 0 to 4294967295, or null";
        Self::deserialize(&value).map_err(|_| wrong_type(&value, path, expected))
    }
}

/// Reads a field that transformers 5 declares as a number or a list of numbers, but uses as one number. A
/// list is accepted if all its entries are equal.
pub(crate) struct OneOrEqual<T>(T);

impl<T: FieldValue + PartialEq> OneOrEqual<T> {
    fn read(value: Value, path: &str, expected: &str) -> Result<T> {
        let Value::Array(list) = value else { return T::from_value(value, path) };
        let mut values =
            list.iter().map(|value| T::from_value(value.clone(), path)).collect::<Result<Vec<_>>>()?;
        let first = values.pop();
        first
            .filter(|first| values.iter().all(|other| other == first))
            .ok_or_else(|| wrong_type(&Value::Array(list), path, expected))
    }
}

/// The side of a square in pixels, also given as height and width.
impl FieldValue for OneOrEqual<usize> {
    fn from_value(value: Value, path: &str) -> Result<Self> {
        let expected =
            "one number, or a height and a width that are equal: CLIPSeg's images and patches are square";
        Self::read(value, path, expected).map(Self)
    }
}

/// The id of a token.
impl FieldValue for OneOrEqual<u32> {
    fn from_value(value: Value, path: &str) -> Result<Self> {
        let expected = "one id: transformers looks for a single one and fails on several";
        Self::read(value, path, expected).map(Self)
    }
}

impl From<OneOrEqual<usize>> for usize {
    fn from(side: OneOrEqual<usize>) -> Self {
        side.0
    }
}

impl From<OneOrEqual<u32>> for u32 {
    fn from(id: OneOrEqual<u32>) -> Self {
        id.0
    }
}

/// Declares a configuration: in one place, each field with its documentation, its type, the type it is read
/// as where that differs, and its default. Adds `extra` for unknown keys, `Default`, `from_fields` and
/// `to_json`.
macro_rules! config_struct {
    (
        $(#[$struct_attribute:meta])*
        pub struct $name:ident {
            $( $(#[$field_attribute:meta])* pub $field:ident: $type:ty $(as $read:ty)? = $default:expr, )*
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
            pub(crate) fn from_fields(mut fields: $crate::config::fields::Fields) -> $crate::error::Result<Self> {
                Ok(Self {
                    $( $field: {
                        type Read = $crate::config::fields::first_type!($($read,)? $type);
                        fields.take::<$type, Read>(stringify!($field), || $default)?
                    }, )*
                    extra: fields.rest(),
                })
            }

            /// The configuration as indented JSON, unknown keys included.
            pub fn to_json(&self) -> String {
                // Serialisation can fail only for keys that are not strings and for failing writers; there
                // are none here.
                serde_json::to_string_pretty(self).expect("a configuration has text keys alone")
            }
        }
    };
}
pub(crate) use config_struct;

macro_rules! first_type {
    ($first:ty $(, $rest:ty)?) => {
        $first
    };
}
pub(crate) use first_type;
