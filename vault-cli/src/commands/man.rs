//! `man` (hidden): for packages.

use crate::args::Cli;
use crate::failure::{OK, Outcome};
use clap::CommandFactory;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Directory for the pages; it must exist
    directory: PathBuf,
}

impl Args {
    pub fn run(self) -> Outcome {
        clap_mangen::generate_to(Cli::command(), self.directory)?;
        Ok(OK)
    }
}
