//! `sys/key-status` and `sys/rotate`: the barrier's numbered terms.

use super::{After, Done, Rotation, object};
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
pub fn rotate(rest: &[&str]) -> Result<Done> {
    let rotation = match rest {
        [] | ["keyring"] => Rotation::Barrier,
        ["root"] => Rotation::Root,
        _ => return Err(Error::unsupported_path()),
    };
    Ok(Done { after: After::Rotate(rotation), ..Done::default() })
}

/// Carries out what [`rotate`] decided, after the commit that it was decided in.
pub async fn replace(core: &Unsealed, rotation: Rotation) -> Result<()> {
    match rotation {
        Rotation::Barrier => {
            let s = core.store.rotate().await.map_err(fault::storage)?;
            tracing::info!(term = s.term, "barrier key rotated");
        }
        Rotation::Root => {
            core.store.rotate_root().await.map_err(fault::storage)?;
            tracing::info!("root key rotated");
        }
    }
    Ok(())
}
