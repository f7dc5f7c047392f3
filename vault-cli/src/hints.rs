//! What to use instead of a command that Vault's users know and this program does not have.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Vault's word, and what to say to it.
const INSTEAD: &[(&str, &str)] = &[
    (
        "agent",
        "Services fetch secrets through the vault-client crate, or with any Vault agent against this server.",
    ),
    ("proxy", "The gateway proxies calls: see vault-cli gateway."),
    ("server", "The server is a program of its own: vaultd server -config=FILE."),
    ("lease", "This server gives no leases: tokens are renewed with vault-cli token renew."),
    ("unwrap", "This server does not wrap answers."),
    ("namespace", "This server has one namespace, the root."),
    ("transit", "This server has no transit engine."),
    ("pki", "This server has no PKI engine."),
    ("ssh", "This server has no SSH engine."),
    ("plugin", "Every engine is built in: see vault-cli secrets enable -h."),
    ("debug", "See the server's log, vault-cli status, and vault-cli read sys/health."),
    ("monitor", "Read the server's own log (journalctl -u vaultd)."),
    ("events", "Follow the audit file: see vault-cli audit list -detailed."),
    ("raft", "One node keeps the store: see vault-cli operator snapshot and vaultd storage."),
    ("members", "One node keeps the store."),
    ("step-down", "One node keeps the store: nobody could take over."),
    ("migrate", "With the server stopped: vaultd storage migrate."),
    ("diagnose", "See vaultd check-config and vaultd storage check."),
    ("validate-config", "See vaultd check-config."),
    ("rotate-keys", "New shares: vault-cli operator rekey. A new barrier key: vault-cli operator rotate."),
    ("usage", "See vault-cli read sys/metrics."),
    ("scan", "List folder by folder: vault-cli kv list."),
    ("help", "Write -h after any command."),
];

/// A word more for a command line that names an unknown command.
pub fn unknown(error: &clap::Error) -> Option<&'static str> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    INSTEAD.iter().find(|(name, _)| name == word).map(|(_, hint)| *hint)
}
