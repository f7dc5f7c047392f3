//! `sys/`: what an operator does. <https://developer.hashicorp.com/vault/api-docs/system>

use crate::call::Call;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::path::join;
use std::collections::BTreeMap;
use vault_api::sys::{
    AclPolicy, AuditDevice, AuditHeads, CapabilitiesRequest, EnableAudit, EnableMount, GenerateRootInit,
    GenerateRootStatus, Health, InitRequest, InitResponse, InitStatus, KeyStatus, Leader, MountEntry,
    PolicyText, RekeyInit, RekeyKey, RekeyStatus, RekeyUpdate, SealStatus, TuneMount, UnsealRequest,
};
use vault_api::{Envelope, Keys, Map, SecretString};

/// Calls below `sys/`. From [`Client::sys`].
pub struct Sys<'a>(&'a Client);

impl Client {
    /// Calls below `sys/`.
    pub fn sys(&self) -> Sys<'_> {
        Sys(self)
    }
}

/// The `data` of an answer that must have one.
pub(crate) async fn data<T: serde::de::DeserializeOwned>(call: Call<'_>, path: &str) -> Result<T> {
    let answer: Option<Envelope<T>> = call.send().await?;
    answer.and_then(|a| a.data).ok_or_else(|| Error::protocol(path, "it has no data"))
}

/// Errors of every method: see [`crate::Kind`].
#[allow(clippy::missing_errors_doc)]
impl Sys<'_> {
    /// Whether the store is initialised.
    pub async fn init_status(&self) -> Result<bool> {
        let s: InitStatus = Call::read(self.0, "sys/init").bare().await?;
        Ok(s.initialized)
    }

    /// Initialises an empty store. The answer is the only one that shows the shares.
    pub async fn init(&self, shares: u8, threshold: u8) -> Result<InitResponse> {
        let body = InitRequest { secret_shares: shares, secret_threshold: threshold };
        Call::write(self.0, "sys/init").anonymous().json(&body).bare().await
    }

    /// Whether the vault is sealed, and how far an unseal has come.
    pub async fn seal_status(&self) -> Result<SealStatus> {
        Call::read(self.0, "sys/seal-status").anonymous().bare().await
    }

    /// Gives one share (hex or base64).
    pub async fn unseal(&self, share: SecretString) -> Result<SealStatus> {
        self.unseal_with(&UnsealRequest { key: Some(share), ..UnsealRequest::default() }).await
    }

    /// Gives one share with options.
    pub async fn unseal_with(&self, request: &UnsealRequest) -> Result<SealStatus> {
        Call::write(self.0, "sys/unseal").anonymous().json(request).bare().await
    }

    /// Forgets the shares given so far.
    pub async fn unseal_reset(&self) -> Result<SealStatus> {
        self.unseal_with(&UnsealRequest { reset: true, ..UnsealRequest::default() }).await
    }

    /// Seals the vault: its keys leave memory.
    pub async fn seal(&self) -> Result<()> {
        Call::write(self.0, "sys/seal").done().await
    }

    /// The server's state; its HTTP status comes along.
    pub async fn health(&self) -> Result<(u16, Health)> {
        Call::read(self.0, "sys/health").anonymous().any_status().await
    }

    /// Which node is active.
    pub async fn leader(&self) -> Result<Leader> {
        Call::read(self.0, "sys/leader").anonymous().bare().await
    }

    /// The barrier key in use.
    pub async fn key_status(&self) -> Result<KeyStatus> {
        data(Call::read(self.0, "sys/key-status"), "sys/key-status").await
    }

    /// A new barrier key for what is written from now on.
    pub async fn rotate(&self) -> Result<()> {
        Call::write(self.0, "sys/rotate").done().await
    }

    /// Mounted secrets engines by path (with a trailing slash).
    pub async fn mounts(&self) -> Result<BTreeMap<String, MountEntry>> {
        data(Call::read(self.0, "sys/mounts"), "sys/mounts").await
    }

    /// Mounts a secrets engine.
    pub async fn enable_mount(&self, path: &str, mount: &EnableMount) -> Result<()> {
        Call::write(self.0, &join("sys/mounts", path)).json(mount).done().await
    }

    /// Unmounts a secrets engine and deletes all it stored.
    pub async fn disable_mount(&self, path: &str) -> Result<()> {
        Call::delete(self.0, &join("sys/mounts", path)).done().await
    }

    /// Changes a mount's settings.
    pub async fn tune_mount(&self, path: &str, tune: &TuneMount) -> Result<()> {
        let path = format!("{}/tune", join("sys/mounts", path));
        Call::write(self.0, &path).json(tune).done().await
    }

    /// Moves a mount to another path. Vault answers with an id to ask `sys/remount/status/:id` about.
    pub async fn remount(&self, from: &str, to: &str) -> Result<()> {
        let body = BTreeMap::from([("from", from), ("to", to)]);
        Call::write(self.0, "sys/remount").json(&body).done().await
    }

    /// Changes a login method's settings.
    pub async fn tune_auth(&self, path: &str, tune: &TuneMount) -> Result<()> {
        let path = format!("{}/tune", join("sys/auth", path));
        Call::write(self.0, &path).json(tune).done().await
    }

    /// Login methods by path (with a trailing slash).
    pub async fn auth_mounts(&self) -> Result<BTreeMap<String, MountEntry>> {
        data(Call::read(self.0, "sys/auth"), "sys/auth").await
    }

    /// Mounts a login method.
    pub async fn enable_auth(&self, path: &str, mount: &EnableMount) -> Result<()> {
        Call::write(self.0, &join("sys/auth", path)).json(mount).done().await
    }

    /// Unmounts a login method; the tokens it gave are revoked.
    pub async fn disable_auth(&self, path: &str) -> Result<()> {
        Call::delete(self.0, &join("sys/auth", path)).done().await
    }

    /// Names of the policies.
    pub async fn policies(&self) -> Result<Vec<String>> {
        let keys: Keys = data(Call::list(self.0, "sys/policies/acl"), "sys/policies/acl").await?;
        Ok(keys.keys)
    }

    /// A policy's text. `None` when there is no such policy.
    pub async fn policy(&self, name: &str) -> Result<Option<String>> {
        let answer: Option<Envelope<AclPolicy>> =
            Call::read(self.0, &join("sys/policies/acl", name)).send().await?;
        Ok(answer.and_then(|a| a.data).map(|p| p.policy))
    }

    /// Creates or replaces a policy.
    pub async fn write_policy(&self, name: &str, text: &str) -> Result<()> {
        let body = PolicyText { policy: text.to_owned() };
        Call::write(self.0, &join("sys/policies/acl", name)).json(&body).done().await
    }

    /// Deletes a policy; tokens that carry it lose what it gave.
    pub async fn delete_policy(&self, name: &str) -> Result<()> {
        Call::delete(self.0, &join("sys/policies/acl", name)).done().await
    }

    /// Audit devices by path (with a trailing slash).
    pub async fn audit_devices(&self) -> Result<BTreeMap<String, AuditDevice>> {
        data(Call::read(self.0, "sys/audit"), "sys/audit").await
    }

    /// The audit's public key and every device's head.
    pub async fn audit_heads(&self) -> Result<AuditHeads> {
        data(Call::read(self.0, "sys/audit-head"), "sys/audit-head").await
    }

    /// Adds an audit device.
    pub async fn enable_audit(&self, path: &str, device: &EnableAudit) -> Result<()> {
        Call::write(self.0, &join("sys/audit", path)).json(device).done().await
    }

    /// Removes an audit device.
    pub async fn disable_audit(&self, path: &str) -> Result<()> {
        Call::delete(self.0, &join("sys/audit", path)).done().await
    }

    /// What this client's token may do on some paths.
    pub async fn capabilities_self(&self, paths: &[&str]) -> Result<BTreeMap<String, Vec<String>>> {
        let body = CapabilitiesRequest { paths: owned(paths), ..CapabilitiesRequest::default() };
        self.capabilities_at("sys/capabilities-self", &body).await
    }

    /// What another token may do on some paths.
    pub async fn capabilities(
        &self,
        token: SecretString,
        paths: &[&str],
    ) -> Result<BTreeMap<String, Vec<String>>> {
        let body = CapabilitiesRequest { paths: owned(paths), token: Some(token), accessor: None };
        self.capabilities_at("sys/capabilities", &body).await
    }

    async fn capabilities_at(
        &self,
        path: &str,
        body: &CapabilitiesRequest,
    ) -> Result<BTreeMap<String, Vec<String>>> {
        let answer: Map = data(Call::write(self.0, path).idempotent().json(body), path).await?;
        let mut out = BTreeMap::new();
        for asked in &body.paths {
            let list = answer.get(asked).and_then(|v| v.as_array()).into_iter().flatten();
            out.insert(asked.clone(), list.filter_map(|v| v.as_str().map(str::to_owned)).collect());
        }
        Ok(out)
    }

    /// Progress of a change of shares.
    pub async fn rekey_status(&self) -> Result<RekeyStatus> {
        Call::read(self.0, "sys/rekey/init").bare().await
    }

    /// Starts a change of shares.
    pub async fn rekey_init(&self, request: &RekeyInit) -> Result<RekeyStatus> {
        Call::write(self.0, "sys/rekey/init").json(request).bare().await
    }

    /// Gives one old share.
    pub async fn rekey_update(&self, nonce: &str, share: SecretString) -> Result<RekeyUpdate> {
        let body = RekeyKey { key: share, nonce: nonce.to_owned() };
        Call::write(self.0, "sys/rekey/update").json(&body).bare().await
    }

    /// Gives one new share back, to prove that it arrived.
    pub async fn rekey_verify(&self, nonce: &str, share: SecretString) -> Result<RekeyUpdate> {
        let body = RekeyKey { key: share, nonce: nonce.to_owned() };
        Call::write(self.0, "sys/rekey/verify").json(&body).bare().await
    }

    /// Gives up a change of shares.
    pub async fn rekey_cancel(&self) -> Result<()> {
        Call::delete(self.0, "sys/rekey/init").done().await
    }

    /// Progress of the making of a root token.
    pub async fn generate_root_status(&self) -> Result<GenerateRootStatus> {
        Call::read(self.0, "sys/generate-root/attempt").bare().await
    }

    /// Starts the making of a root token; the server makes a one-time password when none is given.
    /// Needs a token with `sudo`, or the operator's unix socket.
    pub async fn generate_root_init(&self, how: &GenerateRootInit) -> Result<GenerateRootStatus> {
        Call::write(self.0, "sys/generate-root/attempt").json(how).bare().await
    }

    /// Gives one share.
    pub async fn generate_root_update(&self, nonce: &str, share: SecretString) -> Result<GenerateRootStatus> {
        let body = RekeyKey { key: share, nonce: nonce.to_owned() };
        Call::write(self.0, "sys/generate-root/update").json(&body).bare().await
    }

    /// Gives up the making of a root token.
    pub async fn generate_root_cancel(&self) -> Result<()> {
        Call::delete(self.0, "sys/generate-root/attempt").done().await
    }
}

fn owned(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|p| (*p).to_owned()).collect()
}
