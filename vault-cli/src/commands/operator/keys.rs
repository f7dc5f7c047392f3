//! `operator rotate` and `operator key-status`

use crate::context::Context;
use crate::failure::{OK, Outcome};
use serde_json::json;

pub async fn rotate(cx: &mut Context<'_>) -> Outcome {
    cx.client()?.sys().rotate().await?;
    cx.say("Success! Rotated key\n")?;
    status(cx).await
}

pub async fn status(cx: &mut Context<'_>) -> Outcome {
    let s = cx.client()?.sys().key_status().await?;
    let rows = [
        ("Key Term".to_owned(), json!(s.term)),
        ("Install Time".to_owned(), json!(s.install_time)),
        ("Encryption Count".to_owned(), json!(s.encryptions)),
    ];
    let document = json!(s);
    if cx.flags.field.is_some() {
        cx.field(|name| document.get(name))?;
    } else {
        cx.pairs(&rows, &document)?;
    }
    Ok(OK)
}
