//! Reads a document strictly: what is not understood is refused, because a policy that is half
//! understood grants or denies something its author did not write.

use super::super::Rule;
use super::super::capability::{Caps, METHODS};
use super::super::pattern::Pattern;
use super::document::{Entry, Fault, Item, Value};
use crate::limits::MAX_POLICY_RULES;

/// How much of a name from the policy an error repeats.
const MAX_QUOTED_CHARS: usize = 80;

/// Attributes that exist in Vault or OpenBao and are not built here.
const NOT_BUILT: [&str; 10] = [
    "allowed_parameters",
    "denied_parameters",
    "required_parameters",
    "min_wrapping_ttl",
    "max_wrapping_ttl",
    "mfa_methods",
    "control_group",
    "pagination_limit",
    "expiration",
    "list_scan_response_keys_filter_path",
];

/// Reads the whole document.
pub(super) fn read(document: &Item) -> Result<Vec<Rule>, Fault> {
    let mut rules = Vec::new();
    for entry in maps(document, "a policy")? {
        match entry.key.as_str() {
            "path" => paths(entry, &mut rules)?,
            "name" | "id" => drop(text(entry)?),
            other => return Err(unknown(entry, other, "the policy")),
        }
    }
    Ok(rules)
}

fn paths(entry: &Entry, rules: &mut Vec<Rule>) -> Result<(), Fault> {
    let bare = |e: &Entry| e.key == "capabilities" && matches!(e.value.value, Value::List(_));
    if entry.assigned || matches!(&entry.value.value, Value::Map(m) if m.iter().any(bare)) {
        return Err(Fault::new(entry.at, "\"path\" needs the path in quotes: path \"secret/*\" { … }"));
    }
    for rule in maps(&entry.value, "\"path\"")? {
        if rules.len() == MAX_POLICY_RULES {
            return Err(Fault::new(rule.at, format!("more than {MAX_POLICY_RULES} rules")));
        }
        let pattern = Pattern::parse(&rule.key)
            .map_err(|why| Fault::new(rule.at, format!("path {}: {why}", quoted(&rule.key))))?;
        rules.push(Rule { caps: capabilities(rule)?, pattern });
    }
    Ok(())
}

/// The capabilities of one rule; `deny` among them leaves nothing else.
fn capabilities(rule: &Entry) -> Result<Caps, Fault> {
    let path = quoted(&rule.key);
    let path = path.as_str();
    let mut caps = Caps::NONE;
    let mut methods: Option<(Caps, &Entry)> = None;
    let mut seen: Vec<&str> = Vec::new();
    for entry in maps(&rule.value, "a rule")? {
        if seen.contains(&entry.key.as_str()) {
            return Err(Fault::new(entry.at, format!("path {path}: {} is given twice", quoted(&entry.key))));
        }
        match entry.key.as_str() {
            "capabilities" => {
                for (at, word) in words(entry)? {
                    caps |= Caps::named(word).ok_or_else(|| invalid(at, path, "capability", word))?;
                }
            }
            "policy" => {
                let word = text(entry)?;
                caps |= Caps::legacy(word).ok_or_else(|| invalid(entry.value.at, path, "policy", word))?;
            }
            "methods" => methods = Some((named_methods(entry, path)?, entry)),
            "comment" => drop(text(entry)?),
            other => return Err(unknown(entry, other, &format!("path {path}"))),
        }
        seen.push(&entry.key);
    }
    if let Some((only, entry)) = methods {
        if !caps.intersects(Caps::INVOKE) {
            let message = format!("path {path}: \"methods\" needs the capability \"invoke\"");
            return Err(Fault::new(entry.at, message));
        }
        // An empty list says as little as no list.
        if only != Caps::NONE {
            caps = caps.without(Caps::INVOKE) | only;
        }
    }
    Ok(if caps.is_deny() { Caps::DENY } else { caps })
}

fn named_methods(entry: &Entry, path: &str) -> Result<Caps, Fault> {
    let mut caps = Caps::NONE;
    for (at, word) in words(entry)? {
        if !METHODS.contains(&word) {
            let message = format!(
                "path {path}: unknown method {}, expected one of {}",
                quoted(word),
                METHODS.join(", ")
            );
            return Err(Fault::new(at, message));
        }
        caps |= Caps::invoke(Some(word));
    }
    Ok(caps)
}

/// Text of the policy for an error: escaped and cut short.
fn quoted(text: &str) -> String {
    let short: String = text.chars().take(MAX_QUOTED_CHARS).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{more}")
}

fn invalid(at: Option<usize>, path: &str, what: &str, word: &str) -> Fault {
    Fault::new(at, format!("path {path}: invalid {what} {}", quoted(word)))
}

fn unknown(entry: &Entry, key: &str, place: &str) -> Fault {
    let message = if NOT_BUILT.contains(&key) {
        format!("{place}: {} is not supported in this version", quoted(key))
    } else {
        format!("{place}: unknown attribute {}", quoted(key))
    };
    Fault::new(entry.at, message)
}

/// The entries of an object, or of a list of objects: the first HCL made no difference.
fn maps<'a>(item: &'a Item, what: &str) -> Result<Vec<&'a Entry>, Fault> {
    let objects = match &item.value {
        Value::List(items) => items.iter().collect(),
        _ => vec![item],
    };
    let mut entries = Vec::new();
    for object in objects {
        match &object.value {
            Value::Map(m) => entries.extend(m),
            other => {
                let message = format!("{what} must be an object, not {}", other.kind());
                return Err(Fault::new(object.at, message));
            }
        }
    }
    Ok(entries)
}

fn text(entry: &Entry) -> Result<&str, Fault> {
    match &entry.value.value {
        Value::Text(t) => Ok(t),
        other => {
            let message = format!("{:?} must be a string, not {}", entry.key, other.kind());
            Err(Fault::new(entry.value.at, message))
        }
    }
}

fn words(entry: &Entry) -> Result<Vec<(Option<usize>, &str)>, Fault> {
    let wrong = |item: &Item| {
        let message = format!("{:?} must be a list of strings, not {}", entry.key, item.value.kind());
        Fault::new(item.at, message)
    };
    let Value::List(items) = &entry.value.value else {
        return Err(wrong(&entry.value));
    };
    let mut words = Vec::with_capacity(items.len());
    for item in items {
        match &item.value {
            Value::Text(t) => words.push((item.at, t.as_str())),
            _ => return Err(wrong(item)),
        }
    }
    Ok(words)
}
