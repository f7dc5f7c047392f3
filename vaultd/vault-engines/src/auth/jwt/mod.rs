//! `jwt`: logins by signed tokens of an outside issuer.
//!
//! <https://developer.hashicorp.com/vault/api-docs/auth/jwt>, rules of RFC 8725.
//!
//! Records: `config`, `role/<name>`. The caller is told only that a token was refused; why is in
//! the operational log.

mod claims;
mod config;
mod der;
mod jwks;
mod keys;
mod kind;
mod role;
mod spelling;
mod token;

#[cfg(test)]
mod tests;

use crate::params;
use async_trait::async_trait;
use config::Config;
use jwks::Jwks;
use keys::{KeySet, Verdict};
use parking_lot::RwLock;
use role::Role;
use spelling::Spellings;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use token::{Refused, Unverified};
use vault_logical::{
    Auth, AuthMethod, Charge, Context, Descriptor, Egress, Engine, EngineKind, Error, ErrorKind, Factory,
    Operation, PathHelp, PathName, Request, Response, Result, field,
};

pub(crate) const FACTORY: Factory = Factory {
    type_name: "jwt",
    kind: EngineKind::Auth,
    make: |_, egress| {
        Ok(Arc::new(Jwt {
            egress,
            source: RwLock::default(),
            outdated: AtomicBool::new(true),
            epoch: Arc::default(),
            spellings: Spellings::default(),
        }))
    },
};

static DESCRIPTOR: Descriptor = Descriptor {
    type_name: "jwt",
    kind: EngineKind::Auth,
    description: "logins by JWT of an outside issuer",
    unauthenticated: &["login"],
    sudo: &[],
    audit_clear: &["role"],
    paths: &[
        PathHelp { pattern: "config", summary: "Where the issuer's keys come from." },
        PathHelp { pattern: "role/", summary: "List roles." },
        PathHelp { pattern: "role/:name", summary: "Which tokens may log in under this role, and as what." },
        PathHelp { pattern: "login", summary: "Log in with a JWT." },
    ],
};

/// Where the keys come from, derived from one version of the configuration.
struct Source {
    version: u64,
    keys: Keys,
}

enum Keys {
    Static(Arc<KeySet>),
    Fetched(Arc<Jwks>),
}

struct Jwt {
    egress: Arc<dyn Egress>,
    source: RwLock<Option<Arc<Source>>>,
    /// The configuration may have changed since `source` was made.
    outdated: AtomicBool,
    /// Counts the times that a key was gone from a fetched set.
    epoch: Arc<AtomicU64>,
    spellings: Spellings,
}

/// Where an identity is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Login,
    /// A call through the gateway, with nothing but this token.
    Gateway,
}

enum Route<'a> {
    Config,
    Roles,
    Role(&'a str),
    Login,
}

fn route(path: &str) -> Result<Route<'_>> {
    match path.split_once('/') {
        None if path == "config" => Ok(Route::Config),
        None if path == "login" => Ok(Route::Login),
        None if path == "role" => Ok(Route::Roles),
        Some(("role", "")) => Ok(Route::Roles),
        Some(("role", name)) => Ok(Route::Role(name)),
        _ => Err(Error::unsupported_path()),
    }
}

/// What the caller is told of any refused token.
fn refused(why: Refused) -> Error {
    tracing::debug!(reason = %why, "login refused");
    Error::invalid("the token was refused for this role").with_source(why)
}

impl Jwt {
    /// The source for `config`, made anew if the one in memory is of an older version.
    fn source(&self, config: &Config) -> Result<Arc<Source>> {
        if let Some(s) = self.source.read().as_ref().filter(|s| s.version == config.version) {
            return Ok(s.clone());
        }
        let keys = if config.jwks_url.is_empty() {
            let set = KeySet::from_pem(config.pubkeys.iter().map(String::as_str));
            Keys::Static(Arc::new(set.ok_or_else(|| Error::internal("a stored public key is not usable"))?))
        } else {
            let ca_pem = Some(config.jwks_ca_pem.clone()).filter(|s| !s.is_empty());
            Keys::Fetched(Jwks::new(config.jwks_url.clone(), ca_pem, self.egress.clone(), self.epoch.clone()))
        };
        let made = Arc::new(Source { version: config.version, keys });
        let mut slot = self.source.write();
        match slot.as_ref() {
            // Another request was faster, or has seen a newer configuration.
            Some(s) if s.version == config.version => Ok(s.clone()),
            Some(s) if s.version > config.version => Ok(made),
            _ => {
                *slot = Some(made.clone());
                Ok(made)
            }
        }
    }

    /// Fetches keys, if this token needs it. Says nothing about the token.
    async fn fetch_for(&self, credential: &str) {
        let Ok(t) = token::parse(credential) else { return };
        let source = self.source.read().clone();
        if let Some(Keys::Fetched(jwks)) = source.as_deref().map(|s| &s.keys) {
            jwks.prepare(t.alg, t.kid.as_deref()).await;
        }
    }

    fn verify(&self, t: &Unverified<'_>, config: &Config) -> Result<()> {
        let source = self.source(config)?;
        let set = match &source.keys {
            Keys::Static(set) => set.clone(),
            Keys::Fetched(jwks) => jwks.keys().ok_or_else(|| {
                Error::new(
                    ErrorKind::Upstream,
                    "the issuer's keys could not be fetched; the server's log says why",
                )
            })?,
        };
        match set.verify(t) {
            Verdict::Valid => Ok(()),
            Verdict::Invalid => Err(refused(Refused("signature"))),
            Verdict::UnknownKey => Err(refused(Refused("no key for it"))),
        }
    }

    /// Whom `credential` identifies under `role`: cheap checks, then the signature, then the rest.
    async fn establish(
        &self,
        cx: &mut Context<'_>,
        credential: &str,
        role: Option<&str>,
        purpose: For,
    ) -> Result<Auth> {
        let config =
            Config::load(cx).await?.ok_or_else(|| Error::invalid("the auth method is not configured"))?;
        let name = match role {
            Some(r) if !r.is_empty() => r,
            _ => config.default_role.as_str(),
        };
        if name.is_empty() {
            return Err(Error::invalid("missing role"));
        }
        // From here to the signature, a role that is not there takes the same work and answers the
        // same as one that is: which roles there are is not for strangers to find out.
        let name = PathName::in_body(name, role::normal).map_err(|_| refused(Refused("no such role")))?;
        let (role, exists) = Role::load_any(cx, &name).await?;
        let t = token::parse(credential).map_err(refused)?;
        if !config.allows(t.alg) {
            return Err(refused(Refused("algorithm is not allowed")));
        }
        let registered = claims::registered(t.claims(), &config, &role, cx.clock.now());
        let claims_fit = kind::check(t.claims(), t.typed_access, config.kinds()).and(registered);
        self.verify(&t, &config)?;
        if !exists {
            return Err(refused(Refused("no such role")));
        }
        if purpose == For::Gateway && (config.bound_issuer.is_empty() || role.bound_audiences.is_empty()) {
            // Such a role may be as old as the store: it goes on to log in, and calls nothing.
            tracing::warn!(
                role = %name,
                "a gateway service names a JWT role without bound_audiences, or its config has no bound_issuer: refused"
            );
            return Err(refused(Refused("the role is too open for the gateway")));
        }
        let expires = claims_fit.map_err(refused)?;
        let until = expires.plus(role.leeway().expiration);
        if !self.spellings.accepts(t.alg.family(), &t.signature_bytes(), until, cx.clock.now()) {
            return Err(refused(Refused("the other form of a signature that was accepted")));
        }
        let claims = t.into_claims();
        claims::bound(&claims, &role).map_err(refused)?;
        let alias = claims::alias(&claims, &role).map_err(refused)?.to_string();
        let text = |name: &str| claims.get(name).and_then(serde_json::Value::as_str).map(str::to_string);
        Ok(Auth {
            subject: text("sub"),
            token_id: text("jti"),
            display_name: format!("jwt-{alias}"),
            metadata: claims::metadata(&claims, &role, &name).map_err(refused)?,
            groups: claims::groups(&claims, &role).map_err(refused)?,
            alias,
            policies: role.token_policies,
            ttl: Duration::from_secs(role.token_ttl),
            max_ttl: Duration::from_secs(role.token_max_ttl),
            explicit_max_ttl: Duration::from_secs(role.token_explicit_max_ttl),
            period: Duration::from_secs(role.token_period),
            num_uses: role.token_num_uses,
            no_default_policy: role.token_no_default_policy,
            expires: Some(expires),
        })
    }

    async fn login(&self, cx: &mut Context<'_>, request: &Request) -> Result<Response> {
        let jwt = field::string(&request.data, "jwt")?.filter(|s| !s.is_empty());
        let jwt = jwt.ok_or_else(|| Error::invalid("missing token"))?;
        let role = field::string(&request.data, "role")?;
        let auth = self.establish(cx, &jwt, role.as_deref(), For::Login).await?;
        let response = Response { auth: Some(auth), ..Response::empty() };
        Ok(params::check(response, &request.data, &["jwt", "role", "distributed_claim_access_token"], &[]))
    }
}

#[async_trait]
impl Engine for Jwt {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn cold(&self) -> bool {
        self.outdated.load(Ordering::Acquire)
    }

    fn is_plain_write(&self, request: &Request) -> bool {
        matches!(route(&request.path), Ok(Route::Login))
    }

    async fn load(&self, cx: &mut Context<'_>) -> Result<()> {
        // Before the read: a change during it makes the instance cold again.
        self.outdated.store(false, Ordering::Release);
        let loaded = match Config::load(cx).await {
            Ok(Some(config)) => self.source(&config).map(|_| ()),
            Ok(None) => Ok(()),
            Err(e) => Err(e),
        };
        if loaded.is_err() {
            self.outdated.store(true, Ordering::Release);
        }
        loaded
    }

    fn invalidate(&self, path: &str) {
        if path == config::PATH {
            self.outdated.store(true, Ordering::Release);
        }
    }

    async fn exists(&self, cx: &mut Context<'_>, request: &Request) -> Result<Option<bool>> {
        match route(&request.path) {
            Ok(Route::Role(name)) => match PathName::in_path(name, role::normal) {
                Ok(name) => Ok(Some(cx.view.get(&role::path(&name)).await?.is_some())),
                // `handle` says what is wrong with it.
                Err(_) => Ok(None),
            },
            _ => Ok(None),
        }
    }

    async fn prepare(&self, request: &Request) -> Result<()> {
        if let Ok(Route::Login) = route(&request.path)
            && let Ok(Some(jwt)) = field::string(&request.data, "jwt")
        {
            self.fetch_for(&jwt).await;
        }
        Ok(())
    }

    async fn handle(
        &self,
        cx: &mut Context<'_>,
        request: &Request,
        _charge: Option<&Charge>,
    ) -> Result<Response> {
        use Operation::{Create, Delete, List, Read, Update};
        match (route(&request.path)?, request.operation) {
            (Route::Config, Read) => config::read(cx, request).await,
            (Route::Config, Create | Update) => config::write(cx, request).await,
            (Route::Roles, List) => {
                let (after, limit) = params::page(&request.data)?;
                let keys = cx.view.list("role/", after.as_deref(), limit).await?;
                Ok(params::check(Response::keys(keys), &request.data, params::LIST_FIELDS, &[]))
            }
            (Route::Role(name), operation) => {
                let name = PathName::in_path(name, role::normal)?;
                match operation {
                    Read => role::read(cx, request, &name).await,
                    Create | Update => role::write(cx, request, &name).await,
                    Delete => {
                        cx.view.delete(&role::path(&name)).await?;
                        Ok(Response::empty())
                    }
                    _ => Err(Error::unsupported_operation()),
                }
            }
            (Route::Login, Create | Update) => self.login(cx, request).await,
            _ => Err(Error::unsupported_operation()),
        }
    }

    fn auth_method(&self) -> Option<&dyn AuthMethod> {
        Some(self)
    }
}

#[async_trait]
impl AuthMethod for Jwt {
    async fn prepare_identify(&self, credential: &str) -> Result<()> {
        self.fetch_for(credential).await;
        Ok(())
    }

    async fn identify(&self, cx: &mut Context<'_>, credential: &str, role: Option<&str>) -> Result<Auth> {
        self.establish(cx, credential, role, For::Gateway).await
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }
}
