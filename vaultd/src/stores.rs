//! `vaultd storage`: moving a closed store to another backend, and checking one.

use crate::cli::{EX_USAGE, complain, load, say};
use crate::config::{Config, StorageBackend};
use crate::signals::{Signal, Signals};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use storage::physical;
use storage::{Backend, StoreConfig};

/// The anchor's name in a state directory.
const ANCHOR: &str = "anchor";

/// What the core's storage is opened with.
pub fn store_config(config: &Config) -> StoreConfig {
    let backend = match config.storage.backend {
        StorageBackend::Sled => Backend::Sled,
        StorageBackend::Redb => Backend::Redb,
        StorageBackend::Memory => Backend::Memory,
    };
    StoreConfig {
        backend,
        path: config.storage.path.clone().unwrap_or_default(),
        state_dir: config.state_dir.clone().unwrap_or_default(),
        journal: Default::default(),
    }
}

fn blocking<T>(work: impl Future<Output = T>) -> io::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work))
}

fn failed(e: &dyn std::error::Error) -> ExitCode {
    complain(&e.to_string());
    ExitCode::FAILURE
}

/// `vaultd storage migrate -from=OLD -to=NEW`: resumable; the old store stays, marked as moved.
pub fn migrate(from: &[PathBuf], to: &[PathBuf]) -> ExitCode {
    let (from, to) = match (load(from), load(to)) {
        (Ok(from), Ok(to)) => (store_config(&from), store_config(&to)),
        (Err(code), _) | (_, Err(code)) => return code,
    };
    if from.path == to.path {
        complain("both configs name the same storage path");
        return ExitCode::from(EX_USAGE);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let work = async {
        let mut signals = Signals::new()?;
        tokio::spawn(async move {
            while signals.next().await != Signal::Stop {}
            asked.store(true, Ordering::Release);
        });
        let watched = Arc::clone(&stop);
        let moved = physical::migrate(&from, &to, move |copied| {
            complain(&format!("{copied} records copied"));
            !watched.load(Ordering::Acquire)
        });
        let moved = moved.await.map_err(io::Error::other)?;
        // The store's own mark of how far it is goes along: without it the vault would ask for
        // an explicit -accept-rollback.
        carry_anchor(&from.state_dir, &to.state_dir)?;
        Ok::<_, io::Error>(moved)
    };
    match blocking(work) {
        Ok(Ok(moved)) => {
            say(&format!("{} records, {} bytes moved to {}", moved.records, moved.bytes, to.path.display()));
            ExitCode::SUCCESS
        }
        Ok(Err(_)) if stop.load(Ordering::Acquire) => {
            complain("stopped; the same command goes on from here");
            ExitCode::FAILURE
        }
        Ok(Err(e)) | Err(e) => failed(&e),
    }
}

/// Makes a directory that the daemon takes for its own: nobody else may enter it.
fn private(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Copies the anchor, whole or not at all.
fn carry_anchor(from: &Path, to: &Path) -> io::Result<()> {
    if from == to || !from.join(ANCHOR).exists() {
        return Ok(());
    }
    private(to)?;
    let part = to.join(format!("{ANCHOR}.part"));
    fs::copy(from.join(ANCHOR), &part)?;
    File::open(&part)?.sync_all()?;
    fs::rename(&part, to.join(ANCHOR))?;
    File::open(to)?.sync_all()
}

/// `vaultd storage restore -config=FILE SNAPSHOT`: puts the snapshot beside the closed store; replaces nothing yet.
pub fn restore(config: &[PathBuf], snapshot: &Path, dry_run: bool) -> ExitCode {
    let store = match load(config) {
        Ok(config) => store_config(&config),
        Err(code) => return code,
    };
    let stage = async {
        private(&store.state_dir).map_err(physical::Error::Io)?;
        storage::stage_restore(&store, snapshot, dry_run).await
    };
    match blocking(stage) {
        Ok(Ok(summary)) => {
            tell(&summary);
            say(match dry_run {
                true => "it could be restored here; nothing was changed",
                false => {
                    "it waits to be restored: start vaultd, and give the snapshot's shares with \
                     `vault-cli operator unseal -accept-rollback`; until then nothing is replaced"
                }
            });
            ExitCode::SUCCESS
        }
        Ok(Err(e)) => failed(&e),
        Err(e) => failed(&e),
    }
}

/// `vaultd storage inspect SNAPSHOT`
pub fn inspect(snapshot: &Path) -> ExitCode {
    match storage::inspect_snapshot(snapshot) {
        Ok(summary) => {
            tell(&summary);
            say("the file is whole; its records are checked with their keys, when it is restored");
            ExitCode::SUCCESS
        }
        Err(e) => failed(&e),
    }
}

fn tell(s: &storage::Summary) {
    let m = &s.manifest;
    say(&format!(
        "vault {}: sequence {}, epoch {}, taken at unix time {} on {}, {} of {} shares, {} records, {} bytes",
        m.store_id, m.sequence, m.epoch, m.created, m.backend, m.threshold, m.shares, s.records, s.bytes
    ));
}

/// `vaultd storage check -config=FILE`: reads every frame and record of a closed store.
pub fn check(config: &[PathBuf]) -> ExitCode {
    let store = match load(config) {
        Ok(config) => store_config(&config),
        Err(code) => return code,
    };
    match blocking(physical::check(&store)) {
        Ok(Ok(found)) => {
            say(&format!(
                "no damage found: sequence {}, {} journal segments, {} rounds, index {:?}, {} records, {} bytes, {} stray pieces",
                found.seq,
                found.segments,
                found.rounds,
                found.index,
                found.records,
                found.bytes,
                found.strays
            ));
            say("values and names are checked with their keys, at unseal");
            ExitCode::SUCCESS
        }
        Ok(Err(e)) => failed(&e),
        Err(e) => failed(&e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_anchor_goes_along_and_is_replaced_whole() {
        let dir = tempfile::tempdir().expect("dir");
        let (a, b) = (dir.path().join("a"), dir.path().join("b/c"));
        carry_anchor(&a, &b).expect("nothing to carry");
        assert!(!b.exists());
        fs::create_dir(&a).expect("mkdir");
        for text in ["one", "a longer one", "2"] {
            fs::write(a.join(ANCHOR), text).expect("write");
            carry_anchor(&a, &b).expect("carry");
            assert_eq!(fs::read_to_string(b.join(ANCHOR)).expect("read"), text);
        }
        assert_eq!(fs::read_dir(&b).expect("list").count(), 1);
        carry_anchor(&a, &a).expect("same place");
    }
}
