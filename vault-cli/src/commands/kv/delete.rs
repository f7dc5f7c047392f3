//! `kv delete`

use super::Place;
use super::mount::Target;
use crate::context::Context;
use crate::failure::{OK, Outcome};
use crate::values;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Which versions, such as 1,2; the current one when absent
    #[arg(long)]
    versions: Vec<String>,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        let client = cx.client()?;
        let target = Target::find(cx, &client, &self.place).await?.with_key()?;
        if !self.versions.is_empty() {
            let versions = values::versions(&self.versions)?;
            target.versions(&client, "delete -versions")?.delete_versions(&target.key, &versions).await?;
        } else if target.versioned {
            target.versions(&client, "delete")?.delete(&target.key).await?;
        } else {
            target.plain(&client).delete(&target.key).await?;
        }
        cx.say(&format!("Success! Data deleted (if it existed) at: {}", target.api("data")))?;
        Ok(OK)
    }
}
