//! Snapshots on request and on a schedule: where they lie, what they are called, how the last one went.

use crate::fault;
use crate::limits::{MAX_SNAPSHOTS, SNAPSHOT_RETRY};
use parking_lot::Mutex;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;
use storage::{Saved, Store};
use vault_logical::{Clock, Error, Result, Timestamp};

const SUFFIX: &str = ".snap";
/// What a snapshot that is sent to a client is called until it is open; left-overs go at start.
const SPOOL: &str = "download-";

/// The `snapshot` block of the config.
#[derive(Clone, Debug)]
pub struct SnapshotConfig {
    /// Where snapshots are put, and restored from.
    pub dir: PathBuf,
    /// Between two that are taken by themselves; zero: none is.
    pub interval: Duration,
    /// How many of those taken here are kept; 0: all.
    pub retain: usize,
}

/// How snapshots went, for health and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotFigures {
    /// Taken well since the process started.
    pub taken: u64,
    /// Failed since the process started.
    pub failed: u64,
    /// Unix seconds of the newest good one, also of an earlier process.
    pub last_success: Option<i64>,
    /// Why the last try failed; `None` when it did not.
    pub last_error: Option<String>,
    /// Bytes and sequence of the newest one of this process.
    pub bytes: u64,
    /// See `bytes`.
    pub sequence: u64,
}

/// The snapshots of a vault.
pub struct Snapshots {
    config: Option<SnapshotConfig>,
    /// Where one is put for the time of a download.
    spool: Option<PathBuf>,
    figures: Mutex<SnapshotFigures>,
    last_try: Mutex<Option<Timestamp>>,
    /// One at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Snapshots {
    pub fn new(config: Option<SnapshotConfig>, data: Option<&Path>) -> Snapshots {
        let spool = data.or(config.as_ref().map(|c| c.dir.as_path())).map(Path::to_owned);
        for name in spool.iter().flat_map(|dir| names(dir)).filter(|n| n.starts_with(SPOOL)) {
            if let Some(dir) = &spool {
                let _gone = fs::remove_file(dir.join(name));
            }
        }
        let newest = config.as_ref().and_then(|c| ours(&c.dir).pop());
        let last_success = newest.as_deref().and_then(taken_at);
        let figures = SnapshotFigures { last_success, ..SnapshotFigures::default() };
        Snapshots {
            config,
            spool,
            figures: Mutex::new(figures),
            last_try: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// How snapshots went.
    pub fn figures(&self) -> SnapshotFigures {
        self.figures.lock().clone()
    }

    /// Whether any are taken by themselves, and how far apart.
    pub fn interval(&self) -> Option<Duration> {
        self.config.as_ref().map(|c| c.interval).filter(|i| !i.is_zero())
    }

    /// Seconds since the newest good one.
    pub fn age(&self, now: Timestamp) -> Option<i64> {
        self.figures.lock().last_success.map(|at| now.unix_secs().saturating_sub(at).max(0))
    }

    /// One is to be taken now.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let Some(interval) = self.interval() else { return false };
        let secs = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
        let tried = self.last_try.lock().map(|at| now.unix_secs() - at.unix_secs());
        let retry = secs(SNAPSHOT_RETRY.min(interval));
        self.age(now).is_none_or(|age| age >= secs(interval)) && tried.is_none_or(|since| since >= retry)
    }

    /// The newest good one is older than two intervals.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        let Some(interval) = self.interval() else { return false };
        let bound = i64::try_from(interval.as_secs().saturating_mul(2)).unwrap_or(i64::MAX);
        self.age(now).is_none_or(|age| age > bound)
    }

    fn config(&self) -> Result<&SnapshotConfig> {
        self.config.as_ref().ok_or_else(|| {
            Error::invalid(
                "the server's config has no \"snapshot\" block, so there is no directory for snapshots",
            )
        })
    }

    /// Takes one into the directory, and removes the oldest beyond those that are kept.
    pub async fn take(&self, store: &Store, clock: &dyn Clock) -> Result<Saved> {
        let config = self.config()?;
        let _turn = self.turn.lock().await;
        let now = clock.now();
        *self.last_try.lock() = Some(now);
        let name = format!("vaultd-{:012}-{}{SUFFIX}", now.unix_secs(), store.seq());
        let saved = store.save_snapshot(&config.dir.join(name)).await;
        let mut figures = self.figures.lock();
        match saved {
            Ok(saved) => {
                figures.taken += 1;
                figures.last_success = Some(now.unix_secs());
                figures.last_error = None;
                figures.bytes = saved.summary.bytes;
                figures.sequence = saved.summary.manifest.sequence;
                drop(figures);
                prune(config);
                Ok(saved)
            }
            Err(e) => {
                figures.failed += 1;
                figures.last_error = Some(e.to_string());
                Err(fault::storage(e))
            }
        }
    }

    /// Takes one to be sent to a client: an open file that has no name any more, and its length.
    pub async fn spool(&self, store: &Store) -> Result<(File, Saved)> {
        let dir = self.spool.as_ref().ok_or_else(|| {
            Error::invalid(
                "a vault in memory has no place for a snapshot: add a \"snapshot\" block to the config",
            )
        })?;
        let _turn = self.turn.lock().await;
        let path = dir.join(format!("{SPOOL}{}{SUFFIX}", uuid::Uuid::new_v4()));
        let saved = store.save_snapshot(&path).await.map_err(fault::storage)?;
        let file = File::open(&path);
        fs::remove_file(&path).map_err(Error::internal)?;
        Ok((file.map_err(Error::internal)?, saved))
    }

    /// The file of this name in the directory.
    pub fn named(&self, name: &str) -> Result<PathBuf> {
        let config = self.config()?;
        let plain = name.ends_with(SUFFIX)
            && !name.starts_with('.')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        match plain {
            true => Ok(config.dir.join(name)),
            false => Err(Error::invalid(format!(
                "\"name\" is the name of a file *{SUFFIX} in the snapshot directory {}",
                config.dir.display()
            ))),
        }
    }

    /// Names of the files in the directory, oldest first.
    pub fn list(&self) -> Result<Vec<String>> {
        let mut found = names(&self.config()?.dir);
        found.retain(|n| n.ends_with(SUFFIX) && !n.starts_with(SPOOL));
        found.sort();
        found.truncate(MAX_SNAPSHOTS);
        Ok(found)
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().into_string().ok()).collect()
}

/// Those that [`Snapshots::take`] made, oldest first.
fn ours(dir: &Path) -> Vec<String> {
    let mut found = names(dir);
    found.retain(|n| taken_at(n).is_some());
    found.sort();
    found
}

fn taken_at(name: &str) -> Option<i64> {
    let (at, seq) = name.strip_prefix("vaultd-")?.strip_suffix(SUFFIX)?.split_once('-')?;
    seq.parse::<u64>().ok()?;
    at.parse().ok()
}

fn prune(config: &SnapshotConfig) {
    if config.retain == 0 {
        return;
    }
    let all = ours(&config.dir);
    for name in all.iter().take(all.len().saturating_sub(config.retain)) {
        if let Err(e) = fs::remove_file(config.dir.join(name)) {
            tracing::warn!(error = %e, name, "an old snapshot was not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_in_the_directory_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let config = |interval| SnapshotConfig { dir: dir.path().into(), interval, retain: 2 };
        let s = Snapshots::new(Some(config(Duration::from_secs(60))), None);
        for bad in ["", "a", "../a.snap", "/a.snap", ".a.snap", "a/b.snap", "a\0.snap"] {
            assert!(s.named(bad).is_err(), "{bad}");
        }
        assert_eq!(s.named("a-1.snap").unwrap(), dir.path().join("a-1.snap"));
        let at = |secs: i64| Timestamp::from_unix_nanos(secs * 1_000_000_000);
        assert!(s.is_due(at(1000)) && s.is_overdue(at(1000)), "there is none");
        for name in ["vaultd-000000000900-7.snap", "vaultd-000000000950-9.snap", "vaultd-x.snap", "mine.snap"]
        {
            fs::write(dir.path().join(name), b"x").unwrap();
        }
        let s = Snapshots::new(Some(config(Duration::from_secs(60))), None);
        assert_eq!(s.age(at(1000)), Some(50));
        assert!(!s.is_due(at(1009)) && s.is_due(at(1010)));
        assert!(!s.is_overdue(at(1070)) && s.is_overdue(at(1071)));
        fs::write(dir.path().join("vaultd-000000000990-9.snap"), b"x").unwrap();
        prune(&config(Duration::ZERO));
        assert_eq!(
            s.list().unwrap(),
            ["mine.snap", "vaultd-000000000950-9.snap", "vaultd-000000000990-9.snap", "vaultd-x.snap"]
        );
    }
}
