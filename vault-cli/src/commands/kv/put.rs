//! `kv put`

use super::mount::Target;
use super::{Place, written};
use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use crate::values;
use vault_client::SecretMap;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Fields: key=value, key=@file, key=- (standard input), @file or - (a JSON object)
    data: Vec<String>,
    /// Write only if this is the current version; 0: only if there is none
    #[arg(long)]
    cas: Option<u64>,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        if self.data.is_empty() {
            return Err(Failure::local("no field to write: give key=value, @file or -"));
        }
        let data = SecretMap::from(values::parse(&self.data, &mut cx.io)?);
        let client = cx.client()?;
        let target = Target::find(cx, &client, &self.place).await?.with_key()?;
        if target.versioned {
            let kv = target.versions(&client, "put")?;
            let m = kv.put(&target.key, data.expose(), self.cas).await?;
            written(cx, &target, &m)?;
        } else {
            if self.cas.is_some() {
                target.versions(&client, "put -cas")?;
            }
            target.plain(&client).put(&target.key, data.expose()).await?;
            cx.say(&format!("Success! Data written to: {}", target.api("data")))?;
        }
        Ok(OK)
    }
}
