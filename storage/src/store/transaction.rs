//! Serialisable optimistic transactions: what they read is checked when they commit.

use super::request::{Batch, Read, Title, Write};
use super::{Store, list};
use crate::barrier::Header;
use crate::limits::{MAX_READS, MAX_WRITE_BYTES};
use crate::physical::Key as StorageKey;
use crate::{CommitError, Error, Space};
use secmem::Zeroizing;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// How often a reading transaction checks its facts by itself before it asks the committer.
const CHECKS: usize = 3;

/// A write that is not committed yet.
struct Pending {
    key: StorageKey,
    /// `None`: a deletion.
    value: Option<Zeroizing<Vec<u8>>>,
}

/// Reads and writes that become durable together or not at all.
pub struct Transaction {
    store: Store,
    /// The version of the store at the first read; odd when a round was just being applied.
    started: Option<u64>,
    /// Facts came from elsewhere, so `started` says nothing about them.
    has_facts: bool,
    reads: HashMap<StorageKey, Option<u64>>,
    writes: BTreeMap<Space, BTreeMap<String, Pending>>,
    fences: HashMap<StorageKey, (Space, [u8; 4])>,
    riders: Vec<Zeroizing<Vec<u8>>>,
    /// Acknowledged only once the anchor is at its sequence.
    anchored: bool,
    /// Why it can no longer be committed.
    broken: Option<Error>,
}

impl Transaction {
    pub(super) fn new(store: Store) -> Transaction {
        Transaction {
            store,
            started: None,
            has_facts: false,
            reads: HashMap::new(),
            writes: BTreeMap::new(),
            fences: HashMap::new(),
            riders: Vec::new(),
            anchored: true,
            broken: None,
        }
    }

    /// Reads a record, or what this transaction wrote there. A fact from the store joins the read set.
    pub async fn get(&mut self, space: Space, path: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        if let Some(own) = self.writes.get(&space).and_then(|paths| paths.get(path)) {
            return Ok(own.value.clone());
        }
        let shared = self.store.shared().clone();
        shared.check_open()?;
        let key = shared.names.record(space, path)?;
        self.note_start();
        let read = shared.read(space, &key, path.as_bytes()).await?;
        self.remember(key, read.as_ref().map(|(_, rev)| *rev))?;
        Ok(read.map(|(value, _)| value))
    }

    /// Writes a record at commit; `get` and `list` of this transaction see it at once.
    pub fn put(&mut self, space: Space, path: &str, value: Zeroizing<Vec<u8>>) -> Result<(), Error> {
        if value.len() > MAX_WRITE_BYTES {
            return Err(Error::TooLarge("value"));
        }
        self.write(space, path, Some(value))
    }

    /// Deletes a record at commit, if it is there.
    pub fn delete(&mut self, space: Space, path: &str) -> Result<(), Error> {
        self.write(space, path, None)
    }

    fn write(&mut self, space: Space, path: &str, value: Option<Zeroizing<Vec<u8>>>) -> Result<(), Error> {
        self.store.shared().check_open()?;
        let paths = self.writes.entry(space).or_default();
        if let Some(pending) = paths.get_mut(path) {
            pending.value = value;
            return Ok(());
        }
        let key = self.store.shared().names.record(space, path)?;
        paths.insert(path.to_owned(), Pending { key, value });
        Ok(())
    }

    /// Lists a folder as it will be after this transaction; not a fact that is checked: see [`fence`](Self::fence).
    pub async fn list(
        &mut self,
        space: Space,
        dir: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let shared = self.store.shared().clone();
        shared.check_open()?;
        let own = self.own_below(space, dir);
        let room = own.deleted.len() + own.folders.len();
        let started = std::time::Instant::now();
        let mut names = list::names(&shared, space, dir, after, limit.saturating_add(room)).await?;
        shared.meters.lists.since(started);
        let mut gone = own.deleted;
        for (name, deleted) in own.folders {
            if !own.written.contains(&name) && !self.has_others(space, dir, &name, &deleted).await? {
                gone.insert(name);
            }
        }
        names.retain(|name| !gone.contains(name));
        names.extend(own.written.into_iter().filter(|name| after.is_none_or(|after| name.as_str() > after)));
        names.sort_unstable();
        names.dedup();
        names.truncate(limit);
        Ok(names)
    }

    /// What this transaction did to the names in a folder.
    fn own_below(&self, space: Space, dir: &str) -> Own {
        let dir = dir.strip_suffix('/').unwrap_or(dir);
        let mut own = Own::default();
        for (path, pending) in self.writes.get(&space).into_iter().flatten() {
            let below = if dir.is_empty() {
                Some(path.as_str())
            } else {
                path.strip_prefix(dir).and_then(|rest| rest.strip_prefix('/'))
            };
            let Some(below) = below else { continue };
            match (below.split_once('/'), &pending.value) {
                (Some((folder, _)), Some(_)) => drop(own.written.insert(format!("{folder}/"))),
                (None, Some(_)) => drop(own.written.insert(below.to_owned())),
                (Some((folder, _)), None) => {
                    own.folders.entry(format!("{folder}/")).or_default().insert(pending.key.clone());
                }
                (None, None) => drop(own.deleted.insert(below.to_owned())),
            }
        }
        own
    }

    /// Whether a folder holds records besides those that this transaction deletes.
    async fn has_others(
        &self,
        space: Space,
        dir: &str,
        name: &str,
        deleted: &HashSet<StorageKey>,
    ) -> Result<bool, Error> {
        let shared = self.store.shared();
        let dir = dir.strip_suffix('/').unwrap_or(dir);
        let path = if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
        let folder = shared.names.folder(space, &path)?;
        // The record of the folder's own name comes first and does not count.
        let page = shared.physical.scan(folder.as_bytes(), None, deleted.len() + 2).await?;
        Ok(page.iter().any(|(key, _)| *key != folder && !deleted.contains(key)))
    }

    /// Makes every two transactions that fence this folder conflict: for a write that rests on what the folder holds,
    /// and for the writes that change that.
    pub async fn fence(&mut self, space: Space, dir: &str) -> Result<(), Error> {
        let shared = self.store.shared().clone();
        shared.check_open()?;
        let (key, stripe) = shared.names.fence(space, dir)?;
        self.note_start();
        let rev = self.store.revision(&key).await?;
        self.fences.insert(key.clone(), (space, stripe));
        self.remember(key, rev)
    }

    /// Adds a fact from a cache to the read set: the record's revision, or its absence.
    pub fn expect(&mut self, space: Space, path: &str, rev: Option<u64>) {
        self.has_facts = true;
        let key = self.store.shared().names.record(space, path);
        if let Err(e) = key.and_then(|key| self.remember(key, rev)) {
            self.broken.get_or_insert(e);
        }
    }

    /// Bytes to be made durable with this transaction and kept until they are released.
    pub fn rider(&mut self, bytes: Zeroizing<Vec<u8>>) {
        self.riders.push(bytes);
    }

    /// Lets the commit be acknowledged before the anchor is written, which follows within a second. Only for writes that
    /// do harm to nobody when somebody with the disk in hand undoes them after a crash: new values, new tokens, work
    /// that is done again. What takes something away or counts something waits, and waiting is the default.
    pub fn anchor_may_follow(&mut self) {
        self.anchored = false;
    }

    /// Nothing is to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.values().all(BTreeMap::is_empty) && self.fences.is_empty() && self.riders.is_empty()
    }

    /// Commits: the sequence at which it is durable, and every fact it read still held. A transaction that writes
    /// nothing checks its facts only when there is more than one.
    pub async fn commit(self) -> Result<u64, CommitError> {
        self.store.shared().check_open()?;
        if let Some(e) = self.broken {
            return Err(e.into());
        }
        if self.is_empty() {
            return self.commit_reads().await;
        }
        let records = self.writes.into_iter().flat_map(|(space, paths)| {
            paths
                .into_iter()
                .map(move |(path, p)| (p.key, Write { space, title: Title::Record(path), value: p.value }))
        });
        let fences = self.fences.into_iter().map(|(key, (space, stripe))| {
            (key, Write { space, title: Title::Fence(stripe), value: Some(Zeroizing::default()) })
        });
        let batch = Batch {
            reads: self.reads.into_iter().collect(),
            writes: records.chain(fences).collect(),
            riders: self.riders,
            anchored: self.anchored,
        };
        if !batch.fits() {
            return Err(CommitError::TooLarge);
        }
        self.store.submit(batch).await
    }

    /// Checks that all facts held at one moment.
    async fn commit_reads(self) -> Result<u64, CommitError> {
        let progress = &self.store.shared().progress;
        if self.reads.len() < 2 {
            return Ok(progress.seq());
        }
        // Nothing was applied since the first read: everything was read at one moment.
        let unchanged = |since: u64| since.is_multiple_of(2) && since == progress.version();
        if !self.has_facts && self.started.is_some_and(unchanged) {
            return Ok(progress.seq());
        }
        for _ in 0..CHECKS {
            let (version, seq) = (progress.version(), progress.seq());
            for (key, rev) in &self.reads {
                if self.store.revision(key).await? != *rev {
                    return Err(CommitError::Conflict);
                }
            }
            // A revision never comes back, so records that are unchanged now were so all along. An absent record may
            // have come and gone.
            if unchanged(version) || self.reads.values().all(Option::is_some) {
                return Ok(seq);
            }
        }
        let reads: Vec<Read> = self.reads.into_iter().collect();
        self.store.submit(Batch { reads, ..Batch::default() }).await
    }

    fn note_start(&mut self) {
        self.started.get_or_insert_with(|| self.store.shared().progress.version());
    }

    /// The first fact about a record counts: one that changed since makes the commit fail.
    fn remember(&mut self, key: StorageKey, rev: Option<u64>) -> Result<(), Error> {
        if self.reads.len() >= MAX_READS && !self.reads.contains_key(&key) {
            return Err(Error::TooLarge("transaction"));
        }
        self.reads.entry(key).or_insert(rev);
        Ok(())
    }
}

/// What a transaction did to the names in one folder.
#[derive(Default)]
struct Own {
    /// Names that are there in any case.
    written: BTreeSet<String>,
    /// Records that are gone.
    deleted: HashSet<String>,
    /// Folders below which records are gone, and which.
    folders: BTreeMap<String, HashSet<StorageKey>>,
}

impl Store {
    /// The sequence that wrote what stands at a storage key.
    async fn revision(&self, key: &StorageKey) -> Result<Option<u64>, Error> {
        let Some(record) = self.shared().physical.get(key).await? else { return Ok(None) };
        let damaged = || Error::Integrity("a stored record has no header".into());
        let (header, _) = Header::parse(&record.value).ok_or_else(damaged)?;
        Ok(Some(header.seq))
    }
}
