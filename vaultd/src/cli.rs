//! The command line.

use crate::config::{self, Config, Problem};
use crate::{audit_verify, run, stores};
use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Bad input, as in `sysexits.h`.
pub const EX_USAGE: u8 = 64;

#[derive(Parser)]
#[command(
    name = "vaultd",
    about = "A secrets vault that speaks Vault's HTTP API.",
    disable_version_flag = true
)]
struct Cli {
    /// Print the version.
    #[arg(long, short = 'v')]
    version: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve, as the config says.
    Server {
        /// A file or a directory of *.hcl and *.json files; may be given several times.
        #[arg(long, required = true)]
        config: Vec<PathBuf>,
    },
    /// Check a config and say everything that is wrong with it.
    CheckConfig {
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print a config with every key, its meaning and its default.
    DefaultConfig,
    /// Start a vault to try things out: loopback, own CA, unsealed, with a demo.
    Dev {
        /// Its folder, made with mode 0700.
        #[arg(long, default_value = ".vaultd-dev")]
        dir: PathBuf,
        #[arg(long, default_value = "127.0.0.1:8200")]
        address: SocketAddr,
        #[arg(long, default_value = "127.0.0.1:8210")]
        gateway_address: SocketAddr,
    },
    /// Work on a closed store.
    Storage {
        #[command(subcommand)]
        command: StorageCommand,
    },
    /// Work on audit files.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Print the version.
    Version,
}

#[derive(Subcommand)]
enum StorageCommand {
    /// Copy a store to another backend or place, with its history. Can be stopped and run again.
    Migrate {
        /// The config the store is served with.
        #[arg(long, required = true)]
        from: Vec<PathBuf>,
        /// The config it will be served with.
        #[arg(long, required = true)]
        to: Vec<PathBuf>,
    },
    /// Put a snapshot up to be restored: the next unseal, by the quorum and with -accept-rollback, completes it.
    Restore {
        #[arg(long, required = true)]
        config: Vec<PathBuf>,
        /// Only look whether it could be.
        #[arg(long)]
        dry_run: bool,
        #[arg(required = true)]
        snapshot: PathBuf,
    },
    /// Read a snapshot to its end and say what it is.
    Inspect { snapshot: PathBuf },
    /// Read every frame and record, and say what is damaged.
    Check {
        #[arg(long, required = true)]
        config: Vec<PathBuf>,
    },
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Check that nothing was changed in, added to or removed from an audit log. Exit code 0: proved;
    /// 1: something is wrong or missing; 2: nothing was found wrong, but not everything was proved.
    Verify(audit_verify::Args),
}

/// Runs the command line; the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args.into_iter().map(double_dash)) {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { EX_USAGE } else { 0 });
        }
    };
    if cli.version {
        return version();
    }
    match cli.command {
        None => {
            say(&Cli::command().render_help().to_string());
            ExitCode::from(EX_USAGE)
        }
        Some(Command::Version) => version(),
        Some(Command::DefaultConfig) => {
            say(&config::default_file());
            ExitCode::SUCCESS
        }
        Some(Command::CheckConfig { files }) => check_config(&files),
        Some(Command::Server { config }) => run::server(&config),
        Some(Command::Dev { dir, address, gateway_address }) => run::dev(&dir, address, gateway_address),
        Some(Command::Storage { command: StorageCommand::Migrate { from, to } }) => {
            stores::migrate(&from, &to)
        }
        Some(Command::Storage { command: StorageCommand::Check { config } }) => stores::check(&config),
        Some(Command::Storage { command: StorageCommand::Restore { config, dry_run, snapshot } }) => {
            stores::restore(&config, &snapshot, dry_run)
        }
        Some(Command::Storage { command: StorageCommand::Inspect { snapshot } }) => {
            stores::inspect(&snapshot)
        }
        Some(Command::Audit { command: AuditCommand::Verify(args) }) => audit_verify::run(&args),
    }
}

/// Vault's flags have one dash: `-config=x` is `--config=x`.
fn double_dash(arg: OsString) -> OsString {
    match arg.to_str() {
        Some(text) if text.len() > 2 && text.starts_with('-') && !text.starts_with("--") => {
            let mut out = OsString::from("-");
            out.push(&arg);
            out
        }
        _ => arg,
    }
}

/// One line or more on standard output. Nobody listening is no error.
pub fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", text.trim_end());
    let _ = out.flush();
}

/// One line or more on standard error.
pub fn complain(text: &str) {
    let mut text = text.trim_end().as_bytes().to_vec();
    if crate::log::stderr_is_journal() {
        text = crate::log::prioritised(&text, tracing::Level::ERROR);
    }
    text.push(b'\n');
    let _ = std::io::stderr().lock().write_all(&text);
}

fn version() -> ExitCode {
    say(&format!(
        "Vaultd v{} ({}-{})",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS
    ));
    ExitCode::SUCCESS
}

/// Reads a config or says what is wrong with it.
pub fn load(files: &[PathBuf]) -> Result<Config, ExitCode> {
    Config::load(files).map_err(|problems| {
        complain(&list(&problems));
        ExitCode::from(EX_USAGE)
    })
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(|p| format!("{p}\n")).collect()
}

fn check_config(files: &[PathBuf]) -> ExitCode {
    let config = match config::check(files) {
        Ok(config) => config,
        Err(problems) => {
            complain(&list(&problems));
            return ExitCode::from(EX_USAGE);
        }
    };
    for warning in &config.warnings {
        complain(&format!("warning: {warning}"));
    }
    if config.audit.is_empty() {
        complain("warning: there is no audit block; until a device is enabled, requests go unrecorded");
    }
    for danger in &config.dangers {
        complain(&format!("DANGER: {danger} is set"));
    }
    say("the config is valid");
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn parse(args: &[&str]) -> Option<Cli> {
        Cli::try_parse_from(args.iter().map(|a| double_dash(OsString::from(a)))).ok()
    }

    #[test]
    fn vaults_spelling_of_flags() {
        for args in [
            &["vaultd", "server", "-config=a.hcl", "-config", "b"][..],
            &["vaultd", "server", "--config=a.hcl", "--config", "b"],
        ] {
            match parse(args).and_then(|c| c.command) {
                Some(Command::Server { config }) => assert_eq!(config, [Path::new("a.hcl"), Path::new("b")]),
                _ => panic!("{args:?}"),
            }
        }
        for flag in ["-version", "--version", "-v"] {
            assert!(parse(&["vaultd", flag]).is_some_and(|c| c.version), "{flag}");
        }
        assert!(parse(&["vaultd", "server"]).is_none(), "a config is needed");
        assert!(parse(&["vaultd", "server", "-dev"]).is_none());
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
