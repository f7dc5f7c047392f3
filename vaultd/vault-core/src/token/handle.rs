//! The routes below `auth/token/`.

use super::TokenStore;
use super::create::ROOT_POLICY;
use super::entry::TokenEntry;
use crate::exchange::IssuedAuth;
use std::sync::Arc;
use storage::Transaction;
use vault_logical::{Data, Error, ErrorKind, Operation, PathHelp, Response, Result};

/// Paths below `auth/token/` that need `sudo` besides the ordinary capability.
pub const SUDO_PATHS: &[&str] = &["accessors*", "revoke-orphan/*"];
/// Paths below `auth/token/` that act on the caller's own token.
pub const SELF_PATHS: &[&str] = &["lookup-self", "renew-self", "revoke-self"];
/// What there is below `auth/token/`.
pub const PATHS: &[PathHelp] = &[
    PathHelp { pattern: "create", summary: "Makes a child of the calling token." },
    PathHelp { pattern: "create-orphan", summary: "Makes a token without a parent." },
    PathHelp { pattern: "create/:role_name", summary: "Makes a token as a token role says." },
    PathHelp { pattern: "lookup", summary: "Describes a token." },
    PathHelp { pattern: "lookup-self", summary: "Describes the calling token." },
    PathHelp { pattern: "lookup-accessor", summary: "Describes the token of an accessor." },
    PathHelp { pattern: "renew", summary: "Extends a token's life." },
    PathHelp { pattern: "renew-self", summary: "Extends the calling token's life." },
    PathHelp { pattern: "renew-accessor", summary: "Extends the life of an accessor's token." },
    PathHelp { pattern: "revoke", summary: "Ends a token and its descendants." },
    PathHelp { pattern: "revoke-self", summary: "Ends the calling token and its descendants." },
    PathHelp { pattern: "revoke-accessor", summary: "Ends the token of an accessor and its descendants." },
    PathHelp { pattern: "revoke-orphan", summary: "Ends a token; its children become orphans." },
    PathHelp { pattern: "accessors/", summary: "Lists the accessors of all tokens." },
    PathHelp { pattern: "roles/", summary: "Lists the token roles." },
    PathHelp { pattern: "roles/:role_name", summary: "Reads, writes or deletes a token role." },
];

/// One call to `auth/token/`.
#[derive(Clone, Copy)]
pub struct TokenCall<'a> {
    pub operation: Operation,
    /// Below `auth/token/`, canonical.
    pub path: &'a str,
    pub data: &'a Data,
    pub caller: &'a Arc<TokenEntry>,
    /// The calling token as it was sent.
    pub presented: &'a str,
    /// The caller holds `sudo` on this path, or root.
    pub sudo: bool,
}

impl TokenCall<'_> {
    pub(super) fn sudo(&self) -> bool {
        self.sudo || self.caller.policies.iter().any(|p| p == ROOT_POLICY)
    }
    fn writes(&self) -> bool {
        matches!(self.operation, Operation::Create | Operation::Update)
    }
}

pub(super) type Answer = Result<(Response, Option<IssuedAuth>)>;

pub(super) fn plain(response: Response) -> Answer {
    Ok((response, None))
}

impl TokenStore {
    /// Serves one call within the request's transaction. The caller's token has been looked up
    /// and is pinned by the pipeline; the policy was checked.
    pub async fn handle(&self, txn: &mut Transaction, call: TokenCall<'_>) -> Answer {
        let reads = call.operation == Operation::Read;
        let lists = call.operation == Operation::List;
        let (head, tail) = match call.path.split_once('/') {
            Some((head, tail)) => (head, Some(tail).filter(|t| !t.is_empty())),
            None => (call.path, None),
        };
        match (head, tail) {
            ("lookup", None) if reads || call.writes() => self.lookup_token(txn, &call).await,
            ("lookup-self", None) if reads || call.writes() => self.lookup_self(txn, &call).await,
            ("lookup-accessor", None) if call.writes() => self.lookup_accessor(txn, &call).await,
            ("renew", None) if call.writes() => self.renew_token(txn, &call).await,
            ("renew-self", None) if call.writes() => self.renew_self(txn, &call).await,
            ("renew-accessor", None) if call.writes() => self.renew_accessor(txn, &call).await,
            ("revoke", None) if call.writes() => self.revoke_token(txn, &call).await,
            ("revoke-self", None) if call.writes() => self.revoke_self(txn, &call).await,
            ("revoke-accessor", None) if call.writes() => self.revoke_by_accessor(txn, &call).await,
            ("revoke-orphan", None) if call.writes() => self.revoke_orphan(txn, &call).await,
            ("create", None) if call.writes() => self.create_child(txn, &call, false, None).await,
            ("create-orphan", None) if call.writes() => self.create_child(txn, &call, true, None).await,
            ("create", Some(role)) if call.writes() => self.create_child(txn, &call, false, Some(role)).await,
            ("accessors", None) if lists => self.list_accessors(&call).await,
            ("roles", None) if lists => self.list_roles(txn, &call).await,
            ("roles", Some(name)) if reads => self.read_role(txn, name).await,
            ("roles", Some(name)) if call.writes() => self.write_role(txn, name, &call).await,
            ("roles", Some(name)) if call.operation == Operation::Delete => self.delete_role(txn, name).await,
            ("tidy", None) if call.writes() => Err(Error::new(
                ErrorKind::UnsupportedPath,
                "there is no tidy: expired and revoked tokens are removed all the time",
            )),
            _ if known(head, tail) => Err(Error::unsupported_operation()),
            _ => Err(Error::unsupported_path()),
        }
    }

    /// Decides Create against Update: `Some` for paths that name a thing.
    pub async fn exists(&self, txn: &mut Transaction, path: &str) -> Result<Option<bool>> {
        match path.strip_prefix("roles/") {
            Some(name) if !name.is_empty() => Ok(Some(self.role(txn, name).await?.is_some())),
            _ => Ok(None),
        }
    }
}

fn known(head: &str, tail: Option<&str>) -> bool {
    PATHS.iter().any(|p| match p.pattern.split_once('/') {
        Some((h, t)) => h == head && t.is_empty() == tail.is_none(),
        None => p.pattern == head && tail.is_none(),
    })
}
