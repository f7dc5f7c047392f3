//! A server process from its first moment to its last.

use crate::cli::{complain, load, say};
use crate::config::Config;
use crate::dev::Dev;
use crate::egress::{HttpEgress, system_roots};
use crate::harden::{self, Hardened};
use crate::listener::Server;
use crate::log::Log;
use crate::notify::Notifier;
use crate::server::{Daemon, Process};
use crate::signals::{Signal, Signals};
use secmem::Arena;
use secmem::process::MemoryLocked;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use vault_core::ProcessReport;

/// The daemon did not start.
const EX_UNAVAILABLE: u8 = 69;
/// Storage failed while it ran.
const EX_IOERR: u8 = 74;
/// The file beside a store that `vaultd dev` made.
pub const DEV_MARK: &str = "vaultd-dev-store";

/// `vaultd server`
pub fn server(files: &[PathBuf]) -> ExitCode {
    let config = match load(files) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if config.storage.path.as_deref().is_some_and(is_dev_store) {
        complain(
            "this store was made by `vaultd dev`: its keys lie beside it in the clear, `vaultd server` refuses it",
        );
        return ExitCode::from(crate::cli::EX_USAGE);
    }
    start(config, |_, _| Box::pin(async { Ok(Prepared::default()) }))
}

/// True for a store that `vaultd dev` made.
pub fn is_dev_store(path: &Path) -> bool {
    path.join(DEV_MARK).exists() || path.parent().is_some_and(|p| p.join(DEV_MARK).exists())
}

/// What a daemon has beside itself once it is prepared.
#[derive(Default)]
pub struct Prepared {
    /// Stopped after the daemon.
    pub companion: Option<Server>,
    /// Printed after the ready line.
    pub notice: String,
}

/// What runs between "listening" and "ready".
pub type Preparing<'a> = Pin<Box<dyn Future<Output = Result<Prepared, Box<dyn std::error::Error>>> + 'a>>;

/// `vaultd dev`
pub fn dev(dir: &Path, api: SocketAddr, gateway: SocketAddr) -> ExitCode {
    let (dev, config) = match Dev::open(dir, api, gateway) {
        Ok(opened) => opened,
        Err(e) => return failed(&e),
    };
    start(config, move |daemon, arena| Box::pin(async move { dev.prepare(daemon, arena).await }))
}

/// Hardens the process, starts the daemon, prepares it, and serves until a signal.
fn start(config: Config, prepare: impl for<'a> FnOnce(&'a Daemon, &'a Arena) -> Preparing<'a>) -> ExitCode {
    // Before any thread: what is restricted now is restricted in all of them.
    let hardened = match harden::apply(&config) {
        Ok(hardened) => hardened,
        Err(e) => return failed(&e),
    };
    let log = match Log::start(config.log_level, config.log_format) {
        Ok(log) => log,
        Err(e) => return failed(&e),
    };
    let process = match process(&config, hardened) {
        Ok(process) => process,
        Err(e) => return failed(&e),
    };
    announce(&config, &process.report);
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(crate::limits::MAX_BLOCKING_THREADS)
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => return failed(&e),
    };
    runtime.block_on(serve(&config, process, &log, prepare))
}

fn failed(e: &dyn std::error::Error) -> ExitCode {
    complain(&format!("vaultd did not start: {e}"));
    ExitCode::from(EX_UNAVAILABLE)
}

fn process(config: &Config, hardened: Hardened) -> Result<Process, secmem::ArenaError> {
    let arena = Arena::open(None)?;
    let roots = system_roots();
    let locked = match hardened.report.locked {
        MemoryLocked::All => "all",
        MemoryLocked::Keys => "keys",
        MemoryLocked::None => "none",
    };
    let report = ProcessReport {
        key_memory: arena.protection().to_string(),
        locked: locked.to_owned(),
        warnings: hardened.warnings,
    };
    let egress = Arc::new(HttpEgress::new(Arc::clone(&roots), config.egress_allow.clone()));
    Ok(Process { arena, report, egress, roots })
}

fn announce(config: &Config, report: &ProcessReport) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        key_memory = report.key_memory,
        locked = report.locked,
        "vaultd starts"
    );
    for warning in &config.warnings {
        tracing::warn!("config: {warning}");
    }
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    for danger in &config.dangers {
        tracing::warn!("DANGER: {danger} is set");
    }
    if config.audit.is_empty() {
        tracing::warn!("no audit device in the config: until one is enabled, requests go unrecorded");
    }
}

async fn serve(
    config: &Config,
    process: Process,
    log: &Log,
    prepare: impl for<'a> FnOnce(&'a Daemon, &'a Arena) -> Preparing<'a>,
) -> ExitCode {
    let notifier = Notifier::from_env();
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(e) => return failed(&e),
    };
    let arena = process.arena.clone();
    let daemon = match Daemon::start(config, process).await {
        Ok(daemon) => daemon,
        Err(e) => return failed(&e),
    };
    let prepared = match prepare(&daemon, &arena).await {
        Ok(prepared) => prepared,
        Err(e) => {
            daemon.stop().await;
            return failed(&*e);
        }
    };
    say(&daemon.ready_line());
    if !prepared.notice.is_empty() {
        say(&prepared.notice);
    }
    if let Some(n) = &notifier {
        n.ready(&daemon.state());
    }
    let code =
        attend(config, &daemon, log, &mut signals, notifier.as_ref(), prepared.companion.is_some()).await;
    tracing::info!("vaultd stops");
    if let Some(n) = &notifier {
        n.stopping();
    }
    if !daemon.stop().await {
        tracing::warn!("some requests were cut");
    }
    if let Some(companion) = prepared.companion {
        companion.stop(crate::limits::CLOSE_GRACE).await;
    }
    code
}

/// Serves until a signal or a failure ends it. `trial`: a vault to try out.
async fn attend(
    config: &Config,
    daemon: &Daemon,
    log: &Log,
    signals: &mut Signals,
    notifier: Option<&Notifier>,
    trial: bool,
) -> ExitCode {
    let mut beat = notifier.and_then(Notifier::beat).map(tokio::time::interval);
    loop {
        tokio::select! {
            () = next_beat(&mut beat) => {
                if let Some(n) = notifier {
                    n.alive();
                }
            }
            signal = signals.next() => match signal {
                Signal::Stop => break ExitCode::SUCCESS,
                // A vault to try out ends with its terminal: it is unsealed, and nobody would see it.
                Signal::Reload if trial => break ExitCode::SUCCESS,
                Signal::Reload => {
                    notifier.inspect(|n| n.reloading());
                    reload(config, daemon, log);
                    notifier.inspect(|n| n.ready(&daemon.state()));
                }
                Signal::Ignored(name) => tracing::info!("{name} has no meaning here"),
            },
            () = daemon.failed() => break ExitCode::from(EX_IOERR),
        }
    }
}

/// The next time to say that the daemon lives; never, where nobody asks.
async fn next_beat(beat: &mut Option<tokio::time::Interval>) {
    match beat {
        Some(interval) => _ = interval.tick().await,
        None => std::future::pending().await,
    }
}

/// SIGHUP: certificates, audit files, the log level. What cannot be read stays as it was, and what
/// only a restart changes is named.
fn reload(config: &Config, daemon: &Daemon, log: &Log) {
    match Config::load(&config.sources) {
        Ok(fresh) => {
            log.set_level(fresh.log_level);
            for key in config.needs_restart(&fresh) {
                tracing::warn!("config: \"{key}\" has changed; it counts after a restart");
            }
        }
        Err(problems) => {
            for problem in problems {
                tracing::error!("config was not read again: {problem}");
            }
        }
    }
    daemon.reload();
}
