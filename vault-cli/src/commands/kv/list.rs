//! `kv list`

use super::Place;
use super::mount::Target;
use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};

#[derive(clap::Args)]
pub struct Args {
    /// Path of the mount; else the first part of the folder
    #[arg(long)]
    mount: Option<String>,
    /// Folder below the mount, or mount/folder; may be left out with -mount
    #[arg(required_unless_present = "mount", default_value = "")]
    folder: String,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        let client = cx.client()?;
        // The server looks a mount up by a path below it.
        let place = Place { mount: self.mount, key: self.folder.trim_end_matches('/').to_owned() };
        let target = Target::find(cx, &client, &place).await?;
        let folder = if target.key.is_empty() { String::new() } else { format!("{}/", target.key) };
        let keys = match target.versioned {
            true => target.versions(&client, "list")?.list(&folder).await?,
            false => target.plain(&client).list(&folder).await?,
        };
        if keys.is_empty() {
            return Err(Failure::nothing_at(&target.api("metadata")));
        }
        cx.keys(&keys)?;
        Ok(OK)
    }
}
