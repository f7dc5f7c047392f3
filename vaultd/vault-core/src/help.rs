//! `?help=1`: what there is below a mount, as text and as OpenAPI.

use crate::pipeline::Target;
use crate::sys::{self, Done};
use crate::token;
use serde_json::{Value, json};
use vault_logical::{Data, Error, PathHelp, Result};

/// The answer to a HELP of `rest` below a mount: `help`, `see_also` and `openapi` at top level.
///
/// # Errors
/// 404 when the mount has no such path.
pub fn help(target: &Target, rest: &str) -> Result<Done> {
    let (prefix, about, paths) = match target {
        Target::Sys => {
            ("sys/".to_string(), "The system mount: seal, keys, mounts, policies, audit.", sys::PATHS)
        }
        Target::Token => {
            ("auth/token/".into(), "The token auth method: create, lookup, renew, revoke.", token::PATHS)
        }
        Target::Mount(m) => {
            let d = m.engine.descriptor();
            (m.mount.path.clone(), d.description, d.paths)
        }
    };
    let rest = rest.trim_end_matches('/');
    let shown: Vec<&PathHelp> = paths.iter().filter(|p| rest.is_empty() || covers(p.pattern, rest)).collect();
    if shown.is_empty() && !rest.is_empty() {
        return Err(Error::unsupported_path());
    }
    let mut text = format!("{about}\n");
    for p in &shown {
        text.push_str(&format!("\n    {}\n        {}\n", p.pattern, p.summary));
    }
    let documented: Data = shown
        .iter()
        .map(|p| (format!("/{prefix}{}", braces(p.pattern)), json!({ "description": p.summary })))
        .collect();
    let bare = json!({
        "help": text,
        "see_also": Value::Array(Vec::new()),
        "openapi": {
            "openapi": "3.0.2",
            "info": { "title": "vaultd", "description": about, "version": env!("CARGO_PKG_VERSION") },
            "paths": documented,
        },
    });
    Ok(Done { bare: Some(bare), ..Done::default() })
}

/// `:name` stands for one segment, `:path` for all that follow.
fn covers(pattern: &str, path: &str) -> bool {
    let mut have = path.split('/');
    for want in pattern.trim_end_matches('/').split('/') {
        match have.next() {
            None => return false,
            Some(_) if want == ":path" => return true,
            Some(_) if want.starts_with(':') => {}
            Some(segment) if segment == want => {}
            Some(_) => return false,
        }
    }
    have.next().is_none()
}

/// `role/:name` as OpenAPI writes it: `role/{name}`.
fn braces(pattern: &str) -> String {
    let segment = |s: &str| s.strip_prefix(':').map_or(s.to_string(), |name| format!("{{{name}}}"));
    pattern.split('/').map(segment).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_their_paths() {
        for (pattern, path, want) in [
            ("config", "config", true),
            ("config", "config/x", false),
            ("role/:name", "role/a", true),
            ("role/:name", "role", false),
            ("role/:name", "role/a/b", false),
            ("data/:path", "data/a/b", true),
            ("data/:path", "data", false),
            (":path", "a/b", true),
            ("roles/", "roles", true),
        ] {
            assert_eq!(covers(pattern, path), want, "{pattern} {path}");
        }
        assert_eq!(braces("role/:name/x"), "role/{name}/x");
    }
}
