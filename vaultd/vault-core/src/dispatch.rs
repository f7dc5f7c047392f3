//! The gateway's way in: identify the caller, decide `invoke`, record the call, hand out the
//! provider's key as a handle into locked memory.

mod allow;
mod cache;
mod directory;

pub(crate) use allow::allowed;
pub use cache::InvokeCache;
pub use directory::Directories;

use crate::audit::{CallEntry, CallFacts, Credential, Identity, MountEntry, Opened, RequestEntry};
use crate::core::Core;
use crate::fault;
use crate::limits::{CREDENTIAL_TTL, GRANT_RECHECK, IDENTITY_TTL};
use crate::metrics::CallMeter;
use crate::mounts::Mounted;
use crate::pipeline::NoReader;
use crate::policy::{Decision, Query};
use crate::token::{TokenEntry, UseOutcome, login_name};
use crate::unsealed::Unsealed;
use crate::view::MountView;
use async_trait::async_trait;
use cache::{CachedCredential, CachedIdentity, SERVICES};
use directory::Named;
use secmem::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::sync::{Arc, Weak};
use std::time::Duration;
use vault_logical::{
    Auth, Binding, Call, CallerAuth, CallerAuthKind, Completion, Data, Dispatch, Error, ErrorKind, Grant,
    InvokeGuard, Operation, Over, RefusedCall, Result, ServiceConfig, Timestamp, ViewExt,
    limits::MAX_CREDENTIAL_BYTES, provider_key,
};

/// The in-process [`Dispatch`].
#[derive(Clone)]
pub struct LocalDispatch(pub Arc<Core>);

/// Who calls: a vault token, or the holder of a JWT for the length of this call.
enum Who {
    Token(Arc<TokenEntry>),
    Jwt { auth: Arc<Auth>, policies: Vec<String>, method: Arc<Mounted> },
}

/// One decision, with the very configuration that it was made on.
struct Decided {
    who: Who,
    decision: Decision,
    service: Arc<ServiceConfig>,
    epoch: u64,
}

/// What a recorded call is given.
struct Parts {
    caller_id: String,
    credential: CachedCredential,
    /// It was the token's last use.
    spent: bool,
}

impl Who {
    fn policies(&self) -> &[String] {
        match self {
            Who::Token(t) => &t.policies,
            Who::Jwt { policies, .. } => policies,
        }
    }
    fn stake(self, spent: bool) -> Stake {
        match self {
            Who::Token(entry) => Stake::Token { entry, spent },
            Who::Jwt { auth, method, .. } => Stake::Jwt { expires: auth.expires, method },
        }
    }
    fn display_name(&self) -> &str {
        match self {
            Who::Token(t) => &t.display_name,
            Who::Jwt { auth, .. } => &auth.display_name,
        }
    }
    /// The `sub` of a JWT; empty for a token.
    fn subject(&self) -> &str {
        match self {
            Who::Token(_) => "",
            Who::Jwt { auth, .. } => auth.subject.as_deref().unwrap_or_default(),
        }
    }
    /// The `jti` of a JWT, where it has one.
    fn jwt_id(&self) -> &str {
        match self {
            Who::Token(_) => "",
            Who::Jwt { auth, .. } => auth.token_id.as_deref().unwrap_or_default(),
        }
    }
}

/// A login's subject: the same for its JWT and for every token that it is given.
fn subject(method: &str, name: &str) -> String {
    format!("login:{method}:{name}")
}

/// Names the holder of a token in rate limits. Not by accessor where it comes from a login:
/// whoever logs in again is still the same caller.
fn holder(t: &TokenEntry) -> String {
    match t.path.strip_suffix("login") {
        Some(method) if !t.path.starts_with("auth/token/") => subject(method, &t.display_name),
        _ => format!("token:{}", t.accessor),
    }
}

/// What the right to a call under way hangs on.
enum Stake {
    Token { entry: Arc<TokenEntry>, spent: bool },
    Jwt { expires: Option<Timestamp>, method: Arc<Mounted> },
}

impl Stake {
    fn expires(&self) -> Option<Timestamp> {
        match self {
            Stake::Token { entry, .. } => entry.expires,
            Stake::Jwt { expires, .. } => *expires,
        }
    }

    async fn stands(&self, core: &Unsealed) -> bool {
        match self {
            // Storage that cannot tell is no reason to cut a stream; it will be asked again.
            Stake::Token { entry, spent } => core.tokens.outlives(entry, *spent).await.unwrap_or(true),
            Stake::Jwt { expires, method } => {
                expires.is_none_or(|at| core.clock.now() < at)
                    && core.mounts.at(&method.mount.path).is_some_and(|m| m.mount.uuid == method.mount.uuid)
            }
        }
    }
}

/// Resolves when what it was granted on is over, looked at from time to time: a stream must not
/// outlive its caller's right to it.
fn over(core: Weak<Unsealed>, stake: Stake) -> Over {
    Box::pin(async move {
        loop {
            let Some(now) = core.upgrade().map(|c| c.clock.now()) else { return };
            let left = stake.expires().map_or(GRANT_RECHECK, |at| now.until(at));
            // Never at once again: a clock that stands still must not make this spin.
            tokio::time::sleep(left.clamp(Duration::from_millis(1), GRANT_RECHECK)).await;
            let Some(core) = core.upgrade() else { return };
            if core.mounts.refresh().await.is_err() || !stake.stands(&core).await {
                return;
            }
        }
    })
}

#[async_trait]
impl Dispatch for LocalDispatch {
    async fn service(&self, mount: &str, service: &str) -> Result<Option<Arc<ServiceConfig>>> {
        let core = self.0.unsealed().ok_or_else(fault::sealed)?;
        core.mounts.refresh().await?;
        let Some(m) = gateway_mount(&core, mount) else { return Ok(None) };
        Ok(core.named(&m, service).await?.map(|named| named.config))
    }

    async fn authorize(&self, call: Call) -> Result<Grant> {
        let core = self.0.unsealed().ok_or_else(fault::sealed)?;
        core.mounts.refresh().await?;
        core.authorize(call).await
    }

    async fn refuse(&self, call: RefusedCall<'_>) -> Result<()> {
        let core = self.0.unsealed().ok_or_else(fault::sealed)?;
        let mut entry = RequestEntry::new(call.request_id, Operation::Invoke.as_str(), call.path);
        entry.remote = call.connection.remote;
        entry.call =
            Some(CallEntry { method: call.method, user_agent: call.user_agent, status: call.status });
        entry.error = Some(call.reason);
        core.collector.metrics.calls.refused(call.reason);
        let _proof = core.audit.request(&entry).await?;
        Ok(())
    }
}

fn gateway_mount(core: &Unsealed, path: &str) -> Option<Arc<Mounted>> {
    core.mounts.at(path).filter(|m| m.mount.type_name == "gateway")
}

/// A service as it is configured; `None`: no such mount or service.
pub(crate) async fn configured(
    core: &Unsealed,
    mount: &str,
    name: &str,
) -> Result<Option<Arc<ServiceConfig>>> {
    let Some(m) = gateway_mount(core, mount) else { return Ok(None) };
    Ok(core.service(&m, name).await?.map(|(config, _)| config))
}

impl Unsealed {
    async fn service(&self, m: &Mounted, name: &str) -> Result<Option<(Arc<ServiceConfig>, u64)>> {
        let uuid = m.mount.uuid;
        if let Some(found) = self.invoke.service(uuid, name) {
            return Ok(Some(found));
        }
        let fill = self.invoke.fill(uuid);
        let mut txn = self.store.begin();
        let mut view = MountView::new(&mut txn, m.space);
        let Some(config) = view.get_json::<ServiceConfig>(&format!("{SERVICES}{name}")).await? else {
            return Ok(None);
        };
        let config = Arc::new(config);
        let epoch = self.invoke.keep_service(&fill, name, config.clone());
        Ok(Some((config, epoch)))
    }

    async fn authorize(self: &Arc<Self>, call: Call) -> Result<Grant> {
        let path = format!("{}proxy/{}{}", call.mount, call.service, call.path);
        let Decided { who, decision, service, epoch } = match self.decide_invoke(&call, &path).await {
            Ok(x) => x,
            Err((who, e)) => {
                self.record_refusal(&call, &path, who.as_ref(), &e).await?;
                return Err(e);
            }
        };
        let audited = self.audit.request(&entry(&call, &path, Some(&who), Ok(&decision))).await?;
        // From here on the call is on record; what fails is recorded as its completion.
        let opened = self.audit.open(audited)?.about(facts(&call, path, &who));
        match self.grant_parts(&who, &call, &service).await {
            Ok(Parts { caller_id, credential, spent }) => Ok(Grant {
                caller_id,
                credential: credential.key,
                credential_version: credential.version,
                config_epoch: (epoch, credential.epoch),
                over: over(Arc::downgrade(self), who.stake(spent)),
                service,
                guard: Box::new(Guard {
                    opened,
                    meter: self.collector.metrics.calls.begin(&call.service, call.started),
                }),
            }),
            Err(e) => {
                let completion = Completion {
                    outcome: vault_logical::Outcome::Refused,
                    status: e.kind().call_status(),
                    error: Some(match e.kind() {
                        ErrorKind::Unauthenticated => "invalid_credential",
                        _ => "no_credential",
                    }),
                    ..Completion::default()
                };
                self.collector.metrics.calls.begin(&call.service, call.started).ended(&completion);
                opened.complete(&completion);
                Err(e)
            }
        }
    }

    /// Who is counted for the call: the login's subject, else the topmost token below root whose
    /// policies reach the service. So a child is counted with its parent, and apps that one
    /// administrator provisioned are counted each by itself.
    async fn caller_id(&self, who: &Who, call: &Call) -> Result<String> {
        match who {
            Who::Jwt { auth, method, .. } => {
                Ok(subject(&method.mount.path, &login_name(auth, &method.mount)))
            }
            Who::Token(t) => {
                let folder = format!("{}proxy/{}/", call.mount, call.service);
                for parent in self.tokens.parents(t).await?.iter().rev().filter(|p| !p.root) {
                    if self.policies.acl(&parent.policies).await?.invokes_below(&folder) {
                        return Ok(holder(parent));
                    }
                }
                Ok(holder(t))
            }
        }
    }

    async fn found_service(&self, call: &Call) -> Result<Named> {
        let unknown = || Error::new(ErrorKind::NotFound, "no such service");
        let m = gateway_mount(self, &call.mount).ok_or_else(unknown)?;
        self.named(&m, &call.service).await?.ok_or_else(unknown)
    }

    /// Everything that is decided before the record: the caller, the policy, the allow-list.
    async fn decide_invoke(&self, call: &Call, path: &str) -> Result<Decided, (Option<Who>, Error)> {
        let found = self.found_service(call).await.map_err(|e| (None, e))?;
        let Named { config: service, epoch, exists } = found;
        let who = self.identify(call, &service).await.map_err(|e| (None, e))?;
        let refuse = |who, text: &'static str| (Some(who), Error::new(ErrorKind::PermissionDenied, text));
        // An administrator's token must not be what an app carries around.
        if who.policies().iter().any(|p| p == "root") {
            return Err(refuse(who, "root tokens are refused on the data plane"));
        }
        let acl = match self.policies.acl(who.policies()).await {
            Ok(acl) => acl,
            Err(e) => return Err((Some(who), e)),
        };
        let query = Query { operation: Operation::Invoke, path, sudo: false, method: Some(&call.method) };
        let decision = acl.check(&query);
        if !decision.allowed {
            return Err(refuse(who, "permission denied"));
        }
        // Said only to those who may use it if it were there.
        if !exists {
            return Err((Some(who), Error::new(ErrorKind::NotFound, "no such service")));
        }
        if !allowed(&service.allow, &call.method, &call.path) {
            return Err(refuse(who, "method and path are not on the service's allow-list"));
        }
        Ok(Decided { who, decision, service, epoch })
    }

    async fn record_refusal(&self, call: &Call, path: &str, who: Option<&Who>, e: &Error) -> Result<()> {
        self.collector.metrics.calls.refused(match e.kind() {
            ErrorKind::Unauthenticated => "invalid_credential",
            ErrorKind::PermissionDenied => "forbidden",
            ErrorKind::NotFound => "no_such_service",
            ErrorKind::Unavailable => "unavailable",
            _ => "other",
        });
        let _proof = self.audit.request(&entry(call, path, who, Err(e))).await?;
        Ok(())
    }

    /// The credential's kind is told by its shape; no second kind is tried.
    async fn identify(&self, call: &Call, service: &ServiceConfig) -> Result<Who> {
        let text = call.credential.0.expose_secret();
        let kind =
            shape(text).ok_or_else(|| refused("it has neither the form of a vault token nor of a JWT"))?;
        let auth = service.auth.iter().find(|a| a.kind == kind).ok_or_else(|| {
            refused(match kind {
                CallerAuthKind::Token => "it is a vault token, and the service's \"auth\" takes none",
                CallerAuthKind::Jwt => "it is a JWT, and the service's \"auth\" takes none",
            })
        })?;
        match kind {
            CallerAuthKind::Token => {
                let token = self.tokens.lookup(text).await?;
                let token = token.ok_or_else(|| refused("the vault token is unknown, revoked or expired"))?;
                Ok(Who::Token(token))
            }
            CallerAuthKind::Jwt => self.identify_jwt(text, auth).await,
        }
    }

    async fn identify_jwt(&self, jwt: &str, auth: &CallerAuth) -> Result<Who> {
        let path = format!("auth/{}/", auth.mount.as_deref().unwrap_or("jwt").trim_matches('/'));
        let m = self.mounts.at(&path).ok_or_else(|| refused("the service's login method is not mounted"))?;
        let now = self.clock.now();
        let key = identity_key(jwt, &m, auth.role.as_deref());
        let uuid = m.mount.uuid;
        let method = m.engine.auth_method();
        let method = method.ok_or_else(|| refused("the service's login method takes no JWT"))?;
        let epoch = method.epoch();
        let cached = self.invoke.identity(uuid, &key, now).filter(|i| i.epoch == epoch);
        let identity = match cached {
            Some(i) => i,
            None => {
                let fill = self.invoke.fill(uuid);
                self.warm(&m).await?;
                method.prepare_identify(jwt).await?;
                let mut txn = self.store.begin();
                let mut view = MountView::new(&mut txn, m.space);
                let found = method
                    .identify(&mut self.context(&mut view, &m, &NoReader), jwt, auth.role.as_deref())
                    .await
                    .map_err(|e| match e.kind() {
                        ErrorKind::InvalidRequest | ErrorKind::PermissionDenied => {
                            unauthenticated().with_source(e)
                        }
                        // The provider of identities, not the service's upstream.
                        ErrorKind::Upstream => {
                            let text = "the caller's credential cannot be checked now";
                            Error::new(ErrorKind::Unavailable, text).with_source(e)
                        }
                        _ => e,
                    })?;
                let until = now.plus(IDENTITY_TTL).min(found.expires.unwrap_or(now));
                let identity = CachedIdentity { auth: Arc::new(found), until, epoch };
                self.invoke.keep_identity(&fill, key, identity.clone());
                identity
            }
        };
        let mut policies = identity.auth.policies.clone();
        if !identity.auth.no_default_policy && !policies.iter().any(|p| p == "default") {
            policies.push("default".into());
        }
        policies.sort();
        Ok(Who::Jwt { auth: identity.auth, policies, method: m })
    }

    /// What is done only for a recorded call: the token's use is counted, the key fetched.
    async fn grant_parts(&self, who: &Who, call: &Call, service: &ServiceConfig) -> Result<Parts> {
        let caller_id = self.caller_id(who, call).await?;
        let mut spent = false;
        if let Who::Token(t) = who {
            match self.tokens.charge_use(t).await? {
                UseOutcome::Unlimited | UseOutcome::Left(_) => {}
                UseOutcome::Last => {
                    self.tokens.end_last_use(t).await?;
                    spent = true;
                }
                UseOutcome::Exhausted => return Err(refused("the vault token has no use left")),
            }
        }
        Ok(Parts { caller_id, credential: self.credential(&service.credential).await?, spent })
    }

    /// The provider's key, from the arena when it was read before and nothing changed since.
    pub(crate) async fn credential(&self, binding: &Binding) -> Result<CachedCredential> {
        let now = self.clock.now();
        let missing = || Error::new(ErrorKind::Upstream, "the service's credential is missing in the vault");
        let (m, rest) = self.mounts.route(&binding.path).ok_or_else(missing)?;
        if let Some(c) = self.invoke.credential(m.mount.uuid, binding, now) {
            return Ok(c);
        }
        let fill = self.invoke.fill(m.mount.uuid);
        let (response, looked_at) = self
            .read_secret(&m, rest, binding.version)
            .await
            .map_err(|e| if e.kind() == ErrorKind::NotFound { missing() } else { e })?;
        let (value, version) = pick(response.data.as_ref(), &m, &binding.field).ok_or_else(missing)?;
        let value = provider_key::trimmed(value);
        if value.is_empty() || value.len() > MAX_CREDENTIAL_BYTES {
            return Err(missing());
        }
        let key = self.arena.from_slice(value.as_bytes()).map_err(|e| {
            Error::new(ErrorKind::Unavailable, "no locked memory left for the credential").with_source(e)
        })?;
        let until =
            now.plus(CREDENTIAL_TTL).min(ends(response.data.as_ref()).unwrap_or(now.plus(CREDENTIAL_TTL)));
        Ok(self.invoke.keep_credential(&fill, binding, key, version, until, looked_at))
    }

    /// What a binding points at, for the check that it can be masked: `None` where nothing is.
    pub(crate) async fn bound_text(&self, binding: &Binding) -> Result<Option<SecretString>> {
        let Some((m, rest)) = self.mounts.route(&binding.path) else { return Ok(None) };
        match self.read_secret(&m, rest, binding.version).await {
            Ok((r, _)) => {
                Ok(pick(r.data.as_ref(), &m, &binding.field).map(|(text, _)| text.to_string().into()))
            }
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::UnsupportedPath) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

fn unauthenticated() -> Error {
    Error::new(ErrorKind::Unauthenticated, "the caller's credential was refused")
}

/// The same to the caller, with the reason for the operator's log.
fn refused(why: &'static str) -> Error {
    unauthenticated().with_source(why)
}

/// The field's text and the secret's version, from a KV v1 or v2 answer.
fn pick<'d>(data: Option<&'d Data>, m: &Mounted, field: &str) -> Option<(&'d str, u64)> {
    let data = data?;
    if m.mount.options.get("version").is_some_and(|v| v == "2") {
        let version = data.get("metadata")?.get("version")?.as_u64()?;
        return Some((data.get("data")?.get(field)?.as_str()?, version));
    }
    Some((data.get(field)?.as_str()?, 0))
}

/// When KV v2 will have this version deleted by itself.
fn ends(data: Option<&Data>) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(data?.get("metadata")?.get("deletion_time")?.as_str()?)
}

/// What kind of credential a text is, by its form alone.
fn shape(text: &str) -> Option<CallerAuthKind> {
    if ["hvs.", "hvb.", "s.", "b."].iter().any(|p| text.starts_with(p)) {
        return Some(CallerAuthKind::Token);
    }
    let segment =
        |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let mut parts = text.split('.');
    let three = [parts.next(), parts.next(), parts.next()];
    (parts.next().is_none() && three.iter().all(|p| p.is_some_and(segment))).then_some(CallerAuthKind::Jwt)
}

/// The full token, its mount and its role: nothing shorter tells two callers apart.
fn identity_key(jwt: &str, m: &Mounted, role: Option<&str>) -> [u8; 32] {
    let mut h = Sha256::new();
    for part in [jwt.as_bytes(), m.mount.uuid.as_bytes(), role.unwrap_or("").as_bytes()] {
        h.update((part.len() as u64).to_be_bytes());
        h.update(part);
    }
    h.finalize().into()
}

fn entry<'a>(
    call: &'a Call,
    path: &'a str,
    who: Option<&'a Who>,
    decision: Result<&'a Decision, &'a Error>,
) -> RequestEntry<'a> {
    let mut e = RequestEntry::new(call.request_id, Operation::Invoke.as_str(), path);
    e.mount = Some(MountEntry { point: &call.mount, type_name: "gateway", accessor: "", class: "secret" });
    e.credential = Some(Credential {
        token: call.credential.0.expose_secret(),
        accessor: match who {
            Some(Who::Token(t)) => &t.accessor,
            _ => "",
        },
        hashes: None,
    });
    e.identity = who.map(|w| Identity {
        display_name: w.display_name(),
        subject: w.subject(),
        jwt_id: w.jwt_id(),
        policies: w.policies(),
        token_policies: w.policies(),
        metadata: match w {
            Who::Token(t) => t.meta.as_ref(),
            Who::Jwt { auth, .. } => Some(&auth.metadata),
        },
        token_type: match w {
            Who::Token(_) => "service",
            Who::Jwt { .. } => "inline",
        },
        allowed: decision.is_ok(),
        granting_policies: decision.map_or(&[], |d| &d.granting),
        ..Identity::default()
    });
    e.remote = call.connection.remote;
    e.call = Some(CallEntry {
        method: &call.method,
        user_agent: &call.user_agent,
        status: decision.err().map_or(0, |e| e.kind().call_status()),
    });
    e.error = decision.err().map(Error::message);
    e
}

fn facts(call: &Call, path: String, who: &Who) -> CallFacts {
    CallFacts {
        started: call.started,
        method: call.method.clone(),
        path,
        user_agent: call.user_agent.clone(),
        remote: call.connection.remote,
        display_name: who.display_name().to_string(),
        subject: who.subject().to_string(),
        jwt_id: who.jwt_id().to_string(),
    }
}

/// Writes the completion record when the call ends, is cut or is dropped.
struct Guard {
    opened: Opened,
    meter: CallMeter,
}

impl InvokeGuard for Guard {
    fn complete(&self, completion: Completion) {
        self.meter.ended(&completion);
        self.opened.complete(&completion);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_tells_the_kind() {
        assert_eq!(shape("hvs.CAESIJ"), Some(CallerAuthKind::Token));
        assert_eq!(shape("s.abc"), Some(CallerAuthKind::Token));
        assert_eq!(shape("eyJh.eyJz.c2ln"), Some(CallerAuthKind::Jwt));
        for other in ["", "vgk_123", "a.b", "a.b.c.d", "a.b.", "..", "Bearer a.b.c", "a.b.c d", "a.b.c="] {
            assert_eq!(shape(other), None, "{other:?}");
        }
    }
}
