//! The records: Vault's audit JSON (`type` request and response, see the API's audit pages), and
//! our own types beside it: `completion`, `summary`, `sealed_attempt`.

use super::encode::Encoder;
use super::identity::DeviceHashes;
use super::proof::Ended;
use super::sealed::Repeated;
use super::source::Summary;
use super::{Credential, DeviceConfig, Identity, IssuedEntry, RequestEntry, ResponseEntry, WrapEntry};
use std::net::SocketAddr;
use vault_logical::{Outcome, RequestId, Timestamp};

/// The record of a request.
pub(super) fn request<'a>(
    config: &'a DeviceConfig,
    device: u64,
    time: Timestamp,
    entry: &RequestEntry<'a>,
) -> Encoder<'a> {
    let mut e = Encoder::new(config, "request", time);
    request_members(&mut e, device, entry);
    if let Some(call) = entry.call.filter(|c| c.status > 0) {
        e.object("completion", |e| {
            e.text("outcome", "refused");
            e.number("status", call.status.into());
        });
    }
    e.text_if("error", entry.error.unwrap_or_default());
    e
}

/// The record of an answer; the request is repeated in it, as in Vault.
pub(super) fn response<'a>(
    config: &'a DeviceConfig,
    device: u64,
    time: Timestamp,
    entry: &ResponseEntry<'a>,
) -> Encoder<'a> {
    let mut e = Encoder::new(config, "response", time);
    request_members(&mut e, device, entry.request);
    e.object("response", |e| {
        if let Some(issued) = entry.auth {
            e.object("auth", |e| issued_members(e, &issued));
        }
        if !entry.lease_id.is_empty() {
            e.object("secret", |e| e.text("lease_id", entry.lease_id));
        }
        let elide = config.elide_list_responses && entry.request.operation == "list";
        e.body(entry.data, entry.clear, elide);
        e.texts_if("warnings", entry.warnings);
        if let Some(wrap) = entry.wrap {
            e.object("wrap_info", |e| wrap_members(e, &wrap));
        }
        mount_members(e, entry.request);
        e.number_if("status", entry.status.into());
    });
    e.text_if("error", entry.error.unwrap_or_default());
    e
}

fn request_members<'a>(e: &mut Encoder<'a>, device: u64, entry: &RequestEntry<'a>) {
    let credential = entry.credential.unwrap_or_default();
    let known = credential.hashes.and_then(|h| h.of(device));
    if let Some(identity) = entry.identity {
        e.object("auth", |e| identity_members(e, &identity, &credential, known));
    }
    e.object("request", |e| {
        e.text("id", uuid_text(&entry.id, &mut [0; 36]));
        e.text("operation", entry.operation);
        mount_members(e, entry);
        e.token_if("client_token", credential.token, known);
        e.accessor_if("client_token_accessor", credential.accessor, known);
        let (id, path) = entry.namespace;
        e.object("namespace", |e| {
            e.text("id", id);
            e.text_if("path", path);
        });
        e.path("path", entry.path);
        e.body(entry.data, entry.clear, false);
        if let Some(call) = entry.call {
            e.text_if("method", call.method);
            e.text_if("user_agent", call.user_agent);
        }
        remote_members(e, entry.remote);
        e.number_if("wrap_ttl", entry.wrap_ttl.as_secs());
    });
}

fn mount_members(e: &mut Encoder<'_>, entry: &RequestEntry<'_>) {
    if let Some(mount) = entry.mount {
        e.text_if("mount_point", mount.point);
        e.text_if("mount_type", mount.type_name);
        e.text_if("mount_accessor", mount.accessor);
        e.text_if("mount_class", mount.class);
    }
}

fn remote_members(e: &mut Encoder<'_>, remote: Option<SocketAddr>) {
    if let Some(remote) = remote {
        e.text("remote_address", &remote.ip().to_canonical().to_string());
        e.number("remote_port", remote.port().into());
    }
}

fn identity_members<'a>(
    e: &mut Encoder<'a>,
    identity: &Identity<'a>,
    credential: &Credential<'a>,
    known: Option<&DeviceHashes>,
) {
    e.token_if("client_token", credential.token, known);
    e.accessor_if("accessor", credential.accessor, known);
    e.text_if("display_name", identity.display_name);
    e.text_if("subject", identity.subject);
    e.text_if("jwt_id", identity.jwt_id);
    e.texts_if("policies", identity.policies);
    e.texts_if("token_policies", identity.token_policies);
    e.texts_if("identity_policies", identity.identity_policies);
    e.object("policy_results", |e| {
        e.flag("allowed", identity.allowed);
        if !identity.granting_policies.is_empty() {
            e.array("granting_policies", |e| {
                for name in identity.granting_policies {
                    e.element(|e| {
                        e.text("name", name);
                        e.text("namespace_id", "root");
                        e.text("type", "acl");
                    });
                }
            });
        }
    });
    e.map_if("metadata", identity.metadata);
    e.text_if("entity_id", identity.entity_id);
    e.number_if("num_uses", identity.num_uses);
    e.number_if("remaining_uses", identity.remaining_uses);
    e.text_if("token_type", identity.token_type);
    e.number_if("token_ttl", identity.token_ttl.as_secs());
    if let Some(time) = identity.token_issue_time {
        e.text("token_issue_time", &time.rfc3339());
    }
}

fn issued_members<'a>(e: &mut Encoder<'a>, issued: &IssuedEntry<'a>) {
    e.token_if("client_token", issued.client_token, None);
    e.accessor_if("accessor", issued.accessor, None);
    e.text_if("display_name", issued.display_name);
    e.texts_if("policies", issued.policies);
    e.texts_if("token_policies", issued.token_policies);
    e.map_if("metadata", issued.metadata);
    e.text_if("entity_id", issued.entity_id);
    e.number_if("num_uses", issued.num_uses);
    e.text_if("token_type", issued.token_type);
    e.number_if("token_ttl", issued.token_ttl.as_secs());
}

fn wrap_members<'a>(e: &mut Encoder<'a>, wrap: &WrapEntry<'a>) {
    e.number("ttl", wrap.ttl.as_secs());
    e.token_if("token", wrap.token, None);
    e.accessor_if("accessor", wrap.accessor, None);
    if let Some(time) = wrap.creation_time {
        e.text("creation_time", &time.rfc3339());
    }
    if !wrap.creation_path.is_empty() {
        e.path("creation_path", wrap.creation_path);
    }
    e.accessor_if("wrapped_accessor", wrap.wrapped_accessor, None);
}

/// How a streamed answer ended.
pub(super) fn completion<'a>(config: &'a DeviceConfig, time: Timestamp, ended: &'a Ended) -> Encoder<'a> {
    let Ended { id, facts, completion: c, took } = ended;
    let mut e = Encoder::new(config, "completion", time);
    if let Some(f) = facts.as_deref() {
        e.object("auth", |e| {
            e.text_if("display_name", &f.display_name);
            e.text_if("subject", &f.subject);
            e.text_if("jwt_id", &f.jwt_id);
        });
    }
    e.object("request", |e| {
        e.text("id", uuid_text(id, &mut [0; 36]));
        if let Some(f) = facts.as_deref() {
            e.text("method", &f.method);
            e.path("path", &f.path);
            e.text_if("user_agent", &f.user_agent);
            remote_members(e, f.remote);
        }
    });
    e.object("completion", |e| {
        e.text(
            "outcome",
            match c.outcome {
                Outcome::Done => "done",
                Outcome::Refused => "refused",
                Outcome::Cut => "cut",
            },
        );
        e.number_if("status", c.status.into());
        e.number_if("upstream_status", c.upstream_status.into());
        e.number("duration_ms", u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        e.number("request_bytes", c.request_bytes);
        e.number("response_bytes", c.response_bytes);
        if let Some(version) = c.credential_version {
            e.number("credential_version", version);
        }
        e.number_if("redactions", c.redactions);
    });
    e.text_if("error", c.error.unwrap_or_default());
    e
}

/// Requests without a valid identity that were counted instead of recorded.
pub(super) fn summary<'a>(config: &'a DeviceConfig, time: Timestamp, s: &Summary) -> Encoder<'a> {
    let mut e = Encoder::new(config, "summary", time);
    e.text("since", &s.since.rfc3339());
    e.number("unauthenticated_requests", s.total);
    e.array("sources", |e| {
        for (address, count) in &s.sources {
            e.element(|e| {
                match address {
                    Some(ip) => e.text("remote_address", &ip.to_string()),
                    None => e.text("remote_address", "local"),
                }
                e.number("count", *count);
            });
        }
    });
    e.number_if("other_sources", s.other);
    e
}

/// An attempt made while sealed, with its repeats.
pub(super) fn sealed_attempt<'a>(config: &'a DeviceConfig, time: Timestamp, r: &Repeated) -> Encoder<'a> {
    let mut e = Encoder::new(config, "sealed_attempt", time);
    e.text("first", &r.attempt.time.rfc3339());
    e.text("last", &r.last.rfc3339());
    e.number("count", r.count);
    e.object("request", |e| {
        e.text("operation", r.attempt.operation);
        e.text("path", r.attempt.path);
        remote_members(e, r.attempt.remote);
    });
    e.text_if("error", r.attempt.error.unwrap_or_default());
    e
}

/// Attempts while sealed that had no room of their own.
pub(super) fn sealed_dropped<'a>(config: &'a DeviceConfig, time: Timestamp, count: u64) -> Encoder<'a> {
    let mut e = Encoder::new(config, "sealed_attempt", time);
    e.number("count", count);
    e.text("error", "not recorded one by one");
    e
}

fn uuid_text<'b>(id: &RequestId, buffer: &'b mut [u8; 36]) -> &'b str {
    id.hyphenated().encode_lower(buffer)
}
