//! `vaultd dev`: a whole vault on this machine, ready to try: own CA, a store in a private
//! folder, unsealed, the gateway on, and a demo provider behind it.
//!
//! Its keys lie beside the store, so such a store is marked: `vaultd server` refuses it, and
//! `vaultd dev` touches no other. Loopback only; `~/.vault-token` is never written.

mod demo;
mod folder;
mod notice;

use crate::config::{Config, Timeouts};
use crate::listener::{Bind, BoundSockets, Caps, Door, Listener, Registry, Server};
use crate::run::Prepared;
use crate::server::{Daemon, GATEWAY_MOUNT};
use crate::tls::ServerTls;
use demo::Echo;
use folder::{Kept, certificates, config_text, private_folder, tls_files, write};
use notice::{Notice, reach_cli};
use secmem::{Arena, ExposeSecret, SecretString, Zeroizing};
use serde_json::{Value, json};
use std::error::Error as StdError;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};
use vault_core::CoreHandle;
use vault_core::exchange::{Exchange, Incoming, ReplyBody, Verb};
use vault_logical::{Connection, Data, RequestId, Transport};

/// Characters of a made-up secret.
const DEMO_SECRET_LEN: usize = 24;

/// Why there is no dev vault.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} was not made by `vaultd dev`: give an empty or a new folder", .0.display())]
    Foreign(PathBuf),
    #[error("{0} is not a loopback address: `vaultd dev` listens on this machine only")]
    NotLoopback(SocketAddr),
    #[error(
        "a vault of {} runs already{at}. Use it as its terminal says, or stop it there with Ctrl-C; for a second one: \
         vaultd dev --dir {}-2 --address 127.0.0.1:0 --gateway-address 127.0.0.1:0",
        dir.display(), dir.display()
    )]
    Running { dir: PathBuf, at: String },
    #[error(
        "{address} is in use by another process (`ss -ltnp` names it). Stop it, or choose another port: \
         `vaultd dev {flag} 127.0.0.1:0` takes a free one"
    )]
    PortTaken { address: SocketAddr, flag: &'static str },
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("config: {0}")]
    Config(String),
    #[error("{path}: {message}")]
    Refused { path: String, message: String },
    #[error("the dev store in {} is initialised but its unseal key is not there: remove the folder", .0.display())]
    Keyless(PathBuf),
    #[error("randomness: {0}")]
    Random(#[from] secmem::RandomError),
}

/// The dev folder and what is open in it. Opened before the sandbox closes the folder.
pub struct Dev {
    dir: PathBuf,
    unseal_key: Kept,
    root_token: Kept,
    app_token: Kept,
    /// Commands for the notice.
    reach_cli: Vec<String>,
}

impl Dev {
    /// Makes or opens the folder, and the config for it.
    pub fn open(dir: &Path, api: SocketAddr, gateway: SocketAddr) -> Result<(Dev, Config), DevError> {
        if let Some(out) = [api, gateway].into_iter().find(|a| !a.ip().is_loopback()) {
            return Err(DevError::NotLoopback(out));
        }
        // Before anything of a running one is written over.
        not_running(dir)?;
        for (address, flag) in [(api, "--address"), (gateway, "--gateway-address")] {
            let taken = TcpListener::bind(address).is_err_and(|e| e.kind() == io::ErrorKind::AddrInUse);
            if taken {
                return Err(DevError::PortTaken { address, flag });
            }
        }
        let dir = private_folder(dir)?;
        certificates(&dir)?;
        let file = dir.join("vaultd.hcl");
        let text = config_text(&dir, api, gateway);
        write(&file, text.as_bytes())?;
        let mut config = Config::parse(&file, &text).map_err(|p| {
            DevError::Config(p.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })?;
        config.sources = vec![file];
        let dev = Dev {
            unseal_key: Kept::open(dir.join("unseal-key"))?,
            root_token: Kept::open(dir.join("root-token"))?,
            app_token: Kept::open(dir.join("app-token"))?,
            reach_cli: reach_cli(
                std::env::current_exe().ok().as_deref(),
                std::env::var_os("PATH").as_deref(),
            ),
            dir,
        };
        Ok((dev, config))
    }

    /// Initialises (once) and unseals the vault, fills it with the demo, starts the demo provider.
    pub async fn prepare(&self, daemon: &Daemon, arena: &Arena) -> Result<Prepared, Box<dyn StdError>> {
        let vault = Operator { core: CoreHandle(Arc::clone(daemon.core())) };
        let first = self.unseal(&vault).await?;
        let root = self.root_token.read()?.ok_or_else(|| DevError::Keyless(self.dir.clone()))?;
        if first {
            fill(&vault, &root).await?;
        }
        let provider = self.provider(arena)?;
        let upstream = provider.addresses().first().copied().unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        self.service(&vault, &root, upstream).await?;
        let request = json!({"policies": ["demo-app"], "ttl": "24h", "display_name": "demo-app"});
        let created = vault.write("auth/token/create", Some(&root), request).await?;
        self.app_token.write(text(&created, "/auth/client_token"))?;
        let notice = self.notice(daemon);
        Ok(Prepared { companion: Some(provider), notice })
    }

    /// `true` when the vault was initialised just now.
    async fn unseal(&self, vault: &Operator) -> Result<bool, DevError> {
        let status = vault.call(Verb::Read, "sys/seal-status", None, Value::Null).await?;
        let first = status.get("initialized") == Some(&Value::Bool(false));
        if first {
            let shares = json!({"secret_shares": 1, "secret_threshold": 1});
            let made = vault.write("sys/init", None, shares).await?;
            self.unseal_key.write(text(&made, "/keys_base64/0"))?;
            self.root_token.write(text(&made, "/root_token"))?;
        }
        let key = self.unseal_key.read()?.ok_or_else(|| DevError::Keyless(self.dir.clone()))?;
        vault.write("sys/unseal", None, json!({"key": key.expose_secret()})).await?;
        Ok(first)
    }

    /// The demo provider: tells which headers reached it.
    fn provider(&self, arena: &Arena) -> Result<Server, Box<dyn StdError>> {
        let tls = ServerTls::load(tls_files(&self.dir), arena.clone())?;
        let any = Bind::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let listener = Listener {
            sockets: BoundSockets::bind(&any, 1)?,
            door: Door::Api,
            tls: Some(Arc::new(tls)),
            handler: Arc::new(Echo),
            timeouts: Timeouts::default(),
        };
        Ok(Server::start(vec![listener], Registry::new(Caps::default()), 1)?)
    }

    async fn service(&self, vault: &Operator, root: &SecretString, at: SocketAddr) -> Result<(), DevError> {
        let ca = self.dir.join("ca.pem");
        let pem = fs::read_to_string(&ca).map_err(|source| DevError::File { path: ca, source })?;
        let service = json!({
            "upstream": format!("https://{at}"),
            "ca_cert": pem,
            "credential": {"path": "secret/data/provider", "field": "api_key"},
            "inject": {"header": "authorization", "template": "Bearer {{credential}}"},
            "allow": [{"methods": ["GET", "POST"], "path": "/*"}],
            "auth": [{"type": "token"}],
            "allow_private": true,
        });
        vault.write(&format!("{GATEWAY_MOUNT}services/demo"), Some(root), service).await.map(drop)
    }

    fn notice(&self, daemon: &Daemon) -> String {
        Notice {
            dir: &self.dir,
            api: daemon.api.first().map(ToString::to_string).unwrap_or_default(),
            gateway: daemon.gateway.map(|a| a.to_string()).unwrap_or_default(),
            reach_cli: &self.reach_cli,
        }
        .text()
    }
}

/// Refuses a folder whose vault answers.
fn not_running(dir: &Path) -> Result<(), DevError> {
    if UnixStream::connect(dir.join("vaultd.sock")).is_err() {
        return Ok(());
    }
    let config = Config::load(&[dir.join("vaultd.hcl")]).ok();
    let at = config.and_then(|c| match c.listeners.first().map(|l| l.bind.clone()) {
        Some(Bind::Tcp(address)) if address.port() != 0 => Some(format!(" at https://{address}")),
        _ => None,
    });
    Err(DevError::Running { dir: dir.to_owned(), at: at.unwrap_or_default() })
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The operator at the unix socket, without the socket.
struct Operator {
    core: CoreHandle,
}

impl Operator {
    async fn write(&self, path: &str, token: Option<&SecretString>, body: Value) -> Result<Value, DevError> {
        self.call(Verb::Write, path, token, body).await
    }

    /// A bare answer as it is; of an envelope, `data` and `auth.client_token`.
    async fn call(
        &self,
        verb: Verb,
        path: &str,
        token: Option<&SecretString>,
        body: Value,
    ) -> Result<Value, DevError> {
        let data = match body {
            Value::Object(data) => data,
            _ => Data::new(),
        };
        let incoming = Incoming {
            id: RequestId::new_v4(),
            verb,
            path: path.to_owned(),
            token: token.cloned(),
            namespace: String::new(),
            data,
            wrap_ttl: None,
            merge_patch: false,
            connection: Connection { transport: Transport::Unix, remote: None },
        };
        let refused = |message: String| DevError::Refused { path: path.to_owned(), message };
        match self.core.handle(incoming).await.body {
            ReplyBody::Error(e) => Err(refused(e.message().to_owned())),
            ReplyBody::Bare { status, json } if status < 400 => Ok(json),
            ReplyBody::Bare { status, .. } => Err(refused(format!("status {status}"))),
            ReplyBody::Download(_) => Err(refused("a file".to_owned())),
            ReplyBody::Envelope { response, auth, .. } => Ok(json!({
                "data": response.data,
                "auth": auth.map(|a| json!({"client_token": a.client_token.expose_secret()})),
            })),
        }
    }
}

/// The first contents: two secrets, a policy, the mounts.
async fn fill(vault: &Operator, root: &SecretString) -> Result<(), DevError> {
    let random = || -> Result<Zeroizing<String>, DevError> {
        Ok(Zeroizing::new(secmem::random::base62(DEMO_SECRET_LEN)?.expose_secret().to_owned()))
    };
    let mount = GATEWAY_MOUNT.trim_end_matches('/');
    let (password, api_key) = (random()?, random()?);
    let policy = format!(
        "path \"secret/data/demo\" {{\n  capabilities = [\"read\"]\n}}\npath \"{mount}/proxy/demo/*\" {{\n  capabilities = [\"invoke\"]\n}}\n"
    );
    for (path, body) in [
        ("sys/mounts/secret", json!({"type": "kv", "options": {"version": "2"}})),
        ("secret/data/demo", json!({"data": {"user": "demo", "password": *password}})),
        ("secret/data/provider", json!({"data": {"api_key": format!("sk-demo-{}", *api_key)}})),
        (&format!("sys/mounts/{mount}"), json!({"type": "gateway"})),
        ("sys/policies/acl/demo-app", json!({"policy": policy})),
    ] {
        vault.write(path, Some(root), body).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const ANY: &str = "127.0.0.1:0";

    fn open(dir: &Path) -> Result<(Dev, Config), DevError> {
        Dev::open(dir, ANY.parse().expect("address"), ANY.parse().expect("address"))
    }

    #[test]
    fn only_folders_of_its_own() {
        let home = tempfile::tempdir().expect("dir");
        let fresh = home.path().join("a/b");
        let (_, config) = open(&fresh).expect("new folder");
        assert_eq!(fs::metadata(&fresh).expect("folder").permissions().mode() & 0o777, 0o700);
        let store = config.storage.path.expect("path");
        assert!(crate::run::is_dev_store(&store), "`vaultd server` can tell");
        let ca = fs::read(fresh.join("ca.pem")).expect("ca");
        open(&fresh).expect("again");
        assert_eq!(fs::read(fresh.join("ca.pem")).expect("ca"), ca, "what clients trust stays");
        let ignored = fs::read_to_string(fresh.join(".gitignore")).expect("gitignore");
        assert_eq!(ignored, "*\n", "nobody commits its keys");
        for name in ["unseal-key", "root-token", "app-token", "server-key.pem"] {
            let mode = fs::metadata(fresh.join(name)).expect(name).permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let foreign = home.path().join("foreign");
        fs::create_dir(&foreign).expect("mkdir");
        fs::write(foreign.join("precious"), "x").expect("write");
        assert!(matches!(open(&foreign), Err(DevError::Foreign(_))));
        assert_eq!(fs::read_dir(&foreign).expect("list").count(), 1, "and left alone");
        assert!(!crate::run::is_dev_store(&foreign.join("data")));
    }

    #[test]
    fn a_taken_port_and_a_running_vault_are_named_with_what_to_do() {
        let home = tempfile::tempdir().expect("dir");
        let other = TcpListener::bind(ANY).expect("listen");
        let taken = other.local_addr().expect("address");
        let free: SocketAddr = ANY.parse().expect("address");
        for (api, gateway, flag) in [(taken, free, "--address"), (free, taken, "--gateway-address")] {
            let e = Dev::open(&home.path().join("dev"), api, gateway).map(|_| ()).expect_err(flag);
            let text = e.to_string();
            assert!(
                text.contains(&taken.to_string()) && text.contains(&format!("{flag} 127.0.0.1:0")),
                "{text}"
            );
        }
        assert!(!home.path().join("dev").exists(), "nothing was begun");
        let dir = home.path().join("dev");
        // A port that was free a moment ago; somebody may be quicker.
        let api = loop {
            let found = TcpListener::bind(ANY).and_then(|l| l.local_addr()).expect("a free port");
            match Dev::open(&dir, found, free).map(|_| ()) {
                Ok(()) => break found,
                Err(e) => assert!(matches!(e, DevError::PortTaken { .. }), "{e}"),
            }
        };
        let config = fs::read_to_string(dir.join("vaultd.hcl")).expect("config");
        let running = std::os::unix::net::UnixListener::bind(dir.join("vaultd.sock")).expect("socket");
        let text = open(&dir).map(|_| ()).expect_err("runs already").to_string();
        assert!(
            text.contains(&format!("runs already at https://{api}."))
                && text.contains("Ctrl-C")
                && text.contains("--dir "),
            "{text}"
        );
        assert_eq!(fs::read_to_string(dir.join("vaultd.hcl")).expect("config"), config, "left alone");
        drop(running);
        open(&dir).expect("a socket that nobody listens to is left from a crash");
    }

    #[test]
    fn loopback_only() {
        let dir = tempfile::tempdir().expect("dir");
        for (api, gateway) in [("0.0.0.0:8200", ANY), (ANY, "10.0.0.1:1"), ("[::]:0", ANY)] {
            let opened = Dev::open(dir.path(), api.parse().expect("api"), gateway.parse().expect("gateway"));
            assert!(matches!(opened, Err(DevError::NotLoopback(_))));
        }
        assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 0);
    }
}
