//! Listener and gateway blocks.

use super::reader::{Findings, Reader, of_kind};
use super::source::RawConfig;
use super::spelling::did_you_mean;
use super::{ListenerConfig, MetricsAccess, Problem, Timeouts};
use crate::limits as l;
use crate::listener::Bind;
use crate::tls::{MinVersion, TlsFiles};
use serde_json::Value;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use vault_logical::field;

/// The largest mode of a unix socket: never for everybody.
const MAX_SOCKET_MODE: u32 = 0o660;

pub(super) fn listeners<'a>(raw: &'a RawConfig, findings: &mut Findings<'a>) -> Vec<ListenerConfig> {
    let mut out = Vec::new();
    for section in of_kind(raw, "listener") {
        let mut r = Reader { section, findings };
        let one = match section.labels.first().map(String::as_str) {
            Some("tcp") => tcp(&mut r, "127.0.0.1:8200"),
            Some("unix") => unix(&mut r),
            other => {
                let message = format!(
                    "listener \"{}\" is not built: there are tcp and unix",
                    other.unwrap_or_default()
                );
                r.findings.problems.push(Problem::new(&section.file, message));
                None
            }
        };
        out.extend(one);
    }
    let file = raw.root.first().map(|s| s.file.clone()).unwrap_or_default();
    if of_kind(raw, "listener").next().is_none() {
        findings.problems.push(Problem::new(&file, "there is no listener block"));
    }
    if out.len() > l::MAX_LISTENERS {
        findings.problems.push(Problem::new(&file, "there are too many listener blocks"));
    }
    out
}

pub(super) fn gateway<'a>(raw: &'a RawConfig, findings: &mut Findings<'a>) -> Option<ListenerConfig> {
    let mut found = of_kind(raw, "gateway");
    let section = found.next()?;
    if let Some(second) = found.next() {
        findings.problems.push(Problem::new(&second.file, "there is more than one gateway block"));
    }
    tcp(&mut Reader { section, findings }, "127.0.0.1:8210")
}

fn tcp(r: &mut Reader<'_, '_>, default_address: &str) -> Option<ListenerConfig> {
    let text = r.string("address").unwrap_or_else(|| default_address.to_owned());
    let Some(address) = address(&text) else {
        r.problem("address", "must be an address and port like 127.0.0.1:8200");
        return None;
    };
    let tls = if r.boolean("tls_disable") { None } else { Some(tls_files(r)?) };
    Some(ListenerConfig {
        bind: Bind::Tcp(address),
        tls,
        timeouts: Timeouts {
            handshake: l::TLS_HANDSHAKE_DEADLINE,
            header: r.deadline("http_read_header_timeout", l::HEADER_READ_DEADLINE),
            body: r.deadline("http_read_timeout", l::BODY_READ_DEADLINE),
            request: r.deadline("max_request_duration", l::REQUEST_DEADLINE),
            write_stall: r.deadline("http_write_timeout", l::WRITE_STALL_DEADLINE),
            idle: r.deadline("http_idle_timeout", l::IDLE_DEADLINE),
        },
        max_request_bytes: request_size(r),
        metrics: metrics(r),
    })
}

/// `127.0.0.1:8200`, `[::1]:8200`, `localhost:8200`, `:8200` (every address).
fn address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Some(port) = text.strip_prefix(':') {
        return Some(SocketAddr::from(([0, 0, 0, 0], port.parse().ok()?)));
    }
    text.to_socket_addrs().ok()?.next()
}

fn tls_files(r: &mut Reader<'_, '_>) -> Option<TlsFiles> {
    let (cert, key) = (r.path("tls_cert_file"), r.path("tls_key_file"));
    let min_version = r.choice(
        "tls_min_version",
        &[("tls13", MinVersion::Tls13), ("tls12", MinVersion::Tls12)],
        MinVersion::Tls13,
    );
    r.choice("tls_max_version", &[("tls13", ())], ());
    let client_ca = r.path("tls_client_ca_file");
    let require_client_cert = r.boolean("tls_require_and_verify_client_cert");
    let no_client_certs = r.boolean("tls_disable_client_certs");
    if require_client_cert && (client_ca.is_none() || no_client_certs) {
        r.problem(
            "tls_require_and_verify_client_cert",
            "needs tls_client_ca_file, without tls_disable_client_certs",
        );
    }
    let (Some(cert), Some(key)) = (cert, key) else {
        r.problem("tls_cert_file", "and tls_key_file are needed, or tls_disable");
        return None;
    };
    let client_ca = client_ca.filter(|_| !no_client_certs);
    Some(TlsFiles { cert, key, client_ca, require_client_cert, min_version })
}

fn request_size(r: &mut Reader<'_, '_>) -> usize {
    let asked = r.value("max_request_size", field::unsigned).unwrap_or(l::DEFAULT_MAX_REQUEST_BYTES as u64);
    match usize::try_from(asked).ok().filter(|n| (1..=l::MAX_MAX_REQUEST_BYTES).contains(n)) {
        Some(n) => n,
        None => {
            r.problem(
                "max_request_size",
                &format!("must lie between 1 and {} bytes", l::MAX_MAX_REQUEST_BYTES),
            );
            l::DEFAULT_MAX_REQUEST_BYTES
        }
    }
}

/// The `telemetry` block of a listener.
fn metrics(r: &mut Reader<'_, '_>) -> MetricsAccess {
    const KEYS: [&str; 2] = ["unauthenticated_metrics_access", "disallow_metrics"];
    let block = match r.section.values.get("telemetry") {
        None | Some(Value::Null) => return MetricsAccess::Token,
        Some(Value::Object(block)) => block,
        Some(_) => {
            r.problem("telemetry", "must be one block");
            return MetricsAccess::Token;
        }
    };
    if let Some(other) = block.keys().find(|k| !KEYS.contains(&k.as_str())) {
        let meant = did_you_mean(other, KEYS);
        r.problem("telemetry", &format!("has an unknown key \"{other}\"{meant}"));
    }
    let mut on = |key| match field::boolean(block, key) {
        Ok(on) => on.unwrap_or(false),
        Err(_) => {
            r.problem("telemetry", &format!("must have true or false for {key}"));
            false
        }
    };
    match (on(KEYS[0]), on(KEYS[1])) {
        (_, true) => MetricsAccess::Refused,
        (true, false) => MetricsAccess::Open,
        (false, false) => MetricsAccess::Token,
    }
}

fn unix(r: &mut Reader<'_, '_>) -> Option<ListenerConfig> {
    let path = r.path("address").unwrap_or_else(|| PathBuf::from("/run/vaultd/vaultd.sock"));
    let text = r.string("socket_mode").or_else(|| r.string("mode")).unwrap_or_else(|| "0600".to_owned());
    let mode = u32::from_str_radix(&text, 8).ok().filter(|m| m & !MAX_SOCKET_MODE == 0);
    let Some(mode) = mode else {
        r.problem("socket_mode", "must be octal and grant nothing to others, like 0600 or 0660");
        return None;
    };
    Some(ListenerConfig {
        bind: Bind::Unix { path, mode },
        tls: None,
        timeouts: Timeouts::default(),
        max_request_bytes: request_size(r),
        metrics: metrics(r),
    })
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            handshake: l::TLS_HANDSHAKE_DEADLINE,
            header: l::HEADER_READ_DEADLINE,
            body: l::BODY_READ_DEADLINE,
            request: l::REQUEST_DEADLINE,
            write_stall: l::WRITE_STALL_DEADLINE,
            idle: l::IDLE_DEADLINE,
        }
    }
}
