//! A call that is shown instead of sent: as a curl command, or as the policy that it needs.

use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use std::fmt::Write as _;
use vault_client::Preview;
use zeroize::Zeroizing;

/// Paths that need `sudo` besides the ordinary capability; a `*` ends a prefix.
/// <https://developer.hashicorp.com/vault/docs/concepts/policies#root-protected-api-endpoints>
const SUDO: &[&str] = &[
    "auth/token/accessors*",
    "auth/token/revoke-orphan",
    "sys/audit",
    "sys/audit/*",
    "sys/audit-hash/*",
    "sys/auth/*",
    "sys/config/*",
    "sys/generate-root/attempt",
    "sys/leases/lookup/*",
    "sys/leases/revoke-force/*",
    "sys/leases/revoke-prefix/*",
    "sys/raw*",
    "sys/rekey/*",
    "sys/remount",
    "sys/rotate*",
    "sys/seal",
];

/// Prints the call in the form that was asked for.
pub fn print(cx: &mut Context<'_>, call: &Preview) -> Outcome {
    let text = if cx.flags.output_policy { policy(call) } else { curl(cx, call)? };
    cx.io.out.write_all(text.as_bytes())?;
    Ok(OK)
}

fn policy(call: &Preview) -> Zeroizing<String> {
    let path = if call.list { format!("{}/", call.path.trim_end_matches('/')) } else { call.path.clone() };
    let mut capabilities = match (call.method.as_str(), call.list) {
        (_, true) => vec!["list"],
        ("GET" | "HEAD", _) => vec!["read"],
        ("DELETE", _) => vec!["delete"],
        ("PATCH", _) => vec!["patch"],
        _ => vec!["create", "update"],
    };
    let sudo = |p: &&str| p.strip_suffix('*').map_or(path == *p, |prefix| path.starts_with(prefix));
    if SUDO.iter().any(sudo) {
        capabilities.push("sudo");
    }
    Zeroizing::new(format!("path {path:?} {{\n  capabilities = {capabilities:?}\n}}\n"))
}

/// The token is left to be filled in by the shell: it does not belong in a history.
fn curl(cx: &Context<'_>, call: &Preview) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::with_capacity(call.body.len() * 2 + 1024));
    text.push_str("curl");
    if call.method != "GET" {
        let _ = write!(text, " -X {}", call.method);
    }
    for (option, value) in tls(cx) {
        let _ = write!(text, " {option}");
        quoted(&mut text, &value);
    }
    for (name, value) in &call.headers {
        text.push_str(" -H");
        quoted(&mut text, &format!("{name}: {value}"));
    }
    if call.token {
        text.push_str(" -H \"X-Vault-Token: $(vault-cli print token)\"");
    }
    if !call.body.is_empty() {
        text.push_str(" -d");
        let body = std::str::from_utf8(&call.body).map_err(|_| Failure::local("the body is not text"))?;
        quoted(&mut text, body);
    }
    quoted(&mut text, &call.url);
    text.push('\n');
    Ok(text)
}

/// How the server is reached, from flags and variables.
fn tls(cx: &Context<'_>) -> Vec<(&'static str, String)> {
    let file = |flag: &Option<std::path::PathBuf>, name: &str| {
        flag.as_ref().map(|p| p.display().to_string()).or_else(|| cx.io.var(name))
    };
    let f = &cx.flags;
    let mut out = Vec::new();
    let address = f.address.clone().or_else(|| cx.io.var("VAULT_ADDR")).unwrap_or_default();
    if let Some(socket) = address.strip_prefix("unix://") {
        out.push(("--unix-socket", socket.to_owned()));
    }
    for (option, value) in [
        ("--cacert", file(&f.ca_cert, "VAULT_CACERT")),
        ("--capath", file(&f.ca_path, "VAULT_CAPATH")),
        ("--cert", file(&f.client_cert, "VAULT_CLIENT_CERT")),
        ("--key", file(&f.client_key, "VAULT_CLIENT_KEY")),
    ] {
        out.extend(value.map(|v| (option, v)));
    }
    out
}

/// Adds a blank and the text as one word of a POSIX shell.
fn quoted(out: &mut Zeroizing<String>, text: &str) {
    out.push_str(" '");
    for c in text.chars() {
        match c {
            '\'' => out.push_str("'\\''"),
            c => out.push(c),
        }
    }
    out.push('\'');
}
