//! What the operator's log is told of a failed call: the whole chain of causes, by request id and
//! service. A flood of failures costs a bounded number of lines, and what an upstream makes a
//! cause say (HTTP/2's GOAWAY and a certificate's names are repeated in errors) is masked.

use crate::limits::MAX_TOLD_BYTES;
use crate::redact::Patterns;
use parking_lot::Mutex;
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
    /// Of all clones: what none of them may tell.
    secret: Arc<Mutex<Secret>>,
}

/// What a call must not tell.
#[derive(Default)]
enum Secret {
    /// Nothing was sent.
    #[default]
    None,
    Known(Arc<Patterns>),
    /// It cannot be recognised any more.
    Gone,
}

impl CallLog {
    pub fn new(report: Arc<Report>, id: RequestId) -> Self {
        CallLog { report, id, service: "".into(), secret: Arc::default() }
    }

    /// From here on the key is masked.
    pub fn hide(&self, patterns: Arc<Patterns>) {
        *self.secret.lock() = Secret::Known(patterns);
    }

    /// The key's spellings go, and no cause is told any more.
    pub fn forget(&self) {
        *self.secret.lock() = Secret::Gone;
    }

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
        let cause = match &*self.secret.lock() {
            Secret::None => told(&chain(cause), None),
            Secret::Known(patterns) => told(&chain(cause), Some(patterns)),
            Secret::Gone => "withheld: the call was over".into(),
        };
        tracing::warn!(request_id = %self.id, service = %self.service, code, phase, cause, "{what}");
    }
}

/// What the operator is told of a text that an upstream may have had a hand in: without the key,
/// without what a terminal obeys, and not too much of it. `None`: no key was sent yet.
pub fn told(text: &str, patterns: Option<&Patterns>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    if let Some(patterns) = patterns {
        patterns.mask(&mut bytes);
        // In other letters, as in a header's name.
        if patterns.is_named(&bytes) {
            return "withheld: the upstream repeats the key in it".into();
        }
    }
    let mut out = String::new();
    // What is masked may end inside of a character.
    for c in String::from_utf8_lossy(&bytes).chars() {
        if out.len() >= MAX_TOLD_BYTES {
            out.push('…');
            break;
        }
        match c {
            // Also what turns the direction of a line around, or ends one.
            '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.extend(c.escape_unicode());
            }
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-Provider-Key-0123456789";

    #[test]
    fn a_cut_never_uncovers_a_part_of_the_key() {
        let patterns = Patterns::new(KEY.as_bytes(), "Bearer {{credential}}").unwrap();
        for before in MAX_TOLD_BYTES - 40..MAX_TOLD_BYTES + 2 {
            let text = told(&format!("{}{KEY}", "x".repeat(before)), Some(&patterns));
            assert!(!text.contains("sk-") && text.len() <= MAX_TOLD_BYTES + "…".len(), "{before}: {text}");
        }
        let lower = told(&format!("names {}", KEY.to_lowercase()), Some(&patterns));
        assert!(lower.starts_with("withheld"), "{lower}");
        assert_eq!(told("a\r\n\u{1b}[2J\u{202e}b é", None), "a\\r\\n\\u{1b}[2J\\u{202e}b é");
    }

    #[test]
    fn a_key_that_is_forgotten_silences_its_causes() {
        use std::sync::Mutex as Std;
        #[derive(Clone, Default)]
        struct Lines(Arc<Std<String>>);
        impl tracing::Subscriber for Lines {
            fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
                true
            }
            fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
                tracing::span::Id::from_u64(1)
            }
            fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
            fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
            fn event(&self, event: &tracing::Event<'_>) {
                struct Text<'a>(&'a mut String);
                impl tracing::field::Visit for Text<'_> {
                    fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                        self.0.push_str(&format!("{value:?} "));
                    }
                }
                event.record(&mut Text(&mut self.0.lock().unwrap()));
            }
            fn enter(&self, _: &tracing::span::Id) {}
            fn exit(&self, _: &tracing::span::Id) {}
        }
        let lines = Lines::default();
        let log = CallLog::new(Arc::default(), RequestId::nil());
        let clone = log.clone();
        let cause = std::io::Error::other(format!("it said {KEY}"));
        tracing::subscriber::with_default(lines.clone(), || {
            log.hide(Patterns::new(KEY.as_bytes(), "Bearer {{credential}}").unwrap());
            clone.failed("a", "b", &cause);
            clone.forget();
            log.refused("a", "b", &cause);
        });
        let text = lines.0.lock().unwrap().clone();
        assert!(text.contains("it said ****") && text.contains("the call was over"), "{text}");
        assert!(!text.contains(KEY), "{text}");
    }
}
