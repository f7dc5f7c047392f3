//! `token capabilities`

use crate::context::Context;
use crate::failure::{OK, Outcome};
use crate::output::Format;
use serde_json::json;

#[derive(clap::Args)]
pub struct Args {
    /// [TOKEN] PATH: the token may be - for standard input
    #[arg(required = true, num_args = 1..=2, value_names = ["TOKEN", "PATH"])]
    arguments: Vec<String>,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        let client = cx.client()?;
        let (token, path) = match self.arguments.as_slice() {
            [token, path] => (Some(cx.io.secret(Some(token), "")?), path.as_str()),
            [path] => (None, path.as_str()),
            _ => (None, ""),
        };
        let answer = match token {
            Some(token) => client.sys().capabilities(token, &[path]).await?,
            None => client.sys().capabilities_self(&[path]).await?,
        };
        let mut names = answer.into_values().next().unwrap_or_default();
        names.sort();
        match cx.format {
            Format::Table => writeln!(cx.io.out, "{}", names.join(", "))?,
            _ => cx.document(&json!(names))?,
        }
        Ok(OK)
    }
}
