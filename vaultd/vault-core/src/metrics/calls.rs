//! Calls through the gateway: of which service, to what end, and how long they took.

use crate::limits::MAX_METERED_SERVICES;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use vault_logical::{Completion, Outcome};
use vault_metrics::{Counter, Page, Times};

/// By the first digit of the status sent to the caller; `none` where there was none.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// How far calls come.
const PHASES: [&str; 5] = ["prepare", "connect", "answer", "body", "done"];

/// Machine-readable reasons of the gateway, and the phase that a call with it ends in.
const REASONS: &[(&str, usize)] = &[
    ("bad_path", 0),
    ("bad_request", 0),
    ("method_not_allowed", 0),
    ("no_such_service", 0),
    ("missing_credential", 0),
    ("ambiguous_credential", 0),
    ("invalid_credential", 0),
    ("forbidden", 0),
    ("credential_in_request", 0),
    ("body_too_large", 0),
    ("rate_limited", 0),
    ("too_many_calls", 0),
    ("gateway_busy", 0),
    ("no_credential", 0),
    ("credential_unavailable", 0),
    ("credential_unfit", 0),
    ("unavailable", 0),
    ("upstream_address_refused", 1),
    ("upstream_unreachable", 1),
    ("upstream_timeout", 2),
    ("upstream_credential_rejected", 2),
    ("upstream_encoded", 2),
    ("upstream_invalid", 2),
    ("upstream_stalled", 3),
    ("upstream_cut", 3),
    ("caller_left", 3),
    ("credential_ended", 3),
    ("sealed", 3),
    ("internal", 0),
    // What is none of them.
    ("other", 0),
];

fn reason(code: &str) -> (usize, usize) {
    let other = REASONS.len() - 1;
    let at = REASONS.iter().position(|(name, _)| *name == code).unwrap_or(other);
    (at, REASONS.get(at).map_or(0, |(_, phase)| *phase))
}

/// Where a call ended.
fn phase(c: &Completion) -> usize {
    match (c.error, c.outcome) {
        (None, Outcome::Done) => 4,
        (None, Outcome::Refused) => 0,
        // Whoever ended it: there was no answer yet.
        (_, Outcome::Cut) if c.upstream_status == 0 => 2,
        (None, Outcome::Cut) => 3,
        (Some(code), _) => reason(code).1,
    }
}

#[derive(Default)]
struct Service {
    calls: [[Counter; PHASES.len()]; CLASSES.len()],
    failures: [Counter; REASONS.len()],
    duration: Times,
    masked: Counter,
    sent: Counter,
    received: Counter,
}

/// Counts calls.
#[derive(Default)]
pub struct Calls {
    /// Only services that there are come in here: the first so many.
    services: ArcSwap<HashMap<String, Arc<Service>>>,
    adding: Mutex<()>,
    /// All the others.
    rest: Arc<Service>,
    /// Refused before there was a caller with a right to the service.
    refused: [Counter; REASONS.len()],
}

/// One call that was let in, until its end.
pub struct CallMeter {
    service: Arc<Service>,
    since: Instant,
}

impl Calls {
    /// A call was let in to a service that there is; its head was read at `since`.
    pub fn begin(&self, service: &str, since: Instant) -> CallMeter {
        let known = self.services.load().get(service).cloned();
        CallMeter { service: known.unwrap_or_else(|| self.add(service)), since }
    }

    /// The first call of a service since the process started.
    fn add(&self, name: &str) -> Arc<Service> {
        let _adding = self.adding.lock();
        let services = self.services.load_full();
        if let Some(service) = services.get(name) {
            return service.clone();
        }
        if services.len() >= MAX_METERED_SERVICES {
            return self.rest.clone();
        }
        let mut more = (*services).clone();
        let service = more.entry(name.to_owned()).or_default().clone();
        self.services.store(Arc::new(more));
        service
    }

    /// A call was refused before it was known to be allowed.
    pub fn refused(&self, code: &str) {
        if let Some(counter) = self.refused.get(reason(code).0) {
            counter.one();
        }
    }

    pub fn put(&self, page: &mut Page) {
        let mut series = page.counter(
            "vaultd.gateway.refused_total",
            "Calls that were refused before their caller was known to have a right to the service.",
        );
        for ((name, _), counter) in REASONS.iter().zip(&self.refused) {
            series.count(&[("reason", name)], counter.get());
        }
        let services = self.services.load();
        let mut all: Vec<(&str, &Arc<Service>)> = services.iter().map(|(n, s)| (n.as_str(), s)).collect();
        all.sort_by_key(|(name, _)| *name);
        // No service has an empty name.
        if self.rest.duration.read().count > 0 {
            all.push(("", &self.rest));
        }
        let mut series = page.counter(
            "vaultd.gateway.calls_total",
            "Calls that ended, by service, class of the status sent and the phase that they ended in.",
        );
        for (service, s) in &all {
            for (class, phases) in CLASSES.iter().zip(&s.calls) {
                for (phase, counter) in PHASES.iter().zip(phases).filter(|(_, c)| c.get() > 0) {
                    let labels = [("service", *service), ("status_class", *class), ("phase", *phase)];
                    series.count(&labels, counter.get());
                }
            }
        }
        let mut series =
            page.counter("vaultd.gateway.failures_total", "Calls that failed, by service and reason.");
        for (service, s) in &all {
            for ((name, _), counter) in REASONS.iter().zip(&s.failures) {
                if counter.get() > 0 || ALWAYS.contains(name) {
                    series.count(&[("service", service), ("reason", name)], counter.get());
                }
            }
        }
        let mut series = page.histogram(
            "vaultd.gateway.call_duration_seconds",
            "Calls by service, from their head to the end of their answer's body.",
        );
        for (service, s) in &all {
            series.times(&[("service", service)], s.duration.read());
        }
        let counters: [(&str, &str, Of); 3] = [
            ("vaultd.gateway.masked_total", "Times the provider's key was masked in answers.", |s| &s.masked),
            ("vaultd.gateway.request_bytes_total", "Bytes of callers' bodies sent upstream.", |s| &s.sent),
            ("vaultd.gateway.response_bytes_total", "Bytes of bodies sent to callers.", |s| &s.received),
        ];
        for (name, help, of) in counters {
            let mut series = page.counter(name, help);
            for (service, s) in &all {
                series.count(&[("service", service)], of(s).get());
            }
        }
    }
}

/// One of a service's counters.
type Of = fn(&Service) -> &Counter;

/// Reasons that are shown from a service's first call on: alerts look for their increase.
const ALWAYS: &[&str] = &["rate_limited", "upstream_credential_rejected", "upstream_unreachable"];

impl CallMeter {
    /// The call has ended.
    pub fn ended(&self, c: &Completion) {
        let s = &self.service;
        let class = usize::from(c.status / 100);
        let class = s.calls.get(class).or(s.calls.first());
        if let Some(counter) = class.and_then(|phases| phases.get(phase(c))) {
            counter.one();
        }
        if let Some(counter) = c.error.and_then(|code| s.failures.get(reason(code).0)) {
            counter.one();
        }
        s.masked.add(c.redactions);
        s.sent.add(c.request_bytes);
        s.received.add(c.response_bytes);
        s.duration.since(self.since);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_services_are_so_many_and_the_rest() {
        let calls = Calls::default();
        for n in 0..10_000 {
            let meter = calls.begin(&format!("service-{n}"), Instant::now());
            meter.ended(&Completion { status: 200, ..Completion::default() });
            calls.refused(&format!("made-up-{n}"));
        }
        let mut page = Page::default();
        calls.put(&mut page);
        let total = page.families().iter().find(|f| f.name == "vaultd.gateway.calls_total").unwrap();
        assert_eq!(total.samples.len(), MAX_METERED_SERVICES + 1);
        let sum: f64 = total
            .samples
            .iter()
            .map(|s| match s.value {
                vault_metrics::Value::Number(n) => n,
                vault_metrics::Value::Times(_) => 0.0,
            })
            .sum();
        assert_eq!(sum, 10_000.0, "none is lost");
        assert!(!page.text().contains("made-up"), "a reason is a word of the closed set");
    }

    #[test]
    fn a_call_ends_in_one_phase() {
        let c = |outcome, upstream_status, error| Completion {
            outcome,
            upstream_status,
            error,
            ..Completion::default()
        };
        for (completion, want) in [
            (c(Outcome::Done, 200, None), "done"),
            (c(Outcome::Cut, 200, None), "body"),
            (c(Outcome::Cut, 0, Some("caller_left")), "answer"),
            (c(Outcome::Cut, 200, Some("caller_left")), "body"),
            (c(Outcome::Refused, 0, Some("rate_limited")), "prepare"),
            (c(Outcome::Refused, 0, Some("upstream_unreachable")), "connect"),
            (c(Outcome::Refused, 401, Some("upstream_credential_rejected")), "answer"),
            (c(Outcome::Cut, 200, Some("upstream_stalled")), "body"),
            (c(Outcome::Refused, 0, Some("what nobody knows")), "prepare"),
        ] {
            assert_eq!(PHASES[phase(&completion)], want, "{completion:?}");
        }
    }
}
