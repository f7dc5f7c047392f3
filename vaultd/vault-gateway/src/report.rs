//! What the operator's log is told of a failed call: the whole chain of causes, by request id and
//! service. A flood of failures costs a bounded number of lines.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;
use vault_logical::{LogGate, RequestId, chain};

/// The log's two gates: strangers cannot hide an upstream's trouble.
#[derive(Default)]
pub struct Report {
    callers: LogGate,
    upstreams: LogGate,
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

    fn write(&self, gate: &LogGate, what: &str, code: &str, phase: &str, cause: &(dyn Error + 'static)) {
        let Some(withheld) = gate.pass(Instant::now()) else { return };
        if withheld > 0 {
            tracing::warn!(withheld, "{what}: lines left out before this one");
        }
        let cause = chain(cause);
        tracing::warn!(request_id = %self.id, service = %self.service, code, phase, cause, "{what}");
    }
}
