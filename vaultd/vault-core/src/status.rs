//! The answers that need no token: health, seal-status, leader, init.
//! <https://developer.hashicorp.com/vault/api-docs/system/health> and its neighbours.

use crate::core::Core;
use serde_json::{Value, json};
use vault_logical::{Data, field};

/// Built from this release; clients only parse the form.
const BUILD_DATE: &str = "2026-11-20T00:00:00Z";

/// `sys/health`: the status code says the state, and the caller may choose the codes.
pub fn health(core: &Core, query: &Data) -> (u16, Value, bool) {
    let status = core.store.status();
    let sealed = core.unsealed.load().is_none();
    let code = |name: &str, default: u16| {
        field::unsigned(query, name)
            .ok()
            .flatten()
            .and_then(|c| u16::try_from(c).ok())
            .filter(|c| (100..=599).contains(c))
            .unwrap_or(default)
    };
    let http = match (status.initialized, sealed) {
        (false, _) => code("uninitcode", 501),
        (true, true) => code("sealedcode", 503),
        (true, false) => code("activecode", 200),
    };
    // Until it is open it leads nothing and knows of no replication, and does not say who it is.
    let replication = if sealed { "unknown" } else { "disabled" };
    let mut body = json!({
        "initialized": status.initialized,
        "sealed": sealed,
        "standby": sealed,
        "performance_standby": false,
        "replication_performance_mode": replication,
        "replication_dr_mode": replication,
        "server_time_utc": core.config.clock.now().unix_secs(),
        "version": core.config.version,
        "enterprise": false,
        "echo_duration_ms": 0,
        "clock_skew_ms": 0,
        "replication_primary_canary_age_ms": 0,
        "snapshot": snapshot(core),
    });
    if let (false, Value::Object(b)) = (sealed, &mut body) {
        b.insert("cluster_name".into(), core.config.cluster_name.as_str().into());
        b.insert("cluster_id".into(), status.store_id.to_string().into());
    }
    (http, body, false)
}

/// Age and outcome of the newest snapshot; null when none are configured or taken.
fn snapshot(core: &Core) -> Value {
    let figures = core.snapshots.figures();
    if figures.last_success.is_none() && core.snapshots.interval().is_none() {
        return Value::Null;
    }
    let now = core.config.clock.now();
    json!({
        "age_seconds": core.snapshots.age(now),
        "last_attempt": if figures.last_error.is_some() { "failed" } else { "ok" },
        "overdue": core.snapshots.is_overdue(now),
    })
}

/// `sys/seal-status`, with what this server adds: how keys are held and what is dangerous.
pub async fn seal_status(core: &Core) -> Value {
    let (progress, nonce) = {
        let mut p = core.ceremony.lock().await;
        p.expire();
        (p.len(), p.nonce())
    };
    render(core, progress, &nonce)
}

/// The same for a caller that holds the ceremony lock.
pub fn render(core: &Core, progress: usize, nonce: &str) -> Value {
    let s = core.store.status();
    let unsealed = core.unsealed.load_full();
    let mut warnings = core.config.process.warnings.clone();
    if let Some(u) = &unsealed
        && u.audit.status().is_empty()
    {
        warnings.push("no audit device is enabled: requests are served but not recorded".into());
    }
    if let Some(why) = &s.rollback {
        warnings.push(format!("unseal needs -accept-rollback: {why}"));
    }
    if core.snapshots.is_overdue(core.config.clock.now()) {
        warnings.push("the newest snapshot is older than two intervals, or there is none".into());
    }
    json!({
        "type": "shamir",
        "initialized": s.initialized,
        "sealed": unsealed.is_none(),
        "t": s.threshold,
        "n": s.shares,
        "progress": progress,
        "nonce": nonce,
        "version": core.config.version,
        "build_date": BUILD_DATE,
        "commit_date": BUILD_DATE,
        "migration": false,
        "recovery_seal": false,
        "cluster_name": core.config.cluster_name,
        "cluster_id": s.store_id.to_string(),
        "storage_type": s.backend,
        "restore_pending": s.restore_pending,
        "key_memory": core.config.process.key_memory,
        "memory_locked": core.config.process.locked,
        "anchor_on_other_device": s.anchor_on_other_device,
        "warnings": warnings,
    })
}

/// `sys/leader`: one node, always its own leader.
pub fn leader(core: &Core) -> Value {
    json!({
        "ha_enabled": false,
        "is_self": core.unsealed.load().is_some(),
        "active_time": "0001-01-01T00:00:00Z",
        "leader_address": "",
        "leader_cluster_address": "",
        "performance_standby": false,
        "performance_standby_last_remote_wal": 0,
    })
}

pub fn init(core: &Core) -> Value {
    json!({ "initialized": core.store.status().initialized })
}
