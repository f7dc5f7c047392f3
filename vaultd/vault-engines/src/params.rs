//! What every endpoint does with its parameters: LIST pages, names, and Vault's warnings about
//! fields it does not know.

use vault_logical::limits::MAX_LIST_KEYS;
use vault_logical::{Data, Error, Response, Result, field};

/// Adds Vault's warnings about body fields: those the endpoint does not know, and those that the
/// path already fixes. The latter not to an empty answer: clients name a role in path and body
/// alike and expect 204.
pub(crate) fn check(mut response: Response, data: &Data, known: &[&str], captured: &[&str]) -> Response {
    // A query parameter that only says "this GET is a LIST" is not a field.
    let is_verb = |k: &str| matches!(k, "list" | "help");
    let join = |mut names: Vec<&str>| {
        names.sort_unstable();
        names.join(" ")
    };
    let keys = || data.keys().map(String::as_str);
    let ignored: Vec<_> =
        keys().filter(|k| !known.contains(k) && !captured.contains(k) && !is_verb(k)).collect();
    let replaced: Vec<_> = keys().filter(|k| captured.contains(k)).collect();
    if !ignored.is_empty() {
        response
            .warnings
            .push(format!("Endpoint ignored these unrecognized parameters: [{}]", join(ignored)));
    }
    if !replaced.is_empty() && response.data.is_some() {
        response.warnings.push(format!(
            "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [{}]",
            join(replaced)
        ));
    }
    response
}

/// Fields of a LIST.
pub(crate) const LIST_FIELDS: &[&str] = &["after", "limit"];

/// `after` and `limit` of a LIST; a limit of zero or below means all that one answer may hold.
pub(crate) fn page(data: &Data) -> Result<(Option<String>, usize)> {
    let after = field::string(data, "after")?.filter(|s| !s.is_empty());
    let limit = match field::string(data, "limit")? {
        None => MAX_LIST_KEYS,
        Some(s) => match s.trim().parse::<i64>() {
            Ok(n) if n <= 0 => MAX_LIST_KEYS,
            Ok(n) => usize::try_from(n).unwrap_or(MAX_LIST_KEYS).min(MAX_LIST_KEYS),
            Err(_) => return Err(Error::invalid("field \"limit\" must be an integer")),
        },
    };
    Ok((after, limit))
}

/// A folder's name for [`vault_logical::View::list`]: `""` or ending in `/`.
pub(crate) fn folder(prefix: &str, path: &str) -> String {
    let path = path.trim_end_matches('/');
    if path.is_empty() { prefix.to_string() } else { format!("{prefix}{path}/") }
}

/// True for a name made of letters, digits, `_`, `-`, `.` and `also`, that begins and ends with a
/// letter, digit or `_` (Vault's generic name).
pub(crate) fn is_name(name: &str, also: &[u8]) -> bool {
    let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let inner = |b: &u8| word(b) || matches!(b, b'-' | b'.') || also.contains(b);
    let b = name.as_bytes();
    b.first().is_some_and(word) && b.last().is_some_and(word) && b.iter().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn data(v: serde_json::Value) -> Data {
        v.as_object().cloned().unwrap()
    }

    #[test]
    fn warnings_read_like_vaults() {
        let r = check(
            Response::data(Data::new()),
            &data(json!({"zz": 1, "aa": 2, "ok": 3, "name": 4, "list": true})),
            &["ok"],
            &["name"],
        );
        assert_eq!(
            r.warnings,
            [
                "Endpoint ignored these unrecognized parameters: [aa zz]",
                "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [name]"
            ]
        );
        assert!(check(Response::empty(), &data(json!({"ok": 1})), &["ok"], &[]).warnings.is_empty());
        assert!(check(Response::empty(), &data(json!({"name": 1})), &[], &["name"]).warnings.is_empty());
    }

    #[test]
    fn pages() {
        assert_eq!(page(&data(json!({}))).unwrap(), (None, MAX_LIST_KEYS));
        assert_eq!(page(&data(json!({"after": "b", "limit": "2"}))).unwrap(), (Some("b".into()), 2));
        assert_eq!(page(&data(json!({"limit": -1}))).unwrap().1, MAX_LIST_KEYS);
        assert!(page(&data(json!({"limit": "x"}))).is_err());
    }

    #[test]
    fn names() {
        for ok in ["a", "a-b", "a.b_c", "A9", "_x"] {
            assert!(is_name(ok, b""), "{ok}");
        }
        for bad in ["", "-a", "a-", "a/b", "a b", ".", "a@b", "é"] {
            assert!(!is_name(bad, b""), "{bad}");
        }
        assert!(is_name("me@example.com", b"@"));
    }
}
