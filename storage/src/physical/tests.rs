use super::conformance::{self, Fixture};
use super::memory::Memory;
use super::*;
use std::future::{Future, ready};
use std::pin::Pin;

struct InMemory(Arc<Memory>);

impl Fixture for InMemory {
    fn open(&self) -> Pin<Box<dyn Future<Output = Arc<dyn Physical>> + Send + '_>> {
        Box::pin(ready(self.0.clone() as Arc<dyn Physical>))
    }
    fn persistent(&self) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    conformance::run(|| Box::new(InMemory(Arc::new(Memory::new())))).await;
}
