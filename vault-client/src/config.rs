//! Where the server is and how to reach it: from code, or from Vault's environment variables.

use crate::client::Client;
use crate::connect::Target;
use crate::error::{Error, Result};
use crate::limits::{DEFAULT_RETRIES, DEFAULT_TIMEOUT, MAX_RETRIES};
use crate::tls::{self, TlsOptions};
use crate::transport::Transport;
use rustls_pki_types::ServerName;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use url::{Host, Url};
use vault_api::SecretString;

/// The address of a server nobody named, as in Vault.
pub const DEFAULT_ADDRESS: &str = "https://127.0.0.1:8200";

/// Settings of a [`Client`]. Start with [`Builder::new`] or [`Builder::from_env`].
pub struct Builder {
    address: String,
    token: Option<SecretString>,
    namespace: String,
    timeout: Duration,
    retries: u32,
    tls: TlsOptions,
    danger_plain_http: bool,
    preview: bool,
}

impl Builder {
    /// `address` is `https://host[:port][/prefix]`, or `unix:///path/to/socket`.
    pub fn new(address: impl Into<String>) -> Builder {
        Builder {
            address: address.into(),
            token: None,
            namespace: String::new(),
            timeout: DEFAULT_TIMEOUT,
            retries: DEFAULT_RETRIES,
            tls: TlsOptions::default(),
            danger_plain_http: false,
            preview: false,
        }
    }

    /// Reads `VAULT_ADDR`, `VAULT_TOKEN`, `VAULT_NAMESPACE`, `VAULT_CACERT`, `VAULT_CAPATH`,
    /// `VAULT_CLIENT_CERT`, `VAULT_CLIENT_KEY`, `VAULT_TLS_SERVER_NAME`, `VAULT_SKIP_VERIFY`,
    /// `VAULT_CLIENT_TIMEOUT` and `VAULT_MAX_RETRIES`.
    ///
    /// # Errors
    /// `Config` for a value that cannot be read.
    pub fn from_env() -> Result<Builder> {
        Builder::from_lookup(|name| std::env::var(name).ok())
    }

    /// The same from any source of variables.
    ///
    /// # Errors
    /// As [`Builder::from_env`].
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Builder> {
        let get = |name: &str| lookup(name).filter(|v| !v.is_empty());
        let mut b = Builder::new(get("VAULT_ADDR").unwrap_or_else(|| DEFAULT_ADDRESS.into()));
        b.token = get("VAULT_TOKEN").map(|t| t.trim().into());
        b.namespace = get("VAULT_NAMESPACE").unwrap_or_default();
        b.tls.ca_files = get("VAULT_CACERT").map(PathBuf::from).into_iter().collect();
        b.tls.ca_dir = get("VAULT_CAPATH").map(PathBuf::from);
        b.tls.client_cert = get("VAULT_CLIENT_CERT").map(PathBuf::from);
        b.tls.client_key = get("VAULT_CLIENT_KEY").map(PathBuf::from);
        b.tls.server_name = get("VAULT_TLS_SERVER_NAME");
        if let Some(v) = get("VAULT_SKIP_VERIFY") {
            b.tls.danger_skip_verify = boolean("VAULT_SKIP_VERIFY", &v)?;
        }
        if let Some(v) = get("VAULT_CLIENT_TIMEOUT") {
            b.timeout = duration(&v)
                .filter(|d| !d.is_zero())
                .ok_or_else(|| Error::Config(format!("VAULT_CLIENT_TIMEOUT: {v:?} is not a duration")))?;
        }
        if let Some(v) = get("VAULT_MAX_RETRIES") {
            let n: u32 =
                v.parse().map_err(|_| Error::Config(format!("VAULT_MAX_RETRIES: {v:?} is not a number")))?;
            b.retries = n.min(MAX_RETRIES);
        }
        Ok(b)
    }

    /// Replaces the address.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = address.into();
        self
    }

    /// The token sent with every call.
    #[must_use]
    pub fn token(mut self, token: impl Into<SecretString>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The namespace of every call; empty is the root namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// A PEM file with the CA that signed the server's certificate. Replaces the system's CAs; may
    /// be called several times.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.ca_files.push(path.into());
        self
    }

    /// Only this file, whatever was named before.
    #[must_use]
    pub fn only_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.ca_files = vec![path.into()];
        self.tls.ca_dir = None;
        self
    }

    /// A directory of PEM files (`.pem`, `.crt`, `.cer`).
    #[must_use]
    pub fn ca_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.ca_dir = Some(path.into());
        self
    }

    /// A CA in memory, PEM.
    #[must_use]
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.ca_pem.push(pem.into());
        self
    }

    /// A client certificate and its key, PEM files.
    #[must_use]
    pub fn client_certificate(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls.client_cert = Some(cert.into());
        self.tls.client_key = Some(key.into());
        self
    }

    /// The name that the server's certificate must carry, when it is not the host of the address.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.tls.server_name = Some(name.into());
        self
    }

    /// Also speak TLS 1.2.
    #[must_use]
    pub fn allow_tls12(mut self) -> Self {
        self.tls.tls12 = true;
        self
    }

    /// Take any certificate: whoever answers gets the token. For a laptop, never for a service.
    #[must_use]
    pub fn danger_skip_verify(mut self) -> Self {
        self.tls.danger_skip_verify = true;
        self
    }

    /// Check certificates, whatever the environment said.
    #[must_use]
    pub fn verify(mut self) -> Self {
        self.tls.danger_skip_verify = false;
        self
    }

    /// Allow `http://` to another host than this one: the token and every secret go in clear.
    #[must_use]
    pub fn danger_plain_http(mut self) -> Self {
        self.danger_plain_http = true;
        self
    }

    /// Show calls instead of sending them: each fails with [`crate::Kind::Preview`], and the first one is given out by
    /// [`Client::take_preview`].
    #[must_use]
    pub fn preview(mut self) -> Self {
        self.preview = true;
        self
    }

    /// Bound of one attempt, answer included.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often a call that is safe to repeat is tried again; at most 20.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries.min(MAX_RETRIES);
        self
    }

    /// Checks everything and makes the client. Nothing is sent yet.
    ///
    /// # Errors
    /// `Config` for an unusable address, token, certificate file or TLS setting.
    pub fn build(self) -> Result<Client> {
        let (target, origin, prefix) = self.target()?;
        let transport = Transport::new(target, origin, self.address, self.timeout);
        Client::new(transport, prefix, self.token, &self.namespace, self.retries, self.preview)
    }

    /// The connection's target, the origin of its URIs and the path prefix of an API behind a proxy.
    fn target(&self) -> Result<(Target, String, String)> {
        let bad = |why: &str| Error::Config(format!("address {:?}: {why}", self.address));
        if let Some(path) = self.address.strip_prefix("unix://") {
            if !path.starts_with('/') {
                return Err(bad("a unix socket needs an absolute path: unix:///run/vaultd.sock"));
            }
            return Ok((Target::Unix(path.into()), "http://localhost".into(), String::new()));
        }
        // `vault.example:8200` parses as a URL with the scheme `vault.example`.
        if !self.address.contains("://") {
            return Err(bad(&format!("it has no scheme: write https://{}", self.address)));
        }
        let url = Url::parse(&self.address).map_err(|e| bad(&e.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::Config("the address may not hold a user or password".into()));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("it may not hold a query"));
        }
        let host = url.host().ok_or_else(|| bad("it has no host"))?.to_owned();
        let port = url.port_or_known_default().unwrap_or(8200);
        let prefix = url.path().trim_end_matches('/').to_owned();
        let origin = format!("{}://{host}:{port}", url.scheme());
        let plain = host_text(&host);
        let target = match url.scheme() {
            "https" => {
                let name = self.tls.server_name.clone().unwrap_or_else(|| plain.clone());
                let name = ServerName::try_from(name).map_err(|_| bad("unusable server name"))?;
                Target::Tls { host: plain, port, name, config: tls::client_config(&self.tls)? }
            }
            "http" if self.danger_plain_http || is_loopback(&host) => Target::Plain { host: plain, port },
            "http" => {
                return Err(bad(
                    "http sends the token in clear, which is only allowed to this host; use https",
                ));
            }
            _ => return Err(bad("use https://, http:// or unix://")),
        };
        Ok((target, origin, prefix))
    }
}

fn host_text(host: &Host<String>) -> String {
    match host {
        Host::Domain(d) => d.clone(),
        Host::Ipv4(a) => a.to_string(),
        Host::Ipv6(a) => a.to_string(),
    }
}

fn is_loopback(host: &Host<String>) -> bool {
    match host {
        Host::Domain(d) => d == "localhost",
        Host::Ipv4(a) => a.is_loopback(),
        Host::Ipv6(a) => IpAddr::V6(*a).to_canonical().is_loopback(),
    }
}

fn boolean(name: &str, text: &str) -> Result<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err(Error::Config(format!("{name}: {text:?} is not true or false"))),
    }
}

/// Seconds, or a number with `ms`, `s`, `m` or `h`.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split)?;
    let n: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(n)),
        "" | "s" => Some(Duration::from_secs(n)),
        "m" => n.checked_mul(60).map(Duration::from_secs),
        "h" => n.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn built(b: Builder) -> Result<(), String> {
        b.build().map(|_| ()).map_err(|e| {
            assert_eq!(e.kind(), Kind::Config);
            e.to_string()
        })
    }

    #[test]
    fn addresses_are_checked_before_anything_is_sent() {
        for ok in [
            "https://vault.example:8200",
            "https://[::1]:8200/prefix/",
            "http://127.0.0.1:8200",
            "http://localhost",
            "http://[::1]",
            "unix:///run/v.sock",
        ] {
            assert_eq!(built(Builder::new(ok).danger_skip_verify()), Ok(()), "{ok}");
        }
        for bad in [
            "vault:8200",
            "",
            "ftp://x",
            "http://vault.example",
            "https://u:p@x",
            "https://x?y",
            "unix://relative",
            "http://127.0.0.1.evil.example",
        ] {
            assert!(built(Builder::new(bad).danger_skip_verify()).is_err(), "{bad}");
        }
        let e = built(Builder::new("https://user:hunter2@x")).unwrap_err();
        assert!(!e.contains("hunter2"));
        assert_eq!(built(Builder::new("http://vault.example").danger_plain_http()), Ok(()));
    }

    #[test]
    fn the_environment_is_vaults() {
        let env = |pairs: &'static [(&str, &str)]| {
            Builder::from_lookup(move |n| pairs.iter().find(|(k, _)| *k == n).map(|(_, v)| (*v).to_owned()))
        };
        let b = env(&[
            ("VAULT_ADDR", "https://v:1"),
            ("VAULT_TOKEN", " hvs.x\n"),
            ("VAULT_NAMESPACE", "a/"),
            ("VAULT_SKIP_VERIFY", "True"),
            ("VAULT_CLIENT_TIMEOUT", "90s"),
            ("VAULT_MAX_RETRIES", "5"),
            ("VAULT_CACERT", "/ca"),
        ])
        .unwrap();
        assert_eq!((b.address.as_str(), b.retries, b.timeout), ("https://v:1", 5, Duration::from_secs(90)));
        assert!(b.tls.danger_skip_verify && b.tls.ca_files == [PathBuf::from("/ca")]);
        let b = env(&[("VAULT_TOKEN", "")]).unwrap();
        assert!(b.token.is_none() && b.address == DEFAULT_ADDRESS);
        for bad in [
            ("VAULT_SKIP_VERIFY", "maybe"),
            ("VAULT_CLIENT_TIMEOUT", "0"),
            ("VAULT_CLIENT_TIMEOUT", "1y"),
            ("VAULT_MAX_RETRIES", "-1"),
        ] {
            let r = Builder::from_lookup(|n| (n == bad.0).then(|| bad.1.to_owned()));
            assert_eq!(r.err().map(|e| e.kind()), Some(Kind::Config), "{bad:?}");
        }
    }

    #[test]
    fn certificate_files_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, "nothing").unwrap();
        for b in [
            Builder::new("https://x").ca_file(&file),
            Builder::new("https://x").ca_file("/nonexistent"),
            Builder::new("https://x").ca_dir(dir.path()),
            Builder::new("https://x").ca_pem("x").server_name("not a name"),
            Builder::new("https://x").danger_skip_verify().client_certificate(&file, &file),
        ] {
            assert!(built(b).is_err());
        }
    }
}
