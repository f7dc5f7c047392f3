//! One file a command.

mod audit;
mod auth;
mod completion;
mod delete;
mod gateway;
mod kv;
mod list;
mod login;
mod man;
mod operator;
mod patch;
mod path_help;
mod policy;
mod print;
mod read;
mod secrets;
mod status;
mod token;
mod totp;
mod write;

use crate::context::Context;
use crate::failure::Outcome;

/// The commands.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Read an API path
    Read(read::Args),
    /// Write to an API path
    Write(write::Args),
    /// Delete an API path
    Delete(delete::Args),
    /// List an API path
    List(list::Args),
    /// Change some fields at an API path (a merge patch)
    Patch(patch::Args),
    /// What an API path does, in the server's words
    PathHelp(path_help::Args),
    /// Print what this program would use
    #[command(subcommand)]
    Print(print::Command),
    /// Print this program's version
    Version,
    /// Log in and keep the token for the next commands
    Login(login::Args),
    /// Tell whether the server is sealed (exit code 0: unsealed, 2: sealed)
    Status,
    /// Secrets with keys and values
    #[command(subcommand)]
    Kv(kv::Command),
    /// Tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Policies
    #[command(subcommand)]
    Policy(policy::Command),
    /// Secrets engines
    #[command(subcommand)]
    Secrets(secrets::Command),
    /// Login methods
    #[command(subcommand)]
    Auth(auth::Command),
    /// One-time passwords: keys, codes, and their verification
    #[command(subcommand)]
    Totp(totp::Command),
    /// Services that apps call with a key they cannot read
    #[command(subcommand)]
    Gateway(gateway::Command),
    /// Audit devices
    #[command(subcommand)]
    Audit(audit::Command),
    /// Initialise, unseal, seal, and change keys
    #[command(subcommand)]
    Operator(operator::Command),
    /// Print a completion script for a shell
    Completion(completion::Args),
    /// Write the man pages into a directory
    #[command(hide = true)]
    Man(man::Args),
}

impl Command {
    /// Runs the command.
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        match self {
            Command::Read(a) => a.run(cx).await,
            Command::Write(a) => a.run(cx).await,
            Command::Delete(a) => a.run(cx).await,
            Command::List(a) => a.run(cx).await,
            Command::Patch(a) => a.run(cx).await,
            Command::PathHelp(a) => a.run(cx).await,
            Command::Print(c) => c.run(cx),
            Command::Version => print::version(cx),
            Command::Login(a) => a.run(cx).await,
            Command::Status => status::run(cx).await,
            Command::Kv(c) => c.run(cx).await,
            Command::Token(c) => c.run(cx).await,
            Command::Policy(c) => c.run(cx).await,
            Command::Secrets(c) => c.run(cx).await,
            Command::Auth(c) => c.run(cx).await,
            Command::Totp(c) => c.run(cx).await,
            Command::Gateway(c) => c.run(cx).await,
            Command::Audit(c) => c.run(cx).await,
            Command::Operator(c) => c.run(cx).await,
            Command::Completion(a) => a.run(cx),
            Command::Man(a) => a.run(),
        }
    }
}
