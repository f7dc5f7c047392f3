//! `sys/key-status` and `sys/rotate`: the barrier's numbered terms.

use super::{Done, object};
use crate::fault;
use crate::unsealed::Unsealed;
use serde_json::json;
use vault_logical::{Error, Response, Result, Timestamp};

pub fn status(core: &Unsealed) -> Done {
    let s = core.store.key_status();
    let data = object(json!({
        "term": s.term,
        "install_time": Timestamp::from_unix_nanos(s.installed).rfc3339(),
        "encryptions": s.writes_this_term,
    }));
    Response::data(data).into()
}

/// `sys/rotate`: a new term seals what is written from now on; old terms still open old records.
/// `sys/rotate/root`: a new root key.
pub async fn rotate(core: &Unsealed, rest: &[&str]) -> Result<Done> {
    match rest {
        [] | ["keyring"] => {
            let s = core.store.rotate().await.map_err(fault::storage)?;
            tracing::info!(term = s.term, "barrier key rotated");
        }
        ["root"] => {
            core.store.rotate_root().await.map_err(fault::storage)?;
            tracing::info!("root key rotated");
        }
        _ => return Err(Error::unsupported_path()),
    }
    Ok(Done::default())
}
