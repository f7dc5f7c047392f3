//! What the operator's log is told of a failed call: the whole chain of causes, by request id and
//! service. A flood of failures costs a bounded number of lines.

use crate::limits::{MAX_ERROR_CHAIN, MAX_WARNINGS_PER_SECOND};
use parking_lot::Mutex;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vault_logical::RequestId;

/// Lines of the running second, and how many were held back before it.
struct Window {
    since: Instant,
    used: u32,
    withheld: u64,
}

/// Lets [`MAX_WARNINGS_PER_SECOND`] through and counts the rest.
struct Gate(Mutex<Window>);

impl Gate {
    fn new() -> Self {
        Gate(Mutex::new(Window { since: Instant::now(), used: 0, withheld: 0 }))
    }

    /// `Some(n)`: this line may go, and `n` before it did not.
    fn pass(&self, now: Instant) -> Option<u64> {
        let mut w = self.0.lock();
        if now.saturating_duration_since(w.since) >= Duration::from_secs(1) {
            w.since = now;
            w.used = 0;
        }
        if w.used >= MAX_WARNINGS_PER_SECOND {
            w.withheld += 1;
            return None;
        }
        w.used += 1;
        Some(std::mem::take(&mut w.withheld))
    }
}

/// The log's two gates: strangers cannot hide an upstream's trouble.
pub struct Report {
    callers: Gate,
    upstreams: Gate,
}

impl Default for Report {
    fn default() -> Self {
        Report { callers: Gate::new(), upstreams: Gate::new() }
    }
}

/// One call, as the log names it.
#[derive(Clone)]
pub struct CallLog {
    pub report: Arc<Report>,
    pub id: RequestId,
    pub service: Arc<str>,
}

impl CallLog {
    /// A call that reached its upstream, or should have.
    pub fn failed(&self, code: &str, phase: &str, cause: &(dyn Error + 'static)) {
        self.write(&self.report.upstreams, "gateway call failed", code, phase, cause);
    }

    /// A call that the vault or the gateway refused.
    pub fn refused(&self, code: &str, phase: &str, cause: &(dyn Error + 'static)) {
        self.write(&self.report.callers, "gateway call refused", code, phase, cause);
    }

    fn write(&self, gate: &Gate, what: &str, code: &str, phase: &str, cause: &(dyn Error + 'static)) {
        let Some(withheld) = gate.pass(Instant::now()) else { return };
        if withheld > 0 {
            tracing::warn!(withheld, "{what}: lines left out before this one");
        }
        let cause = chain(cause);
        tracing::warn!(request_id = %self.id, service = %self.service, code, phase, cause, "{what}");
    }
}

/// An error and what caused it, outermost first, each once.
pub fn chain(e: &(dyn Error + 'static)) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    for _ in 0..MAX_ERROR_CHAIN {
        let Some(c) = cause else { break };
        let words = c.to_string();
        // Some libraries repeat their cause in their own words.
        if !words.is_empty() && !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = c.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Step(&'static str, #[source] Option<Box<Step>>);

    #[test]
    fn the_chain_names_every_cause_once() {
        let io = Step("certificate has expired", None);
        let tls = Step("the handshake failed: certificate has expired", Some(Box::new(io)));
        assert_eq!(
            chain(&Step("client error", Some(Box::new(tls)))),
            "client error: the handshake failed: certificate has expired"
        );
    }

    #[test]
    fn a_flood_costs_a_bounded_number_of_lines_and_is_counted() {
        let gate = Gate::new();
        let start = Instant::now();
        let passed = (0..1_000).filter(|_| gate.pass(start).is_some()).count();
        assert_eq!(passed, MAX_WARNINGS_PER_SECOND as usize);
        let next = gate.pass(start + Duration::from_secs(2));
        assert_eq!(next, Some(1_000 - u64::from(MAX_WARNINGS_PER_SECOND)));
    }
}
