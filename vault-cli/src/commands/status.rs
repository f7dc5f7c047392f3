//! `status`

use crate::context::Context;
use crate::failure::{Failure, LOCAL, OK, Outcome, SERVER};
use crate::output::Row;
use serde_json::{Value, json};
use vault_api::sys::SealStatus;

/// Exit code 0 when unsealed, 2 when sealed, 1 when the server cannot be asked.
pub async fn run(cx: &mut Context<'_>) -> Outcome {
    let asked = cx.anonymous()?.sys().seal_status().await;
    let status = asked.map_err(|e| Failure { code: LOCAL, ..Failure::from(e) })?;
    print(cx, &status)?;
    Ok(if status.sealed { SERVER } else { OK })
}

/// The seal status, as several commands print it.
pub fn print(cx: &mut Context<'_>, s: &SealStatus) -> Result<(), Failure> {
    let mut rows: Vec<Row> = vec![
        ("Seal Type".into(), json!(s.seal_type)),
        ("Initialized".into(), json!(s.initialized)),
        ("Sealed".into(), json!(s.sealed)),
        ("Total Shares".into(), json!(s.n)),
        ("Threshold".into(), json!(s.t)),
    ];
    if s.sealed && s.initialized {
        rows.push(("Unseal Progress".into(), json!(format!("{}/{}", s.progress, s.t))));
        rows.push(("Unseal Nonce".into(), if s.nonce.is_empty() { json!("n/a") } else { json!(s.nonce) }));
    }
    for (name, value) in [
        ("Version", &s.version),
        ("Build Date", &s.build_date),
        ("Storage Type", &s.storage_type),
        ("Key Memory", &s.key_memory),
        ("Cluster Name", &s.cluster_name),
        ("Cluster ID", &s.cluster_id),
    ] {
        if !value.is_empty() {
            rows.push((name.into(), json!(value)));
        }
    }
    let document = serde_json::to_value(s).unwrap_or(Value::Null);
    if cx.flags.field.is_some() {
        return cx.field(|name| document.get(name));
    }
    cx.warn(&s.warnings)?;
    cx.pairs(&rows, &document)
}
