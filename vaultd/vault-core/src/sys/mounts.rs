//! `sys/mounts` and `sys/auth`: enable, list, read, disable. Settings are in `tune`.

use super::{After, Call, Done, tune};
use crate::exchange::Verb;
use crate::mounts::{self, Mounted, StoredMount};
use crate::unsealed::Unsealed;
use serde_json::{Value, json};
use std::sync::Arc;
use storage::Transaction;
use uuid::Uuid;
use vault_logical::{Data, Error, MountConfig, Response, Result, field};

/// Fields of the body that enables a mount.
const FIELDS: &[&str] = &["type", "description", "options", "config", "local", "seal_wrap"];

/// A mount that a request names.
pub enum Found {
    Mount(Arc<Mounted>),
    /// `sys/` or `auth/token/`.
    Builtin(Arc<StoredMount>),
}

impl Found {
    pub fn record(&self) -> &StoredMount {
        match self {
            Found::Mount(m) => &m.record,
            Found::Builtin(r) => r,
        }
    }
}

/// `kv_1a2b3c4d`: stable, unique, tells the type.
pub fn accessor(type_name: &str, uuid: Uuid) -> String {
    let hex = uuid.simple().to_string();
    format!("{type_name}_{}", hex.get(..8).unwrap_or(&hex))
}

pub async fn handle(
    core: &Arc<Unsealed>,
    txn: &mut Transaction,
    call: &Call<'_>,
    auth: bool,
    path: &str,
) -> Result<Done> {
    let verb = call.incoming.verb;
    if path.is_empty() {
        return match verb {
            Verb::Read | Verb::List => Ok(Response::data(listing(core, auth)).into()),
            _ => Err(Error::unsupported_operation()),
        };
    }
    // `sys/mounts` reads and tunes login methods too, by their whole path.
    let (auth, path) = match path.strip_prefix("auth/") {
        Some(method) if !auth && (verb == Verb::Read || path.ends_with("/tune")) => (true, method),
        _ => (auth, path),
    };
    if let Some(mount) = path.strip_suffix("/tune") {
        return tune::handle(core, txn, call, auth, mount).await;
    }
    match verb {
        Verb::Read => {
            let what = if auth { "auth engine" } else { "secret engine mount" };
            let found = find(core, auth, path)?;
            let missing = || Error::invalid(format!("No {what} at {}/", path.trim_matches('/')));
            Ok(Response::data(describe(found.ok_or_else(missing)?.record())).into())
        }
        Verb::Write => enable(core, txn, call, auth, path).await,
        Verb::Delete => disable(core, txn, auth, path).await,
        _ => Err(Error::unsupported_operation()),
    }
}

/// The mount at `path`, the built-in ones too.
pub fn find(core: &Unsealed, auth: bool, path: &str) -> Result<Option<Found>> {
    let path = mounts::normalise(path)?;
    let builtin = core.mounts.builtin(auth);
    if builtin.path == path {
        return Ok(Some(Found::Builtin(builtin)));
    }
    let full = if auth { format!("auth/{path}") } else { path };
    Ok(core.mounts.at(&full).filter(|m| m.record.auth == auth).map(Found::Mount))
}

/// Every mount by path, the built-in ones too.
fn listing(core: &Unsealed, auth: bool) -> Data {
    let mut all = Data::new();
    for m in core.mounts.all().iter().filter(|m| m.record.auth == auth) {
        let mut entry = describe(&m.record);
        if let Some(reason) = &m.broken {
            entry.insert("error".into(), reason.as_str().into());
        }
        all.insert(m.record.path.clone(), Value::Object(entry));
    }
    let builtin = core.mounts.builtin(auth);
    all.insert(builtin.path.clone(), Value::Object(describe(&builtin)));
    all
}

/// A mount as `sys/mounts` shows it.
pub fn describe(r: &StoredMount) -> Data {
    super::object(json!({
        "type": r.type_name,
        "description": r.description,
        "accessor": r.accessor,
        "uuid": r.uuid.to_string(),
        "config": tune::config_json(r),
        "options": if r.options.is_empty() { Value::Null } else { json!(r.options) },
        "local": r.local,
        "seal_wrap": r.seal_wrap,
        "external_entropy_access": false,
        "plugin_version": "",
        "running_plugin_version": "",
        "running_sha256": "",
        "deprecation_status": "supported",
    }))
}

async fn enable(
    core: &Unsealed,
    txn: &mut Transaction,
    call: &Call<'_>,
    auth: bool,
    path: &str,
) -> Result<Done> {
    let data = call.data();
    let mut type_name = field::required(data, "type")?;
    let mut options = field::string_map(data, "options")?.unwrap_or_default();
    tune::refuse_unbuilt(data)?;
    if let ("kv-v1" | "kv-v2", false) = (type_name.as_str(), auth) {
        options.insert("version".into(), type_name.trim_start_matches("kv-v").into());
        type_name = "kv".into();
    }
    let uuid = Uuid::new_v4();
    let mut record = StoredMount {
        v: 1,
        uuid,
        accessor: accessor(if auth { format!("auth_{type_name}") } else { type_name.clone() }.as_str(), uuid),
        path: path.to_string(),
        auth,
        type_name,
        description: field::string(data, "description")?.unwrap_or_default(),
        options,
        config: MountConfig::default(),
        local: field::boolean(data, "local")?.unwrap_or(false),
        seal_wrap: field::boolean(data, "seal_wrap")?.unwrap_or(false),
        created: core.clock.now(),
        deleting: false,
    };
    let mut warnings: Vec<String> = tune::unrecognised(data, FIELDS).into_iter().collect();
    match data.get("config") {
        None | Some(Value::Null) => {}
        Some(Value::Object(c)) => {
            tune::apply(&mut record, c)?;
            if let (false, Some(o)) = (auth, field::string_map(c, "options")?) {
                record.options.extend(o);
            }
            warnings.extend(tune::unrecognised(c, tune::FIELDS));
        }
        Some(_) => return Err(Error::invalid("unable to convert given mount config information")),
    }
    if record.type_name != "kv" && record.options.get("version").is_some_and(|v| !v.is_empty()) {
        let text = format!("secrets engine \"{}\" does not allow setting a version", record.type_name);
        return Err(Error::invalid(text));
    }
    tune::check(core, &record)?;
    core.mounts.enable(txn, record).await?;
    let response = Response { warnings, ..Response::default() };
    Ok(Done { response, after: After::RefreshMounts, ..Done::default() })
}

async fn disable(core: &Unsealed, txn: &mut Transaction, auth: bool, path: &str) -> Result<Done> {
    let normal = mounts::normalise(path)?;
    // Below `sys/mounts` a login method is read and tuned, not disabled: no 204 may say that it was.
    let kept = ["sys/", "cubbyhole/"].contains(&normal.as_str()) || normal.starts_with("auth/");
    if (!auth && kept) || (auth && normal == "token/") {
        return Err(Error::invalid(format!("cannot unmount \"{normal}\"")));
    }
    // Like Vault: disabling what is not there succeeds.
    let Some(Found::Mount(mounted)) = find(core, auth, path)? else { return Ok(Done::default()) };
    core.mounts.disable(txn, &mounted).await?;
    Ok(Done { after: After::RefreshMounts, ..Done::default() })
}
