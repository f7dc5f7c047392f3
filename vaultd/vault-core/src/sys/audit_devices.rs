//! `sys/audit` and `sys/audit-hash`.

use super::{Call, Done, object};
use crate::audit::{DeviceConfig, Origin};
use crate::devices::{self, MAX_DEVICES};
use crate::exchange::Verb;
use crate::unsealed::Unsealed;
use serde_json::{Value, json};
use std::sync::Arc;
use storage::Transaction;
use vault_logical::{Data, Error, Response, Result, field};

pub async fn handle(
    core: &Arc<Unsealed>,
    txn: &mut Transaction,
    call: &Call<'_>,
    path: &str,
) -> Result<Done> {
    match (call.incoming.verb, path.is_empty()) {
        (Verb::Read | Verb::List, true) => Ok(Response::data(list(core)).into()),
        (Verb::Write, false) => enable(core, txn, call, path).await,
        (Verb::Delete, false) => disable(core, txn, path).await,
        _ => Err(Error::unsupported_operation()),
    }
}

fn list(core: &Unsealed) -> Data {
    let mut all = Data::new();
    for d in core.audit.status() {
        all.insert(
            d.name.clone(),
            json!({
                "type": d.config.type_name(),
                "path": d.name,
                "description": d.config.description,
                "options": d.config.options(),
                "local": false,
                "healthy": d.healthy,
                "error": d.error,
                "records": d.seq,
                "missed": d.missed,
                "flags": d.flags,
            }),
        );
    }
    all
}

/// Opens the file first, so that a device that cannot record is never stored, then stores it.
async fn enable(core: &Arc<Unsealed>, txn: &mut Transaction, call: &Call<'_>, path: &str) -> Result<Done> {
    let data = call.data();
    let type_name = field::required(data, "type")?;
    let description = field::string(data, "description")?.unwrap_or_default();
    let options = field::string_map(data, "options")?.unwrap_or_default();
    let config = DeviceConfig::parse(Origin::Api, path, &type_name, &description, &options)?;
    let _turn = core.device_changes.lock().await;
    let present = core.audit.status();
    if present.iter().any(|d| d.name == config.name) {
        return Err(Error::invalid(format!("path already in use: {}", config.name)));
    }
    if present.len() >= MAX_DEVICES {
        return Err(Error::invalid(format!("at most {MAX_DEVICES} audit devices")));
    }
    devices::enable_new(&core.store, &core.audit, config.clone()).await?;
    devices::put(txn, &config)?;
    Ok(Done { undo_device: Some(config.name), ..Done::default() })
}

/// The device keeps recording until its removal is stored.
async fn disable(core: &Arc<Unsealed>, txn: &mut Transaction, path: &str) -> Result<Done> {
    let name = format!("{}/", path.trim_end_matches('/'));
    let Some(device) = core.audit.status().into_iter().find(|d| d.name == name) else {
        // Like Vault: disabling what is not there succeeds.
        return Ok(Done::default());
    };
    if device.config.from_file || !devices::delete(&core.store, txn, &name).await? {
        return Err(Error::invalid("this device is set in the server's config file; remove it there"));
    }
    Ok(Done { after: super::After::AuditDisable(name), ..Done::default() })
}

/// `sys/audit-head`, a path of our own: the public key and every device's head.
pub fn head(core: &Unsealed) -> Result<Done> {
    let proof = serde_json::to_value(core.audit.proof()).map_err(Error::internal)?;
    Ok(Response::data(object(proof)).into())
}

pub fn hash(core: &Unsealed, call: &Call<'_>, path: &str) -> Result<Done> {
    let input = call
        .data()
        .get("input")
        .and_then(Value::as_str)
        .ok_or_else(|| Error::invalid("missing required field \"input\""))?;
    let hash = core.audit.hash(&format!("{}/", path.trim_end_matches('/')), input)?;
    Ok(Response::data(object(json!({ "hash": hash }))).into())
}
