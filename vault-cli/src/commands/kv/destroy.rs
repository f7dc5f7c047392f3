//! `kv destroy`

use super::Place;
use super::mount::Target;
use crate::context::Context;
use crate::failure::{OK, Outcome};
use crate::values;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Which versions, such as 1,2
    #[arg(long, required = true)]
    versions: Vec<String>,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        let versions = values::versions(&self.versions)?;
        let client = cx.client()?;
        let target = Target::find(cx, &client, &self.place).await?.with_key()?;
        target.versions(&client, "destroy")?.destroy(&target.key, &versions).await?;
        cx.say(&format!("Success! Data written to: {}", target.api("destroy")))?;
        Ok(OK)
    }
}
