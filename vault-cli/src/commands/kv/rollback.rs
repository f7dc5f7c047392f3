//! `kv rollback`

use super::mount::Target;
use super::{Place, written};
use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// The version to write again
    #[arg(long)]
    version: u64,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        let client = cx.client()?;
        let target = Target::find(cx, &client, &self.place).await?.with_key()?;
        let kv = target.versions(&client, "rollback")?;
        let path = target.api("data");
        // Nobody else's write in between may be lost: the current version is the condition.
        let current = kv.metadata(&target.key).await?.ok_or_else(|| Failure::nothing_at(&path))?;
        let old =
            kv.get_version(&target.key, self.version).await?.ok_or_else(|| Failure::nothing_at(&path))?;
        let Some(data) = old.data else {
            return Err(Failure::nothing_at(&path).advise(format!(
                "Version {} is deleted or destroyed, so it cannot be written again.",
                self.version
            )));
        };
        let m = kv.put(&target.key, data.expose(), Some(current.current_version)).await?;
        written(cx, &target, &m)?;
        Ok(OK)
    }
}
