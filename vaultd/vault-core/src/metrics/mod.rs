//! What the core counts of itself, and the page that a scrape reads.
//!
//! Counting takes no lock and formats nothing. Every label is a word of a closed set, but for the
//! names of gateway services, of which [`MAX_METERED_SERVICES`](crate::limits::MAX_METERED_SERVICES)
//! are told apart, and of audit devices, of which there are few: nothing that a caller chooses is
//! ever one.

mod calls;
mod collector;
mod format;
mod requests;
mod usage;

pub use calls::{CallMeter, Calls};
pub use collector::Collector;
pub use format::Format;
pub use requests::{Asked, Requests};

use crate::audit;
use std::sync::Arc;
use std::time::Instant;
use usage::Usage;
use vault_metrics::Counter;

/// Counted since the process started, over unsealed periods.
pub struct Metrics {
    pub started: Instant,
    pub requests: Requests,
    pub calls: Calls,
    pub audit: Arc<audit::Meters>,
    pub usage: Usage,
    /// Tokens made: by a token, a login, init and generate-root.
    pub tokens_created: Counter,
    /// Tokens that are gone, whatever ended them.
    pub tokens_removed: Counter,
    /// Of these, those whose time was up.
    pub tokens_expired: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            started: Instant::now(),
            requests: Requests::default(),
            calls: Calls::default(),
            audit: Arc::default(),
            usage: Usage::default(),
            tokens_created: Counter::default(),
            tokens_removed: Counter::default(),
            tokens_expired: Counter::default(),
        }
    }
}
