//! What the audit is told of a request: one place that turns the pipeline's facts into records.

use crate::audit::{
    Audit, AuditError, Audited, Body, ClearKeys, Credential, Identity, IdentityHashes, IssuedEntry,
    MountEntry, Recorded, RequestEntry, ResponseEntry,
};
use crate::exchange::{Incoming, IssuedAuth, Verb};
use crate::pipeline::{Admitted, Finished, Target};
use crate::token::TokenEntry;
use arc_swap::ArcSwapOption;
use secmem::{ExposeSecret, SecretString};
use std::sync::Arc;
use vault_logical::{Error, Operation};

/// Everything a record needs, kept for the length of the request.
pub struct Facts<'a> {
    incoming: &'a Incoming,
    caller: Option<Arc<TokenEntry>>,
    operation: &'static str,
    mount: Option<Arc<crate::mounts::Mounted>>,
    builtin: Option<(&'static str, &'static str)>,
    granting: Vec<Arc<str>>,
    allowed: bool,
}

impl<'a> Facts<'a> {
    pub fn admitted(incoming: &'a Incoming, a: &Admitted) -> Self {
        let (mount, builtin) = match &a.target {
            Target::Mount(m) => (Some(m.clone()), None),
            Target::Sys => (None, Some(("sys/", "system"))),
            Target::Token => (None, Some(("auth/token/", "token"))),
        };
        Facts {
            incoming,
            caller: a.caller.clone(),
            operation: operation_name(incoming.verb, a.operation),
            mount,
            builtin,
            granting: a.decision.granting.to_vec(),
            allowed: true,
        }
    }

    pub fn refused(incoming: &'a Incoming, caller: Option<&Arc<TokenEntry>>, operation: Operation) -> Self {
        Facts {
            incoming,
            caller: caller.cloned(),
            operation: operation_name(incoming.verb, operation),
            mount: None,
            builtin: None,
            granting: Vec::new(),
            allowed: false,
        }
    }

    pub fn mount_type(&self) -> &str {
        match (&self.mount, self.builtin) {
            (Some(m), _) => &m.mount.type_name,
            (None, Some((_, t))) => t,
            (None, None) => "",
        }
    }

    /// Keyed hashes of the caller's token, from the token's cache entry when they are of the
    /// present set of devices.
    pub fn hashes(&self, audit: &Audit) -> Option<Arc<IdentityHashes>> {
        let caller = self.caller.as_ref()?;
        let token = self.incoming.token.as_ref()?;
        identity_hashes(audit, caller, token)
    }

    pub fn entry<'s>(
        &'s self,
        hashes: Option<&'s IdentityHashes>,
        error: Option<&'s str>,
    ) -> RequestEntry<'s> {
        let r = self.incoming;
        let mut e = RequestEntry::new(r.id, self.operation, &r.path);
        e.mount = self.mount_entry();
        e.credential = r.token.as_ref().map(|t| Credential {
            token: t.expose_secret(),
            accessor: self.caller.as_ref().map_or("", |c| &c.accessor),
            hashes,
        });
        e.identity = self.caller.as_ref().map(|c| Identity {
            display_name: &c.display_name,
            policies: &c.policies,
            token_policies: &c.policies,
            metadata: c.meta.as_ref(),
            token_ttl: c.ttl,
            token_issue_time: Some(c.created),
            num_uses: c.num_uses,
            allowed: self.allowed,
            granting_policies: &self.granting,
            ..Identity::default()
        });
        e.data = if r.data.is_empty() { Body::None } else { Body::Fields(&r.data) };
        e.clear = self.clear(|c| &c.audit_non_hmac_request_keys);
        e.remote = r.connection.remote;
        e.error = error;
        e
    }

    fn mount_entry(&self) -> Option<MountEntry<'_>> {
        if let Some((point, type_name)) = self.builtin {
            let class = if type_name == "token" { "auth" } else { "system" };
            return Some(MountEntry { point, type_name, accessor: "", class });
        }
        self.mount.as_ref().map(|m| MountEntry {
            point: &m.mount.path,
            type_name: &m.mount.type_name,
            accessor: &m.mount.accessor,
            class: if m.record.auth { "auth" } else { "secret" },
        })
    }

    fn clear<'s>(
        &'s self,
        keys: impl Fn(&'s vault_logical::MountConfig) -> &'s Vec<String>,
    ) -> ClearKeys<'s> {
        match &self.mount {
            Some(m) => ClearKeys { engine: m.engine.descriptor().audit_clear, mount: keys(&m.mount.config) },
            None => ClearKeys::default(),
        }
    }
}

fn operation_name(verb: Verb, operation: Operation) -> &'static str {
    if verb == Verb::Help { "help" } else { operation.as_str() }
}

/// Records the answer; only what this returns can be encoded.
// The error carries the outcome back, so that it can be undone: rare, and moved once.
#[allow(clippy::result_large_err)]
pub async fn response(
    audit: &Audit,
    audited: Audited,
    request: &RequestEntry<'_>,
    facts: &Facts<'_>,
    finished: Finished,
) -> Result<Recorded<Finished>, (AuditError, Finished)> {
    // The outcome is moved into the proof, so the record is made from a borrow of its parts
    // that ends before: hence the two steps.
    let proof = {
        let mut e = ResponseEntry::new(request);
        e.clear = facts.clear(|c| &c.audit_non_hmac_response_keys);
        match &finished.outcome {
            Ok(done) => {
                e.data = match (&done.bare, &done.response.raw, &done.response.data) {
                    (Some(serde_json::Value::Object(m)), _, _) => Body::Fields(m),
                    (_, Some(raw), _) => Body::Raw(&raw.body),
                    (_, _, Some(d)) => Body::Fields(d),
                    _ => Body::None,
                };
                e.auth = done.auth.as_ref().map(issued);
                e.warnings = &done.response.warnings;
            }
            Err(err) => e.error = Some(Error::message(err)),
        }
        audit.response(audited, &e, ()).await
    };
    match proof {
        Ok(recorded) => Ok(recorded.map(|()| finished)),
        Err((e, ())) => Err((e, finished)),
    }
}

fn issued(a: &IssuedAuth) -> IssuedEntry<'_> {
    IssuedEntry {
        client_token: a.client_token.expose_secret(),
        accessor: &a.accessor,
        display_name: "",
        policies: &a.policies,
        token_policies: &a.token_policies,
        metadata: Some(&a.metadata),
        entity_id: &a.entity_id,
        token_type: a.token_type,
        token_ttl: a.lease_duration,
        num_uses: a.num_uses,
    }
}

/// Keyed hashes of a token: kept with the token, made anew when the set of devices changes.
pub fn identity_hashes(
    audit: &Audit,
    caller: &TokenEntry,
    token: &SecretString,
) -> Option<Arc<IdentityHashes>> {
    let slot = caller.audit.get_or_init(|| Arc::new(ArcSwapOption::<IdentityHashes>::empty()));
    let slot = slot.downcast_ref::<ArcSwapOption<IdentityHashes>>()?;
    if let Some(h) = slot.load_full()
        && h.generation() == audit.generation()
    {
        return Some(h);
    }
    let fresh = Arc::new(audit.hash_identity(token.expose_secret(), &caller.accessor).ok()?);
    slot.store(Some(fresh.clone()));
    Some(fresh)
}
