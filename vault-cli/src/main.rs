//! `vault-cli`: the operator's command line, with the commands and the output of Vault's.
//!
//! Exit codes: 0 done, 1 an error on this side, 2 an error from the server or a sealed vault.

mod args;
mod commands;
mod context;
mod failure;
mod hints;
mod io;
pub mod limits;
mod output;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod token_file;
mod values;

use clap::Parser;
use failure::{LOCAL, OK, Outcome};
use io::Io;
use output::shown::Shown;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;
use zeroize::Zeroizing;

fn main() -> ExitCode {
    keep_to_itself();
    let (stdout, stderr, stdin) = (std::io::stdout(), std::io::stderr(), std::io::stdin());
    let mut ask = |prompt: &str| {
        let answer = Zeroizing::new(rpassword::prompt_password(prompt)?);
        Ok(answer.as_str().into())
    };
    let terminal = stdout.is_terminal();
    // Into a pipe or a file every byte goes as it is.
    let (mut plain, mut shown) = (stdout.lock(), Shown(std::io::stdout()));
    let mut io = Io {
        terminal,
        out: if terminal { &mut shown } else { &mut plain },
        err: &mut Shown(stderr.lock()),
        input: &mut stdin.lock(),
        var: &|name| std::env::var(name).ok(),
        ask: &mut ask,
    };
    ExitCode::from(run(std::env::args_os(), &mut io))
}

/// Shares and tokens pass through this process: no core dump, and no reading it by others of the
/// same user. Where the system refuses, the commands still work.
fn keep_to_itself() {
    let _ = nix::sys::prctl::set_dumpable(false);
    let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
}

/// Runs one command line against the given world and returns its exit code.
fn run(args: impl IntoIterator<Item = OsString>, io: &mut Io<'_>) -> u8 {
    let code = match args::Cli::try_parse_from(args::rewrite(args)) {
        Ok(cli) => command(cli, io),
        Err(e) if e.use_stderr() => {
            let _ = write!(io.err, "{e}");
            if let Some(hint) = hints::unknown(&e) {
                let _ = writeln!(io.err, "\n{hint}");
            }
            return LOCAL;
        }
        // Help and version.
        Err(e) => {
            let _ = write!(io.out, "{e}");
            return OK;
        }
    };
    match code.and_then(|code| io.out.flush().map(|()| code).map_err(Into::into)) {
        Ok(code) => code,
        Err(failure) => {
            let _ = writeln!(io.err, "{failure}");
            failure.code
        }
    }
}

fn command(cli: args::Cli, io: &mut Io<'_>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let io = Io {
        out: &mut *io.out,
        err: &mut *io.err,
        input: &mut *io.input,
        terminal: io.terminal,
        var: io.var,
        ask: &mut *io.ask,
    };
    let mut cx = context::Context::new(cli.flags, io)?;
    let outcome = runtime.block_on(cli.command.run(&mut cx));
    if let Some(call) = cx.preview() {
        return output::preview::print(&mut cx, &call);
    }
    outcome.map_err(|f| cx.explain(f))
}
