//! `sys/metrics`. <https://developer.hashicorp.com/vault/api-docs/system/metrics>

use super::{Call, Done};
use crate::metrics::Format;
use crate::unsealed::Unsealed;
use vault_logical::{Response, Result, field};

/// The figures, in the form that is asked for.
pub async fn read(core: &Unsealed, call: &Call<'_>) -> Result<Done> {
    let format = Format::named(field::string(call.data(), "format")?.as_deref())?;
    let raw = core.collector.body(format, Some(core)).await;
    Ok(Response { raw: Some(raw), ..Response::default() }.into())
}
