//! `completion`

use crate::args::Cli;
use crate::context::Context;
use crate::failure::{OK, Outcome};
use clap::CommandFactory;
use clap_complete::{Shell, generate};

#[derive(clap::Args)]
pub struct Args {
    /// bash, zsh, fish, elvish or powershell
    shell: Shell,
}

impl Args {
    pub fn run(self, cx: &mut Context<'_>) -> Outcome {
        // The generator panics when its writer fails, as a closed pipe does.
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "vault-cli", &mut script);
        cx.io.out.write_all(&script)?;
        Ok(OK)
    }
}
