//! `completion`

use crate::args::Cli;
use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
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
        if self.shell == Shell::Bash {
            // The generator spells a hyphen in the program's name in two ways, so that nothing below the first level
            // is found (clap_complete 4.6).
            let text = String::from_utf8(script).map_err(|_| Failure::local("the script is not text"))?;
            script = text.replace("vault__subcmd__cli", "vault__cli").into_bytes();
        }
        cx.io.out.write_all(&script)?;
        Ok(OK)
    }
}
