//! Walks over a secret's JSON: RFC 7396 merge patches, and its structure without values.

use crate::limits::KV_MAX_DEPTH;
use serde_json::Value;
use vault_logical::{Data, Error, Result};

/// Applies `change` to `target`: `null` removes, objects merge, anything else replaces.
pub(super) fn patch(target: &mut Data, change: &Data) -> Result<()> {
    merge(target, change, KV_MAX_DEPTH)
}

fn merge(target: &mut Data, change: &Data, depth: usize) -> Result<()> {
    let Some(depth) = depth.checked_sub(1) else { return Err(Error::invalid("patch is nested too deeply")) };
    for (name, value) in change {
        match value {
            Value::Null => {
                target.remove(name);
            }
            Value::Object(inner) => {
                let slot = target.entry(name.as_str()).or_insert(Value::Null);
                if !slot.is_object() {
                    *slot = Value::Object(Data::new());
                }
                if let Value::Object(below) = slot {
                    merge(below, inner, depth)?;
                }
            }
            _ => {
                target.insert(name.clone(), value.clone());
            }
        }
    }
    Ok(())
}

/// Every value replaced by `null`, objects that are not empty kept down to `depth` levels
/// (0 = all that are allowed).
pub(super) fn structure(data: Data, depth: usize) -> Data {
    let depth = if depth == 0 { KV_MAX_DEPTH } else { depth.min(KV_MAX_DEPTH) };
    strip(data, depth)
}

fn strip(data: Data, depth: usize) -> Data {
    let below = depth.saturating_sub(1);
    data.into_iter()
        .map(|(name, value)| match value {
            Value::Object(inner) if below > 0 && !inner.is_empty() => {
                (name, Value::Object(strip(inner, below)))
            }
            _ => (name, Value::Null),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn obj(v: Value) -> Data {
        v.as_object().cloned().unwrap()
    }

    /// RFC 7396, appendix A: the cases whose target and patch are objects.
    #[test]
    fn rfc_7396_vectors() {
        for (target, change, result) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            let mut t = obj(target);
            patch(&mut t, &obj(change)).unwrap();
            assert_eq!(Value::Object(t), result);
        }
    }

    #[test]
    fn depth_is_bounded() {
        let mut deep = json!({"a": 1});
        for _ in 0..KV_MAX_DEPTH {
            deep = json!({ "a": deep });
        }
        assert!(patch(&mut Data::new(), &obj(deep)).is_err());
    }

    #[test]
    fn structure_holds_no_value() {
        let d = obj(json!({"a": {"b": {"c": "secret"}, "e": {}}, "l": [{"x": "secret"}], "s": "secret"}));
        assert_eq!(
            Value::Object(structure(d.clone(), 0)),
            json!({"a": {"b": {"c": null}, "e": null}, "l": null, "s": null})
        );
        assert_eq!(Value::Object(structure(d.clone(), 1)), json!({"a": null, "l": null, "s": null}));
        assert_eq!(
            Value::Object(structure(d, 2)),
            json!({"a": {"b": null, "e": null}, "l": null, "s": null})
        );
    }
}
