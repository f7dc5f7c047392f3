//! Finds out where a key's mount ends and whether it keeps versions.

use super::Place;
use crate::context::Context;
use crate::failure::Failure;
use vault_api::Envelope;
use vault_client::{Call, Client, Kind, Kv1, Kv2, SecretMap};

/// A key below a mount.
pub struct Target {
    pub mount: String,
    pub key: String,
    /// The mount keeps versions.
    pub versioned: bool,
}

impl Target {
    /// Asks the server about the mount. For a server that is too old to say, the first part of the
    /// path is a mount without versions.
    ///
    /// # Errors
    /// When the server cannot be asked, or there is no key.
    pub async fn find(cx: &mut Context<'_>, client: &Client, place: &Place) -> Result<Target, Failure> {
        let key = place.key.trim_start_matches('/');
        let full = match &place.mount {
            Some(mount) => format!("{}/{key}", mount.trim_matches('/')),
            None => key.to_owned(),
        };
        let asked = format!("sys/internal/ui/mounts/{full}");
        let answer: Result<Option<Envelope<SecretMap>>, _> =
            Call::read(client, &asked).preliminary().send().await;
        let data = match answer {
            Ok(answer) => answer.and_then(|a| a.data),
            // Answered for every mount in which the token may do anything at all.
            Err(e) if e.kind() == Kind::PermissionDenied => {
                let message = format!(
                    "{full}: nothing is mounted there, or the token is not valid or may do nothing there"
                );
                let advice = "Is the token still valid? See: vault-cli token lookup (permission denied: it is expired, revoked or unknown)\n\
                     What is mounted? See: vault-cli secrets list\n\
                     What may the token do there? See: vault-cli token capabilities <path>";
                return Err(Failure { message, ..Failure::from(e) }.advise(advice));
            }
            Err(e) if matches!(e.kind(), Kind::NotFound | Kind::Unsupported) => {
                cx.remark("WARNING! The server does not tell what is mounted there: taken as a mount without versions.")?;
                None
            }
            Err(e) => return Err(e.into()),
        };
        let named = place.mount.as_deref().map(|m| m.trim_matches('/').to_owned());
        let found = data.as_ref().and_then(|d| d.text("path")).map(|p| p.trim_matches('/').to_owned());
        let first = || full.split('/').next().unwrap_or("").to_owned();
        let mount = named.or(found).unwrap_or_else(first);
        let rest = full.strip_prefix(mount.as_str()).unwrap_or("").trim_start_matches('/');
        let version = data.as_ref().and_then(|d| d.get("options")).and_then(|o| o.get("version"));
        Ok(Target { key: rest.to_owned(), versioned: version.and_then(|v| v.as_str()) == Some("2"), mount })
    }

    /// The mount with versions.
    ///
    /// # Errors
    /// When it has none.
    pub fn versions<'c>(&self, client: &'c Client, command: &str) -> Result<Kv2<'c>, Failure> {
        if self.versioned {
            return Ok(client.kv2(&self.mount));
        }
        Err(Failure::local(format!("{}/ keeps no versions, so there is no kv {command}", self.mount))
            .advise("Does the token see the mount? See: vault-cli secrets list -detailed"))
    }

    /// The mount without versions.
    pub fn plain<'c>(&self, client: &'c Client) -> Kv1<'c> {
        client.kv1(&self.mount)
    }

    /// The API path of this key; `kind` counts only with versions.
    pub fn api(&self, kind: &str) -> String {
        if self.versioned {
            format!("{}/{kind}/{}", self.mount, self.key)
        } else {
            format!("{}/{}", self.mount, self.key)
        }
    }

    /// # Errors
    /// When only the mount was named.
    pub fn with_key(self) -> Result<Target, Failure> {
        match self.key.is_empty() {
            true => Err(Failure::local("the key is missing: write mount/key, or -mount=mount key")),
            false => Ok(self),
        }
    }
}
