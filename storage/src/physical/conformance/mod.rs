//! What every backend must do, as a suite that each backend's tests run. Failures panic, as in
//! any test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test suite fails by panicking")]

use super::Physical;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

mod model;
mod promises;

pub use model::{Action, Change, replay};

/// One store that the suite may open, close and open again.
pub trait Fixture: Send + Sync {
    /// Opens the store, or returns the one handle there is for a store that does not outlive it.
    fn open(&self) -> Pin<Box<dyn Future<Output = Arc<dyn Physical>> + Send + '_>>;
    /// Whether the store is still there after `close`.
    fn persistent(&self) -> bool;
}

/// Runs every check, each on a fresh store from `make`.
pub async fn run(make: impl Fn() -> Box<dyn Fixture>) {
    promises::records(&*make()).await;
    promises::expectations(&*make()).await;
    promises::batches(&*make()).await;
    promises::bounds(&*make()).await;
    promises::scans(&*make()).await;
    promises::folders(&*make()).await;
    promises::riders(&*make()).await;
    promises::watching(&*make()).await;
    promises::snapshots(&*make()).await;
    promises::closing(&*make()).await;
    promises::concurrency(&*make()).await;
    for seed in 0..8 {
        replay(&*make(), &model::actions(seed, 120)).await;
    }
}
