use super::conformance::{self, Fixture};
use super::memory::Memory;
use super::*;
use crate::config::{Backend, JournalConfig, StoreConfig};
use std::future::{Future, ready};
use std::pin::Pin;

type Opening<'a> = Pin<Box<dyn Future<Output = Arc<dyn Physical>> + Send + 'a>>;

struct InMemory(Arc<Memory>);

impl Fixture for InMemory {
    fn open(&self) -> Opening<'_> {
        Box::pin(ready(self.0.clone() as Arc<dyn Physical>))
    }
    fn persistent(&self) -> bool {
        false
    }
}

struct OnDisk {
    _dir: tempfile::TempDir,
    config: StoreConfig,
}

impl OnDisk {
    /// Small segments and checkpoints, so that the suite crosses many of them.
    fn new(backend: Backend) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let journal = JournalConfig {
            segment_bytes: 64 * 1024,
            checkpoint_bytes: 128 * 1024,
            ballast_bytes: 64 * 1024,
            ..JournalConfig::default()
        };
        let path = dir.path().join("store");
        let config = StoreConfig { backend, state_dir: path.clone(), path, journal };
        OnDisk { _dir: dir, config }
    }
}

impl Fixture for OnDisk {
    fn open(&self) -> Opening<'_> {
        Box::pin(async { open_physical(&self.config).await.unwrap() })
    }
    fn persistent(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    conformance::run(|| Box::new(InMemory(Arc::new(Memory::new())))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sled_conforms() {
    conformance::run(|| Box::new(OnDisk::new(Backend::Sled))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redb_conforms() {
    conformance::run(|| Box::new(OnDisk::new(Backend::Redb))).await;
}
