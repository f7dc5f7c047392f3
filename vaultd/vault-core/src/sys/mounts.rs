//! `sys/mounts` and `sys/auth`: enable, list, tune, disable.

use super::{After, Call, Done, object};
use crate::exchange::Verb;
use crate::mounts::{self, Mounted, StoredMount};
use crate::unsealed::Unsealed;
use serde_json::{Value, json};
use std::sync::Arc;
use storage::Transaction;
use uuid::Uuid;
use vault_logical::{Data, Error, MountConfig, Response, Result, field};

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
    if path.is_empty() {
        return match call.incoming.verb {
            Verb::Read | Verb::List => Ok(Response::data(listing(core, auth)).into()),
            _ => Err(Error::unsupported_operation()),
        };
    }
    if let Some(mount) = path.strip_suffix("/tune") {
        return tune(core, txn, call, auth, mount).await;
    }
    match call.incoming.verb {
        Verb::Read => Ok(Response::data(describe(&*find(core, auth, path)?)).into()),
        Verb::Write => enable(core, txn, call, auth, path).await,
        Verb::Delete => disable(core, txn, auth, path).await,
        _ => Err(Error::unsupported_operation()),
    }
}

fn find(core: &Unsealed, auth: bool, path: &str) -> Result<Arc<Mounted>> {
    let path = mounts::normalise(path)?;
    let full = if auth { format!("auth/{path}") } else { path.clone() };
    core.mounts
        .at(&full)
        .filter(|m| m.record.auth == auth)
        .ok_or_else(|| Error::invalid(format!("no mount at {path}")))
}

/// Every mount by path, the built-in ones too.
fn listing(core: &Unsealed, auth: bool) -> Data {
    let mut all = Data::new();
    for m in core.mounts.all().iter().filter(|m| m.record.auth == auth) {
        all.insert(m.record.path.clone(), Value::Object(describe(m)));
    }
    let (path, type_name, text) = if auth {
        ("token/", "token", "token based credentials")
    } else {
        ("sys/", "system", "system endpoints used for control, policy and debugging")
    };
    let uuid = Uuid::new_v5(&core.store.store_id(), path.as_bytes());
    all.insert(
        path.into(),
        entry(
            type_name,
            text,
            &accessor(type_name, uuid),
            uuid,
            &MountConfig::default(),
            &Default::default(),
            false,
            false,
        ),
    );
    all
}

pub fn describe(m: &Mounted) -> Data {
    let r = &m.record;
    object(entry(
        &r.type_name,
        &r.description,
        &r.accessor,
        r.uuid,
        &r.config,
        &r.options,
        r.local,
        r.seal_wrap,
    ))
}

#[allow(clippy::too_many_arguments)] // one field each of Vault's mount object
fn entry(
    type_name: &str,
    description: &str,
    accessor: &str,
    uuid: Uuid,
    config: &MountConfig,
    options: &std::collections::BTreeMap<String, String>,
    local: bool,
    seal_wrap: bool,
) -> Value {
    json!({
        "type": type_name,
        "description": description,
        "accessor": accessor,
        "uuid": uuid.to_string(),
        "config": config_json(config),
        "options": if options.is_empty() { Value::Null } else { json!(options) },
        "local": local,
        "seal_wrap": seal_wrap,
        "external_entropy_access": false,
        "plugin_version": "",
        "running_plugin_version": "",
        "running_sha256": "",
        "deprecation_status": "supported",
    })
}

fn config_json(c: &MountConfig) -> Value {
    let mut v = object(json!({
        "default_lease_ttl": c.default_lease_ttl,
        "max_lease_ttl": c.max_lease_ttl,
        "force_no_cache": c.force_no_cache,
    }));
    if let Some(t) = &c.token_type {
        v.insert("token_type".into(), t.as_str().into());
    }
    if let Some(l) = &c.listing_visibility {
        v.insert("listing_visibility".into(), l.as_str().into());
    }
    for (name, keys) in [
        ("audit_non_hmac_request_keys", &c.audit_non_hmac_request_keys),
        ("audit_non_hmac_response_keys", &c.audit_non_hmac_response_keys),
    ] {
        if !keys.is_empty() {
            v.insert(name.into(), json!(keys));
        }
    }
    Value::Object(v)
}

/// Takes the tunable fields that are present.
// A mount may exceed the system's maximum, as in Vault: it is the operator's choice.
fn apply_config(config: &mut MountConfig, data: &Data) -> Result<()> {
    if let Some(d) = field::duration(data, "default_lease_ttl")? {
        config.default_lease_ttl = d.as_secs();
    }
    if let Some(d) = field::duration(data, "max_lease_ttl")? {
        config.max_lease_ttl = d.as_secs();
    }
    if config.max_lease_ttl != 0 && config.default_lease_ttl > config.max_lease_ttl {
        return Err(Error::invalid("default_lease_ttl is greater than max_lease_ttl"));
    }
    if let Some(b) = field::boolean(data, "force_no_cache")? {
        config.force_no_cache = b;
    }
    if let Some(t) = field::string(data, "token_type")? {
        if !matches!(t.as_str(), "default-service" | "service" | "") {
            return Err(Error::invalid("token_type: only service tokens are supported by this server"));
        }
        config.token_type = Some(t).filter(|t| !t.is_empty());
    }
    if let Some(l) = field::string(data, "listing_visibility")? {
        if !matches!(l.as_str(), "" | "hidden" | "unauth") {
            return Err(Error::invalid("listing_visibility is hidden or unauth"));
        }
        config.listing_visibility = Some(l).filter(|l| !l.is_empty());
    }
    if let Some(k) = field::strings(data, "audit_non_hmac_request_keys")? {
        config.audit_non_hmac_request_keys = k;
    }
    if let Some(k) = field::strings(data, "audit_non_hmac_response_keys")? {
        config.audit_non_hmac_response_keys = k;
    }
    Ok(())
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
    if !auth && type_name == "kv-v2" {
        type_name = "kv".into();
        options.insert("version".into(), "2".into());
    }
    let mut config = MountConfig::default();
    if let Some(c) = data.get("config").and_then(Value::as_object) {
        apply_config(&mut config, c)?;
        if let (false, Some(o)) = (auth, field::string_map(c, "options")?) {
            options.extend(o);
        }
    }
    let uuid = Uuid::new_v4();
    let record = StoredMount {
        v: 1,
        uuid,
        accessor: accessor(if auth { format!("auth_{type_name}") } else { type_name.clone() }.as_str(), uuid),
        path: path.to_string(),
        auth,
        type_name,
        description: field::string(data, "description")?.unwrap_or_default(),
        options,
        config,
        local: field::boolean(data, "local")?.unwrap_or(false),
        seal_wrap: field::boolean(data, "seal_wrap")?.unwrap_or(false),
        created: core.clock.now(),
        deleting: false,
    };
    core.mounts.enable(txn, record).await?;
    Ok(Done { after: After::RefreshMounts, ..Done::default() })
}

async fn disable(core: &Unsealed, txn: &mut Transaction, auth: bool, path: &str) -> Result<Done> {
    let normal = mounts::normalise(path)?;
    if (!auth && matches!(normal.as_str(), "sys/" | "cubbyhole/")) || (auth && normal == "token/") {
        return Err(Error::invalid(format!("\"{normal}\" cannot be disabled")));
    }
    // Like Vault: disabling what is not there succeeds.
    let Ok(mounted) = find(core, auth, path) else { return Ok(Done::default()) };
    core.mounts.disable(txn, &mounted).await?;
    Ok(Done { after: After::RefreshMounts, ..Done::default() })
}

async fn tune(
    core: &Unsealed,
    txn: &mut Transaction,
    call: &Call<'_>,
    auth: bool,
    path: &str,
) -> Result<Done> {
    if (auth && path == "token") || (!auth && path == "sys") {
        return match call.incoming.verb {
            Verb::Read => {
                let ttl = core.mounts.ttl();
                Ok(Response::data(object(json!({
                    "default_lease_ttl": ttl.default.as_secs(), "max_lease_ttl": ttl.max.as_secs(),
                    "force_no_cache": false, "description": "",
                })))
                .into())
            }
            _ => Err(Error::invalid("the built-in mounts are tuned in the server's config file")),
        };
    }
    let mounted = find(core, auth, path)?;
    match call.incoming.verb {
        Verb::Read => {
            let mut v = object(config_json(&mounted.record.config));
            v.insert("default_lease_ttl".into(), mounted.mount.default_ttl.as_secs().into());
            v.insert("max_lease_ttl".into(), mounted.mount.max_ttl.as_secs().into());
            v.insert("description".into(), mounted.record.description.as_str().into());
            if !mounted.record.options.is_empty() {
                v.insert("options".into(), json!(mounted.record.options));
            }
            Ok(Response::data(v).into())
        }
        Verb::Write => {
            let data = call.data();
            core.mounts
                .update(txn, &mounted, |record| {
                    apply_config(&mut record.config, data)?;
                    if let Some(d) = field::string(data, "description")? {
                        record.description = d;
                    }
                    if let Some(o) = field::string_map(data, "options")?.filter(|o| !o.is_empty()) {
                        record.options.extend(o);
                        mounted.engine.check_options(&record.options)?;
                    }
                    Ok(())
                })
                .await?;
            Ok(Done { after: After::RefreshMounts, ..Done::default() })
        }
        _ => Err(Error::unsupported_operation()),
    }
}
