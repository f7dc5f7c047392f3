//! The mount table: which engine serves which path.
//!
//! One record for each mount (`mount/<uuid>`), guarded as a set by a fence; the table in
//! memory is rebuilt from the records whenever one of them changes.

use crate::broken::Broken;
use crate::fault;
use crate::limits::{MAX_DESCRIPTION, MAX_MOUNT_PATH, MAX_MOUNTS};
use arc_swap::ArcSwap;
use secmem::Zeroizing;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use storage::{Space, Store, Transaction};
use uuid::Uuid;
use vault_logical::{
    Egress, Engine, EngineKind, Error, ErrorKind, Factory, Mount, MountConfig, Result, Timestamp,
};

const FOLDER: &str = "mount/";
/// Settings of the mounts that are always there, where they were tuned.
const BUILTIN: &str = "builtin/";

/// A mount as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredMount {
    pub v: u8,
    pub uuid: Uuid,
    pub accessor: String,
    /// `secret/`; auth methods without their `auth/`.
    pub path: String,
    pub auth: bool,
    #[serde(rename = "type")]
    pub type_name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    #[serde(default)]
    pub config: MountConfig,
    #[serde(default)]
    pub local: bool,
    #[serde(default)]
    pub seal_wrap: bool,
    pub created: Timestamp,
    /// Tombstone: out of the table at once, its records are being deleted.
    #[serde(default)]
    pub deleting: bool,
}

impl StoredMount {
    pub fn full_path(&self) -> String {
        if self.auth { format!("auth/{}", self.path) } else { self.path.clone() }
    }
}

/// A mount being served.
pub struct Mounted {
    pub record: StoredMount,
    /// Revision of the record: joins the read set of a writing request.
    rev: u64,
    pub mount: Mount,
    pub engine: Arc<dyn Engine>,
    pub space: Space,
    /// Why it is not served, where it is not.
    pub broken: Option<String>,
}

/// A record as found in storage.
struct Found {
    record: StoredMount,
    rev: u64,
    /// Why `record` is only what could be made out of it.
    broken: Option<String>,
}

#[derive(Default)]
struct Table {
    by_path: HashMap<String, Arc<Mounted>>,
    by_uuid: HashMap<Uuid, Arc<Mounted>>,
    /// `sys/` and `auth/token/`.
    builtin: Vec<Arc<StoredMount>>,
    /// Mounts whose records are being deleted.
    dying: Vec<(Uuid, u64)>,
}

/// Default and maximum TTL where a mount does not set its own.
#[derive(Clone, Copy, Debug)]
pub struct SystemTtl {
    pub default: Duration,
    pub max: Duration,
}

pub struct Mounts {
    store: Store,
    factories: &'static [Factory],
    egress: Arc<dyn Egress>,
    ttl: SystemTtl,
    table: ArcSwap<Table>,
    /// Changes seen, and changes that the table in memory shows.
    wanted: AtomicU64,
    built: AtomicU64,
    refresh: tokio::sync::Mutex<()>,
}

/// Types that exist once and come with the vault.
const SINGLETONS: &[&str] = &["cubbyhole", "system", "token", "identity", "ns_token", "ns_system"];
/// Paths no mount may take or shadow.
const RESERVED: &[&str] = &["sys/", "auth/", "audit/", "cubbyhole/", "identity/"];

impl Mounts {
    pub fn new(store: Store, factories: &'static [Factory], egress: Arc<dyn Egress>, ttl: SystemTtl) -> Self {
        Mounts {
            store,
            factories,
            egress,
            ttl,
            table: ArcSwap::default(),
            wanted: AtomicU64::new(1),
            built: AtomicU64::new(0),
            refresh: tokio::sync::Mutex::new(()),
        }
    }

    pub fn ttl(&self) -> SystemTtl {
        self.ttl
    }

    /// A mount record changed.
    pub fn invalidate(&self) {
        self.wanted.fetch_add(1, Ordering::AcqRel);
    }

    /// A record inside a mount changed: tell its engine.
    pub fn invalidate_record(&self, mount: Uuid, path: &str) {
        if let Some(m) = self.table.load().by_uuid.get(&mount) {
            m.engine.invalidate(path);
        }
    }

    /// Rebuilds the table when a record changed since the last time. On return it shows every
    /// change that was committed before the call.
    pub async fn refresh(&self) -> Result<()> {
        if self.built.load(Ordering::Acquire) == self.wanted.load(Ordering::Acquire) {
            return Ok(());
        }
        let _turn = self.refresh.lock().await;
        loop {
            let wanted = self.wanted.load(Ordering::Acquire);
            if self.built.load(Ordering::Acquire) == wanted {
                return Ok(());
            }
            self.rebuild().await?;
            self.built.store(wanted, Ordering::Release);
        }
    }

    async fn rebuild(&self) -> Result<()> {
        let old = self.table.load_full();
        let mut table = Table::default();
        for auth in [false, true] {
            let given = self.builtin_default(auth);
            let path = builtin_path(&given);
            let stored = self.store.get(Space::core(), &path).await.map_err(fault::storage)?;
            // Settings that cannot be read must not keep the vault from opening.
            let read = stored.map_or(Ok(given.clone()), |v| decode(&v.value));
            table.builtin.push(Arc::new(read.unwrap_or_else(|e| {
                tracing::error!(mount = %given.path, reason = %e, "its settings cannot be read: the defaults are used");
                given
            })));
        }
        for found in self.records().await? {
            if found.record.deleting {
                // Data whose owner this server does not understand is not its to delete.
                if found.broken.is_none() {
                    table.dying.push((found.record.uuid, found.rev));
                }
                continue;
            }
            let mounted = self.bring_up(found, old.by_uuid.values().map(|m| &**m));
            if let Some(reason) = &mounted.broken {
                tracing::error!(mount = %mounted.mount.path, reason, "a mount cannot be served");
            }
            table.by_path.insert(mounted.mount.path.clone(), mounted.clone());
            table.by_uuid.insert(mounted.mount.uuid, mounted);
        }
        self.table.store(Arc::new(table));
        Ok(())
    }

    /// Reuses the running engine of an unchanged mount, else makes a new one. What cannot be made
    /// takes only its own mount out of service.
    fn bring_up<'a>(&self, found: Found, mut running: impl Iterator<Item = &'a Mounted>) -> Arc<Mounted> {
        let Found { record, rev, broken } = found;
        let mount = self.describe(&record);
        let same = |m: &&Mounted| {
            m.broken.is_none() && m.mount.uuid == mount.uuid && m.mount.options == mount.options
        };
        let made = match (broken, running.find(same)) {
            (Some(reason), _) => Err(reason),
            (None, Some(m)) => Ok(m.engine.clone()),
            (None, None) => self
                .factory(&record.type_name, record.auth)
                .and_then(|f| (f.make)(&mount, self.egress.clone()))
                .map_err(|e| e.message().to_string()),
        };
        let broken = made.as_ref().err().cloned();
        let engine = made.unwrap_or_else(|reason| Arc::new(Broken::new(record.auth, reason)));
        Arc::new(Mounted { space: Space::mount(record.uuid), record, rev, mount, engine, broken })
    }

    fn describe(&self, r: &StoredMount) -> Mount {
        let ttl = self.effective(&r.config);
        Mount {
            uuid: r.uuid,
            accessor: r.accessor.clone(),
            path: r.full_path(),
            type_name: r.type_name.clone(),
            options: r.options.clone(),
            config: r.config.clone(),
            default_ttl: ttl.default,
            max_ttl: ttl.max,
        }
    }

    /// A mount's TTLs: its own where it sets them, else the system's.
    pub fn effective(&self, config: &MountConfig) -> SystemTtl {
        let secs = |own: u64, system: Duration| if own == 0 { system } else { Duration::from_secs(own) };
        let max = secs(config.max_lease_ttl, self.ttl.max);
        SystemTtl { default: secs(config.default_lease_ttl, self.ttl.default).min(max), max }
    }

    /// `auth/token/` or `sys/` as it is when nobody tuned it.
    fn builtin_default(&self, auth: bool) -> StoredMount {
        let (path, type_name, description) = match auth {
            true => ("token/", "token", "token based credentials"),
            false => ("sys/", "system", "system endpoints used for control, policy and debugging"),
        };
        let uuid = Uuid::new_v5(&self.store.store_id(), path.as_bytes());
        StoredMount {
            v: 1,
            uuid,
            accessor: crate::sys::mounts::accessor(type_name, uuid),
            path: path.into(),
            auth,
            type_name: type_name.into(),
            description: description.into(),
            options: BTreeMap::new(),
            config: MountConfig::default(),
            local: false,
            seal_wrap: false,
            created: Timestamp::ZERO,
            deleting: false,
        }
    }

    /// `auth/token/` or `sys/`.
    pub fn builtin(&self, auth: bool) -> Arc<StoredMount> {
        let table = self.table.load();
        let found = table.builtin.iter().find(|m| m.auth == auth).cloned();
        found.unwrap_or_else(|| Arc::new(self.builtin_default(auth)))
    }

    /// The TTLs of tokens that no login method issues: those of `auth/token/`.
    pub fn token_ttl(&self) -> SystemTtl {
        self.effective(&self.builtin(true).config)
    }

    /// Stages a change of `auth/token/` or `sys/`.
    pub async fn update_builtin(
        &self,
        txn: &mut Transaction,
        auth: bool,
        change: impl FnOnce(&mut StoredMount) -> Result<()>,
    ) -> Result<()> {
        let given = self.builtin_default(auth);
        let path = builtin_path(&given);
        let stored = txn.get(Space::core(), &path).await.map_err(fault::storage)?;
        let mut record = stored.map_or(Ok(given), |v| decode(&v))?;
        change(&mut record)?;
        let bytes = serde_json::to_vec(&record).map_err(Error::internal)?;
        txn.put(Space::core(), &path, Zeroizing::new(bytes)).map_err(fault::storage)
    }

    fn factory(&self, type_name: &str, auth: bool) -> Result<&'static Factory> {
        let kind = if auth { EngineKind::Auth } else { EngineKind::Secret };
        self.factories.iter().find(|f| f.type_name == type_name && f.kind == kind).ok_or_else(|| {
            let what = if auth { "auth method" } else { "secrets engine" };
            Error::invalid(format!("this server has no {what} of type \"{type_name}\""))
        })
    }

    /// All stored mounts, those being deleted too. A record that does not even tell its path is
    /// left out, and logged.
    async fn records(&self) -> Result<Vec<Found>> {
        let names = self.store.list(Space::core(), FOLDER, None, MAX_MOUNTS).await.map_err(fault::storage)?;
        let mut out = Vec::with_capacity(names.len());
        for name in names {
            if let Some(v) =
                self.store.get(Space::core(), &format!("{FOLDER}{name}")).await.map_err(fault::storage)?
            {
                match found(&name, &v.value, v.rev) {
                    Some(found) => out.push(found),
                    None => tracing::error!(record = %name, "a mount's record cannot be read at all"),
                }
            }
        }
        Ok(out)
    }

    /// The mount that serves `path` (longest prefix) and the rest of the path below it.
    pub fn route<'p>(&self, path: &'p str) -> Option<(Arc<Mounted>, &'p str)> {
        let table = self.table.load();
        let mut end = path.len();
        while let Some(slash) = path.get(..end)?.rfind('/') {
            let (prefix, rest) = path.split_at(slash + 1);
            if let Some(m) = table.by_path.get(prefix) {
                return Some((m.clone(), rest));
            }
            end = slash;
        }
        None
    }

    /// The mount at exactly `path` (with its trailing slash).
    pub fn at(&self, path: &str) -> Option<Arc<Mounted>> {
        self.table.load().by_path.get(path).cloned()
    }

    /// Every served mount, by path.
    pub fn all(&self) -> Vec<Arc<Mounted>> {
        let mut all: Vec<_> = self.table.load().by_path.values().cloned().collect();
        all.sort_by(|a, b| a.mount.path.cmp(&b.mount.path));
        all
    }

    /// True while the auth mount that issued a token (at `path`, before `created`) is enabled.
    pub fn issuer_lives(&self, path: &str, created: Timestamp) -> bool {
        self.route(path).is_some_and(|(m, _)| m.record.auth && m.record.created <= created)
    }

    /// Stages a new mount. The caller refreshes the table after the commit.
    pub async fn enable(&self, txn: &mut Transaction, mut record: StoredMount) -> Result<()> {
        record.path = normalise(&record.path)?;
        if record.description.len() > MAX_DESCRIPTION {
            return Err(Error::invalid("description is too long"));
        }
        let full = record.full_path();
        if !record.auth && RESERVED.iter().any(|r| full.starts_with(r)) {
            return Err(Error::invalid(format!("cannot mount \"{full}\": the path is reserved")));
        }
        if record.auth && record.path.starts_with("token/") {
            return Err(Error::invalid("the token auth method is built in"));
        }
        if SINGLETONS.contains(&record.type_name.as_str()) {
            return Err(Error::invalid(format!("mount type of \"{}\" is not mountable", record.type_name)));
        }
        txn.fence(Space::core(), FOLDER).await.map_err(fault::storage)?;
        let all = self.records().await?;
        if all.len() >= MAX_MOUNTS {
            return Err(Error::invalid("too many mounts"));
        }
        let standing = all.iter().map(|f| &f.record).filter(|m| m.auth == record.auth && !m.deleting);
        for other in standing {
            // Also where one would hide a part of the other.
            if other.path.starts_with(&record.path) || record.path.starts_with(&other.path) {
                return Err(Error::invalid(format!("path is already in use at {}", other.full_path())));
            }
        }
        let factory = self.factory(&record.type_name, record.auth)?;
        let engine = (factory.make)(&self.describe(&record), self.egress.clone())?;
        engine.check_options(&record.options)?;
        put(txn, &record)
    }

    /// Stages a change of a mount, made on its record as it is in this transaction: two changes
    /// at once cannot lose one, and a deleted mount does not come back.
    pub async fn update(
        &self,
        txn: &mut Transaction,
        mounted: &Mounted,
        change: impl FnOnce(&mut StoredMount) -> Result<()>,
    ) -> Result<()> {
        txn.fence(Space::core(), FOLDER).await.map_err(fault::storage)?;
        let gone = || not_there(&mounted.record.full_path());
        let raw = txn.get(Space::core(), &path(mounted.record.uuid)).await.map_err(fault::storage)?;
        let mut record = decode(&raw.ok_or_else(gone)?)?;
        if record.deleting {
            return Err(gone());
        }
        change(&mut record)?;
        put(txn, &record)
    }

    /// Stages the tombstone of a mount: it is gone with the commit, its records follow.
    pub async fn disable(&self, txn: &mut Transaction, mounted: &Mounted) -> Result<()> {
        self.update(txn, mounted, |record| {
            record.deleting = true;
            Ok(())
        })
        .await
    }

    /// Makes a writing request depend on its mount: once it is disabled or tuned, the commit is
    /// refused and the request decided anew.
    pub fn pin(&self, txn: &mut Transaction, mounted: &Mounted) {
        txn.expect(Space::core(), &path(mounted.record.uuid), Some(mounted.rev));
    }

    /// One step of the deletion job: true when there is more to do.
    pub async fn purge_step(&self) -> Result<bool> {
        self.refresh().await?;
        let Some((dead, rev)) = self.table.load().dying.first().copied() else {
            return Ok(false);
        };
        let n =
            self.store.purge(Space::mount(dead), crate::limits::PURGE_STEP).await.map_err(fault::storage)?;
        if n == 0 {
            let mut txn = self.store.begin();
            txn.expect(Space::core(), &path(dead), Some(rev));
            txn.delete(Space::core(), &path(dead)).map_err(fault::storage)?;
            txn.anchor_may_follow();
            txn.commit().await.map_err(fault::commit)?;
        }
        Ok(true)
    }
}

/// The text by which clients know that there is nothing to tune.
pub fn not_there(path: &str) -> Error {
    Error::invalid(format!("tune of path \"{path}\" failed: no mount entry found"))
}

fn builtin_path(m: &StoredMount) -> String {
    format!("{BUILTIN}{}", m.path.trim_end_matches('/'))
}

fn path(uuid: Uuid) -> String {
    format!("{FOLDER}{uuid}")
}

pub fn put(txn: &mut Transaction, record: &StoredMount) -> Result<()> {
    let bytes = serde_json::to_vec(record).map_err(Error::internal)?;
    txn.put(Space::core(), &path(record.uuid), Zeroizing::new(bytes)).map_err(fault::storage)
}

fn unreadable(why: &str) -> Error {
    Error::new(ErrorKind::Internal, why.to_string())
}

/// What a stored record says, or as much of it as keeps its place: its path.
fn found(name: &str, value: &[u8], rev: u64) -> Option<Found> {
    #[derive(Deserialize)]
    struct Place {
        path: String,
        auth: bool,
        #[serde(default, rename = "type")]
        type_name: String,
        #[serde(default)]
        deleting: bool,
    }
    let e = match decode(value) {
        Ok(record) => return Some(Found { record, rev, broken: None }),
        Err(e) => e,
    };
    let place: Place = serde_json::from_slice(value).ok()?;
    let uuid = Uuid::parse_str(name).ok()?;
    let record = StoredMount {
        v: 1,
        uuid,
        accessor: crate::sys::mounts::accessor("broken", uuid),
        path: normalise(&place.path).ok()?,
        auth: place.auth,
        type_name: place.type_name,
        description: String::new(),
        options: BTreeMap::new(),
        config: MountConfig::default(),
        local: false,
        seal_wrap: false,
        // Unknown: no token is older than this, so none that it issued lives on.
        created: Timestamp::from_unix_nanos(i64::MAX),
        deleting: place.deleting,
    };
    Some(Found { record, rev, broken: Some(e.message().to_string()) })
}

fn decode(value: &[u8]) -> Result<StoredMount> {
    let m: StoredMount =
        serde_json::from_slice(value).map_err(|_| unreadable("its record has an unknown form"))?;
    if m.v != 1 {
        return Err(unreadable(&format!("its record has version {}", m.v)));
    }
    Ok(m)
}

/// A mount path with exactly one trailing slash and ordinary segments.
pub fn normalise(path: &str) -> Result<String> {
    // One slash at the end is the mount's own; any other is refused below as an empty segment.
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    if trimmed.is_empty()
        || trimmed.starts_with('/')
        || trimmed.ends_with('/')
        || trimmed.len() > MAX_MOUNT_PATH
    {
        return Err(Error::invalid("mount path is empty or too long"));
    }
    vault_logical::path::canonical(trimmed)?;
    // A blank inside a name is part of it; at its ends nobody would see it.
    let hidden = trimmed.split('/').any(|s| s.starts_with(' ') || s.ends_with(' '));
    let foreign = |c: char| (c.is_whitespace() && c != ' ') || matches!(c, '*' | '+' | '?' | '#');
    if hidden || trimmed.chars().any(foreign) {
        return Err(Error::invalid("mount path has a character that policies or URLs cannot name"));
    }
    Ok(format!("{trimmed}/"))
}
