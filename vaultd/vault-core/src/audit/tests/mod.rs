//! Tests of the audit as a whole: real files where the file system matters, files in memory that
//! fail on demand where failures matter.

mod evidence;
mod faults;
mod life;
mod lookups;
mod memory;
mod redaction;

use super::file::Files;
use super::verify::{Options, Report};
use super::*;
use memory::Memory;
use secmem::{Arena, Key};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use vault_logical::{Clock, RequestId, Timestamp};

/// A clock that stands still until it is moved.
struct Still(AtomicI64);

impl Still {
    fn forward(&self, by: Duration) {
        self.0.fetch_add(by.as_nanos() as i64, Ordering::SeqCst);
    }
}

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_nanos(self.0.load(Ordering::SeqCst))
    }
}

fn clock() -> Arc<Still> {
    Arc::new(Still(AtomicI64::new(1_790_000_000_123_456_789)))
}

fn key(byte: u8) -> Key {
    Arena::open(None).unwrap().from_slice(&[byte; 32]).unwrap()
}

const LOG: &str = "/audit/log";

fn config(path: &Path, extra: &[(&str, &str)]) -> DeviceConfig {
    let mut options: BTreeMap<String, String> =
        extra.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    options.insert("file_path".into(), path.to_str().unwrap().into());
    DeviceConfig::parse(Origin::File, "file/", "file", "", &options).unwrap()
}

/// An audit that is waited for in place.
#[derive(Clone)]
struct Direct(Audit);

impl std::ops::Deref for Direct {
    type Target = Audit;
    fn deref(&self) -> &Audit {
        &self.0
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

impl Direct {
    fn enable(&self, config: DeviceConfig, key: Key, head: Option<&Head>) -> Result<(), AuditError> {
        wait(self.0.enable(config, key, head))
    }
    fn disable(&self, name: &str) -> Result<(), AuditError> {
        wait(self.0.disable(name))
    }
    fn request(&self, entry: &RequestEntry<'_>) -> Result<Audited, AuditError> {
        wait(self.0.request(entry))
    }
    fn response<T>(
        &self,
        audited: Audited,
        entry: &ResponseEntry<'_>,
        outcome: T,
    ) -> Result<Recorded<T>, (AuditError, T)> {
        wait(self.0.response(audited, entry, outcome))
    }
    fn restore(&self, all: Vec<(DeviceConfig, Key, Option<Head>)>) -> Result<(), AuditError> {
        wait(self.0.restore(all))
    }
    fn drain_sealed(&self, ring: &Arc<SealedRing>) -> Result<(), AuditError> {
        wait(self.0.drain_sealed(ring))
    }
    fn reopen(&self) -> Result<(), AuditError> {
        wait(self.0.reopen())
    }
    fn tick(&self) -> bool {
        wait(self.0.tick())
    }
    fn sign_now(&self) {
        wait(self.0.0.sign_now());
    }
    fn close(&self) -> Vec<Head> {
        wait(self.0.close())
    }
}

fn audit_on(files: impl Files + 'static, clock: &Arc<Still>) -> Direct {
    Direct(Audit::with_files(Box::new(files), key(7), clock.clone()).unwrap())
}

/// An audit with one device on a file in memory.
fn with_memory(extra: &[(&str, &str)]) -> (Direct, Memory, Arc<Still>) {
    let (memory, clock) = (Memory::default(), clock());
    let audit = audit_on(memory.clone(), &clock);
    audit.enable(config(Path::new(LOG), extra), key(9), None).unwrap();
    (audit, memory, clock)
}

/// Waits until `done`, at most a minute; the clock runs on by steps of half a second.
fn eventually(clock: &Still, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "did not happen in time");
        clock.forward(Duration::from_millis(500));
        std::thread::yield_now();
    }
}

fn id(n: u64) -> RequestId {
    RequestId::from_u64_pair(0x1234_5678_9abc_4def, 0x8000_0000_0000_0000 | n)
}

fn caller() -> Identity<'static> {
    Identity { display_name: "token", allowed: true, ..Identity::default() }
}

fn entry(n: u64) -> RequestEntry<'static> {
    RequestEntry { identity: Some(caller()), ..RequestEntry::new(id(n), "read", "secret/data/app") }
}

fn keys(audit: &Audit) -> Options {
    Options { keys: vec![audit.public_key()], ..Options::default() }
}

fn check(bytes: &[u8], options: &Options) -> Report {
    verify(bytes, options).unwrap()
}

/// Every line as JSON.
fn lines(bytes: &[u8]) -> Vec<serde_json::Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn of_type<'a>(lines: &'a [serde_json::Value], kind: &str) -> Vec<&'a serde_json::Value> {
    lines.iter().filter(|l| l["type"] == kind).collect()
}
