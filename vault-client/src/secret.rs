//! Values that are somebody's secret.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::fmt;
use vault_api::{Map, SecretString};
use zeroize::Zeroize;

/// The `data` of an answer: a JSON object that does not print its values and is wiped when
/// dropped. (The parser's own scratch memory is out of its reach.)
#[derive(Clone, Default)]
pub struct SecretMap(Map);

impl SecretMap {
    /// The string in a field, copied into a secret of its own.
    pub fn secret(&self, field: &str) -> Option<SecretString> {
        self.0.get(field).and_then(Value::as_str).map(SecretString::from)
    }

    /// The string in a field.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.0.get(field).and_then(Value::as_str)
    }

    /// Any field.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    /// Names of the fields, sorted.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Everything, in clear.
    pub fn expose(&self) -> &Map {
        &self.0
    }

    /// Reads the fields into a type of the caller's. What that type keeps is its own business; a
    /// member of type [`serde_json::Value`] takes objects that are named like that library's own
    /// markers for something else (`vault_api::json::member` does not).
    ///
    /// # Errors
    /// When the shape is another; the message names fields, never values.
    pub fn to<T: serde::de::DeserializeOwned>(&self) -> Result<T, ShapeError> {
        T::deserialize(&self.0).map_err(|_| ShapeError)
    }

    /// True without any field.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The answer has another shape than the caller's type.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the secret has another shape")]
pub struct ShapeError;

impl From<Map> for SecretMap {
    fn from(map: Map) -> Self {
        SecretMap(map)
    }
}

impl<'de> Deserialize<'de> for SecretMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        vault_api::json::member(deserializer).map(SecretMap)
    }
}

impl fmt::Debug for SecretMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.fields()).finish()
    }
}

impl Drop for SecretMap {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

/// Numbers are kept as their text (`arbitrary_precision`), which serde_json does not let us reach;
/// strings, where secrets are, are wiped.
fn wipe(value: &mut Value) {
    match value {
        Value::String(s) => s.zeroize(),
        Value::Array(a) => a.iter_mut().for_each(wipe),
        Value::Object(o) => o.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_do_not_print_and_are_read_by_name() {
        let m: SecretMap = serde_json::from_str(r#"{"password":"hunter2","n":{"x":["y"]},"i":7}"#).unwrap();
        assert_eq!(format!("{m:?}"), r#"{"i", "n", "password"}"#);
        assert_eq!((m.text("password"), m.text("i")), (Some("hunter2"), None));
        #[derive(Deserialize)]
        struct Shape {
            password: String,
            i: u8,
        }
        let s: Shape = m.to().unwrap();
        assert_eq!((s.password.as_str(), s.i), ("hunter2", 7));
        let e = m.to::<Vec<String>>().unwrap_err().to_string();
        assert!(!e.contains("hunter2"));
    }

    #[test]
    fn strings_at_every_depth_are_wiped() {
        let mut v: Value = serde_json::from_str(r#"{"a":["s",{"b":"t"}],"c":"u"}"#).unwrap();
        wipe(&mut v);
        assert_eq!(v.to_string(), r#"{"a":["",{"b":""}],"c":""}"#);
    }
}
