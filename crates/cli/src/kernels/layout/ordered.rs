//! A JSON object whose entries stay in their order: in a manifest a value is computed from those before it.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// What the format calls a remark, in any object.
const COMMENT: &str = "$comment";

/// Names and what they stand for, each name once.
#[derive(Clone, Debug, PartialEq)]
pub struct Ordered<T>(Vec<(String, T)>);

impl<T> Ordered<T> {
    /// What a name stands for.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Deref for Ordered<T> {
    type Target = [(String, T)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T, N: Into<String>> FromIterator<(N, T)> for Ordered<T> {
    fn from_iter<I: IntoIterator<Item = (N, T)>>(entries: I) -> Self {
        Self(entries.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

impl<T: Serialize> Serialize for Ordered<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

struct Entries<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
    type Value = Ordered<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries: Vec<(String, T)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == COMMENT {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if entries.iter().any(|(own, _)| *own == name) {
                return Err(de::Error::custom(format_args!("the name {name:?} stands there twice")));
            }
            entries.push((name, map.next_value()?));
        }
        Ok(Ordered(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_order_and_remarks_are_passed_over() {
        let read: Ordered<u32> = serde_json::from_str(r#"{"b": 1, "$comment": "a", "a": 2}"#).unwrap();
        assert_eq!(read[..], [("b".to_owned(), 1), ("a".to_owned(), 2)]);
        assert_eq!((read.get("a"), read.get("c")), (Some(&2), None));
        assert_eq!(serde_json::to_string(&read).unwrap(), r#"{"b":1,"a":2}"#);
        let twice = serde_json::from_str::<Ordered<u32>>(r#"{"a": 1, "a": 2}"#);
        assert!(twice.unwrap_err().to_string().contains("twice"));
    }
}
