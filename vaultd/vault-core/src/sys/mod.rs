//! The `sys/` mount: what operators do to the vault itself.
//! <https://developer.hashicorp.com/vault/api-docs/system>

mod audit_devices;
mod capabilities;
mod gateway_test;
pub mod generate_root;
mod internal_ui;
pub mod keys;
mod metrics;
pub mod mounts;
mod policies;
pub mod rekey;
pub mod snapshot;
mod tune;

use crate::exchange::{Download, Incoming, IssuedAuth, Verb};
use crate::policy::Acl;
use crate::token::TokenEntry;
use crate::unsealed::Unsealed;
use serde_json::Value;
use std::sync::Arc;
use storage::Transaction;
use vault_logical::{Data, Error, ErrorKind, PathHelp, Response, Result};

/// Paths below `sys/` that need `sudo` besides the ordinary capability.
pub const SUDO: &[&str] = &[
    "seal",
    "audit",
    "audit/*",
    "audit-hash/*",
    "auth/*",
    "rotate",
    "rotate/*",
    "rekey/*",
    "generate-root/*",
    "remount",
    "raw",
    "raw/*",
    "storage/*",
    "leases/revoke-prefix/*",
    "leases/revoke-force/*",
    "leases/lookup/*",
    "config/*",
];

/// Paths whose `data` Vault also writes at top level of the answer.
const FLATTENED: &[&str] = &[
    "audit",
    "audit-hash",
    "auth",
    "capabilities",
    "capabilities-self",
    "capabilities-accessor",
    "key-status",
    "mounts",
    "policy",
    "rotate",
];

/// Named by Vault's API and not built here: said so, instead of a 404 that looks like a typo.
const UNBUILT: &[&str] = &[
    "wrapping",
    "leases",
    "renew",
    "revoke",
    "revoke-prefix",
    "revoke-force",
    "generate-root-token",
    "quotas",
    "namespaces",
    "remount",
    "raw",
    "step-down",
    "ha-status",
    "plugins",
    "tools",
    "config",
    "rekey-recovery-key",
    "host-info",
    "monitor",
    "in-flight-req",
    "loggers",
    "pprof",
    "locked-users",
    "mfa",
    "version-history",
    "managed-keys",
    "replication",
    "license",
    "experiments",
];

/// What there is below `sys/`, for HELP.
pub const PATHS: &[PathHelp] = &[
    PathHelp { pattern: "health", summary: "Tells the state by the status code." },
    PathHelp {
        pattern: "seal-status",
        summary: "Tells whether the vault is sealed, and how far an unseal is.",
    },
    PathHelp { pattern: "init", summary: "Initialises the vault." },
    PathHelp { pattern: "unseal", summary: "Takes one key share." },
    PathHelp { pattern: "seal", summary: "Seals the vault." },
    PathHelp { pattern: "leader", summary: "Tells who leads: this server." },
    PathHelp { pattern: "key-status", summary: "Tells the barrier key's term and age." },
    PathHelp { pattern: "rotate", summary: "Makes a new term of the barrier key." },
    PathHelp { pattern: "rotate/root", summary: "Makes a new root key." },
    PathHelp { pattern: "rekey/init", summary: "Begins, shows or cancels a change of the key shares." },
    PathHelp { pattern: "rekey/update", summary: "Takes one old share towards new ones." },
    PathHelp { pattern: "rekey/verify", summary: "Takes one new share back before they come into force." },
    PathHelp { pattern: "mounts", summary: "Lists the secrets engines." },
    PathHelp { pattern: "mounts/:path", summary: "Enables, shows or disables a secrets engine." },
    PathHelp { pattern: "auth", summary: "Lists the auth methods." },
    PathHelp { pattern: "auth/:path", summary: "Enables, shows or disables an auth method." },
    PathHelp { pattern: "policy", summary: "Lists the policies (older form)." },
    PathHelp { pattern: "policy/:name", summary: "Reads, writes or deletes a policy (older form)." },
    PathHelp { pattern: "policies/acl", summary: "Lists the policies." },
    PathHelp { pattern: "policies/acl/:name", summary: "Reads, writes or deletes a policy." },
    PathHelp { pattern: "audit", summary: "Lists the audit devices." },
    PathHelp { pattern: "audit/:path", summary: "Enables or disables an audit device." },
    PathHelp { pattern: "audit-hash/:path", summary: "Hashes a value as that device does." },
    PathHelp { pattern: "capabilities", summary: "Tells what a token may do to paths." },
    PathHelp { pattern: "capabilities-self", summary: "Tells what the calling token may do to paths." },
    PathHelp { pattern: "capabilities-accessor", summary: "Tells what an accessor's token may do to paths." },
    PathHelp { pattern: "metrics", summary: "Tells what the server counts of itself." },
    PathHelp { pattern: "internal/ui/mounts", summary: "Lists the mounts that the caller may know of." },
    PathHelp { pattern: "internal/ui/mounts/:path", summary: "Tells which mount serves a path." },
];

/// What a GET may ask for by a folder's name, as clients do.
const FOLDERS: &[&str] = &["mounts/", "auth/", "audit/", "policy/", "internal/ui/mounts/"];

/// True when a GET of `path`, which ends in `/`, is served: `sys/mounts/` is the list of mounts, but
/// `sys/policies/acl/x/` is not the policy `x`.
pub fn is_folder(path: &str) -> bool {
    path.strip_prefix("sys/").is_some_and(|rest| FOLDERS.contains(&rest))
}

/// The other path at which Vault's API serves the same thing. A policy that denies one of the two
/// denies both, and what needs `sudo` at one needs it at both.
pub fn other_path(path: &str) -> Option<String> {
    const PAIRS: &[(&str, &str)] = &[
        ("sys/policy/", "sys/policies/acl/"),
        ("sys/auth/", "sys/mounts/auth/"),
        ("sys/rotate/keyring", "sys/rotate"),
    ];
    // `sys/mounts/` is `sys/mounts`; the rest are names of two spellings.
    if is_folder(path) {
        return path.strip_suffix('/').map(str::to_owned);
    }
    PAIRS.iter().flat_map(|(a, b)| [(a, b), (b, a)]).find_map(|(this, other)| {
        let rest = path.strip_prefix(this)?;
        (rest.is_empty() || this.ends_with('/')).then(|| format!("{other}{rest}"))
    })
}

/// One request to `sys/`.
pub struct Call<'a> {
    pub incoming: &'a Incoming,
    /// Below `sys/`.
    pub path: &'a str,
    pub caller: &'a Arc<TokenEntry>,
    pub acl: &'a Acl,
}

impl Call<'_> {
    pub fn data(&self) -> &Data {
        &self.incoming.data
    }
}

/// Which key `sys/rotate` replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    Barrier,
    Root,
}

/// What must happen once the transaction is committed and before the answer goes out.
#[derive(Default)]
pub enum After {
    #[default]
    Nothing,
    RefreshMounts,
    /// A new key of the barrier, once: the transaction may have run several times.
    Rotate(Rotation),
    /// The device of this name stops once its removal is stored.
    AuditDisable(String),
    /// The call is made while no transaction is open; what it came to is the answer.
    TestService(Box<gateway_test::ServiceTest>),
    /// Once the answer is recorded.
    Seal,
    /// The new shares are in force only once the answer that shows them is recorded.
    Rekey(Box<storage::RekeyProposal>),
    /// The answer that shows the new root token is recorded.
    RootGenerated,
}

/// A handler's answer before it is recorded.
#[derive(Default)]
pub struct Done {
    pub response: Response,
    pub auth: Option<IssuedAuth>,
    /// `auth` is of a token made by this request (not of one that was renewed).
    pub created: bool,
    pub flatten: bool,
    /// Not enveloped.
    pub bare: Option<Value>,
    /// A file instead of an envelope.
    pub download: Option<Download>,
    pub close: bool,
    pub after: After,
    /// An audit device opened for this request: taken out again if the commit fails.
    pub undo_device: Option<String>,
}

impl From<Response> for Done {
    fn from(response: Response) -> Self {
        Done { response, ..Done::default() }
    }
}

/// True for what a caller without a token may ask below `sys/` while the vault is unsealed: the
/// mounts whose `listing_visibility` says so, for a login page.
pub fn open(r: &Incoming) -> bool {
    r.verb == Verb::Read && r.path == internal_ui::MOUNTS
}

/// The answer to it.
pub fn anonymous(core: &Unsealed) -> Done {
    Response::data(internal_ui::listed(core)).into()
}

pub async fn handle(core: &Arc<Unsealed>, txn: &mut Transaction, call: Call<'_>) -> Result<Done> {
    let path = call.path.trim_end_matches('/');
    let segments: Vec<&str> = path.split('/').collect();
    let first = segments.first().copied().unwrap_or("");
    let rest = segments.get(1..).unwrap_or(&[]);
    let mut done = match (call.incoming.verb, first) {
        (_, "mounts") => mounts::handle(core, txn, &call, false, &rest.join("/")).await?,
        (_, "auth") => mounts::handle(core, txn, &call, true, &rest.join("/")).await?,
        (_, "policy") => policies::handle(core, txn, &call, rest, true).await?,
        (_, "policies") => match rest.split_first() {
            Some((&"acl", name)) => policies::handle(core, txn, &call, name, false).await?,
            _ => return Err(Error::unsupported_path()),
        },
        (_, "audit") => audit_devices::handle(core, txn, &call, &rest.join("/")).await?,
        (Verb::Read, "audit-head") if rest.is_empty() => audit_devices::head(core)?,
        (Verb::Write, "audit-hash") => audit_devices::hash(core, &call, &rest.join("/"))?,
        (Verb::Write, "capabilities" | "capabilities-self" | "capabilities-accessor") if rest.is_empty() => {
            capabilities::handle(core, &call, first).await?
        }
        (Verb::Write, "seal") if rest.is_empty() => Done { after: After::Seal, ..Done::default() },
        (Verb::Read, "key-status") if rest.is_empty() => keys::status(core),
        (Verb::Write, "rotate") => keys::rotate(rest)?,
        (_, "storage") => snapshot::handle(core, &call, rest).await?,
        (_, "rekey") => rekey::handle(core, &call, rest).await?,
        (_, "generate-root") => generate_root::handle(core, txn, call.incoming, &rest.join("/")).await?,
        (Verb::Write, "gateway") => match rest {
            ["test", name] => gateway_test::handle(core, &call, name).await?,
            _ => return Err(Error::unsupported_path()),
        },
        (Verb::Read, "metrics") if rest.is_empty() => metrics::read(core, &call).await?,
        (Verb::Read, "internal") => internal_ui::handle(core, &call, rest)?,
        (
            _,
            "seal" | "key-status" | "rotate" | "audit-hash" | "audit-head" | "health" | "seal-status"
            | "init" | "unseal" | "leader" | "metrics",
        ) => {
            return Err(Error::unsupported_operation());
        }
        (_, name) if UNBUILT.contains(&name) => {
            let text = format!("unsupported path: sys/{name} is not supported by this server");
            return Err(Error::new(ErrorKind::UnsupportedPath, text));
        }
        _ => return Err(Error::unsupported_path()),
    };
    done.flatten = FLATTENED.contains(&first);
    Ok(done)
}

/// A field or form of a request that Vault knows and this server does not serve: 400. Never 501,
/// which clients read as "not initialised".
pub fn unbuilt(what: &str) -> Error {
    Error::invalid(format!("{what}: not supported by this server"))
}

/// Shorthand for a data map out of a `json!` object.
pub fn object(v: Value) -> Data {
    match v {
        Value::Object(m) => m,
        _ => Data::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{is_folder, other_path};

    #[test]
    fn what_has_two_paths_knows_the_other() {
        for (a, b) in [
            ("sys/policy/x", "sys/policies/acl/x"),
            ("sys/auth/jwt/tune", "sys/mounts/auth/jwt/tune"),
            ("sys/rotate", "sys/rotate/keyring"),
        ] {
            assert_eq!(other_path(a).as_deref(), Some(b));
            assert_eq!(other_path(b).as_deref(), Some(a));
        }
        assert_eq!(other_path("sys/mounts/").as_deref(), Some("sys/mounts"));
        for single in ["sys/rotate/root", "sys/rotated", "sys/mounts/secret", "secret/data/x/"] {
            assert_eq!(other_path(single), None, "{single}");
        }
        assert!(is_folder("sys/audit/") && !is_folder("sys/policies/acl/x/") && !is_folder("sys/mounts/x/"));
    }
}
