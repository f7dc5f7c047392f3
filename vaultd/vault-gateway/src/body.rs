//! Bodies on their way through: counted, bounded, scanned, and accounted for at their end,
//! however they end.

use crate::error::Code;
use crate::limits::MAX_REQUEST_BODY;
use crate::redact::{Patterns, Scanner};
use crate::report::CallLog;
use crate::slots::Slot;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};
use vault_logical::{Completion, InvokeGuard, Outcome};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// What the gateway answers with.
pub type GatewayBody = UnsyncBoxBody<Bytes, BoxError>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the request body is larger than the gateway forwards")]
    TooLarge,
    #[error("the caller's body broke off or is malformed: {0}")]
    Caller(#[source] BoxError),
    #[error("the upstream sent nothing for {0:?}")]
    Stalled(Duration),
    /// The vault was sealed, or the caller's credential ended.
    #[error("the call was ended: {0}")]
    Ended(&'static str),
}

/// Resolves when the call must end, with the reason.
pub type Closing = Pin<Box<dyn Future<Output = Code> + Send>>;

/// The caller's body on its way to the upstream.
pub struct Upload<B> {
    inner: B,
    sent: Arc<AtomicU64>,
}

impl<B> Upload<B> {
    pub fn new(inner: B, sent: Arc<AtomicU64>) -> Self {
        Upload { inner, sent }
    }
}

impl<B> Body for Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            let frame = match std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(e)) => return Poll::Ready(Some(Err(BodyError::Caller(e.into()).into()))),
                Some(Ok(f)) => f,
            };
            // Trailers of a caller are not forwarded: they could smuggle a header past the list.
            let Ok(data) = frame.into_data() else { continue };
            let total = self.sent.fetch_add(data.len() as u64, Ordering::Relaxed) + data.len() as u64;
            if total > MAX_REQUEST_BODY {
                return Poll::Ready(Some(Err(BodyError::TooLarge.into())));
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The reason on record when nobody gave another: the caller closed before its answer was whole.
const CALLER_LEFT: &str = "caller_left";

/// Writes the completion record when it is dropped at the latest.
pub struct Account {
    guard: Box<dyn InvokeGuard>,
    sent: Arc<AtomicU64>,
    completion: Completion,
    done: bool,
    active: Arc<AtomicUsize>,
    /// Given back when the call ends.
    slot: Option<Slot>,
    log: CallLog,
}

impl Account {
    /// `active` counts the calls that have not ended.
    pub fn new(
        guard: Box<dyn InvokeGuard>,
        credential_version: u64,
        sent: Arc<AtomicU64>,
        active: Arc<AtomicUsize>,
        log: CallLog,
    ) -> Self {
        active.fetch_add(1, Ordering::AcqRel);
        let completion = Completion {
            outcome: Outcome::Cut,
            error: Some(CALLER_LEFT),
            credential_version: Some(credential_version),
            ..Completion::default()
        };
        Account { guard, sent, completion, done: false, active, slot: None, log }
    }

    /// The call's place among those under way.
    pub fn hold(&mut self, slot: Slot) {
        self.slot = Some(slot);
    }

    pub fn statuses(&mut self, status: u16, upstream: u16) {
        self.completion.status = status;
        self.completion.upstream_status = upstream;
    }

    pub fn redacted(&mut self, hits: u64) {
        self.completion.redactions += hits;
    }

    /// The call ends here with a refusal of the gateway's own.
    pub fn refuse(&mut self, code: Code) {
        self.completion.outcome = Outcome::Refused;
        self.completion.status = code.status().as_u16();
        self.completion.error = Some(code.as_str());
        self.finish();
    }

    /// Everything that was promised is handed over: whatever comes now, the call was answered.
    fn delivered(&mut self) {
        self.completion.outcome = Outcome::Done;
        self.completion.error = None;
    }

    fn finish(&mut self) {
        if !std::mem::replace(&mut self.done, true) {
            self.completion.request_bytes = self.sent.load(Ordering::Relaxed);
            self.guard.complete(std::mem::take(&mut self.completion));
            self.slot = None;
            self.active.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The upstream's body on its way to the caller.
pub struct Download {
    inner: Incoming,
    scanner: Option<Scanner>,
    patterns: Arc<Patterns>,
    account: Account,
    idle: Duration,
    alarm: Pin<Box<Sleep>>,
    /// The alarm runs only while the upstream is waited for, not while the caller is slow.
    waiting: bool,
    closing: Closing,
    trailers: Option<http::HeaderMap>,
    /// The length that the head promised: a connection stops asking once it is handed over.
    promised: Option<u64>,
    ended: bool,
}

impl Download {
    pub fn new(
        inner: Incoming,
        patterns: Arc<Patterns>,
        mut account: Account,
        idle: Duration,
        closing: Closing,
    ) -> Self {
        let promised = inner.size_hint().exact();
        if promised == Some(0) {
            account.delivered();
        }
        Download {
            inner,
            promised,
            scanner: Some(Scanner::new(patterns.clone())),
            patterns,
            account,
            idle,
            alarm: Box::pin(tokio::time::sleep(idle)),
            waiting: false,
            closing,
            trailers: None,
            ended: false,
        }
    }

    /// True when the upstream sends no body.
    pub fn is_empty(&self) -> bool {
        self.inner.is_end_stream()
    }

    /// Nobody polls an empty body: its call is complete with its head.
    pub fn complete_empty(&mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.ended = true;
        self.account.delivered();
        self.account.finish();
    }

    fn out(&mut self, data: Bytes) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.account.completion.response_bytes += data.len() as u64;
        if self.promised == Some(self.account.completion.response_bytes) {
            self.account.delivered();
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    /// The stream breaks off here: what was masked so far is on record, the key's spellings go.
    fn cut(&mut self, why: &'static str, e: BoxError) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(s) = self.scanner.take() {
            self.account.completion.redactions += s.hits;
        }
        self.patterns = Patterns::none();
        if !matches!(self.account.completion.outcome, Outcome::Done) {
            self.account.completion.error = Some(why);
            self.account.log.failed(why, "answer body", &*e);
        }
        self.account.log.forget();
        self.account.finish();
        self.ended = true;
        Poll::Ready(Some(Err(e)))
    }

    /// The body is over: what was held back goes first, then the trailers.
    fn last(&mut self) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(mut s) = self.scanner.take() {
            let rest = s.finish();
            self.account.completion.redactions += s.hits;
            if !rest.is_empty() {
                return self.out(rest);
            }
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        self.end();
        Poll::Ready(None)
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        // A caller who left: what was masked until then still counts.
        if let Some(s) = self.scanner.take() {
            self.account.completion.redactions += s.hits;
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(code) = this.closing.as_mut().poll(cx) {
            return this.cut(code.as_str(), BodyError::Ended(code.as_str()).into());
        }
        if this.scanner.is_none() {
            return this.last();
        }
        loop {
            match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Pending => {
                    if !std::mem::replace(&mut this.waiting, true) {
                        this.alarm.as_mut().reset(Instant::now() + this.idle);
                    }
                    if this.alarm.as_mut().poll(cx).is_ready() {
                        return this.cut("upstream_stalled", BodyError::Stalled(this.idle).into());
                    }
                    return Poll::Pending;
                }
                Poll::Ready(None) => return this.last(),
                Poll::Ready(Some(Err(e))) => return this.cut("upstream_cut", e.into()),
                Poll::Ready(Some(Ok(frame))) => {
                    this.waiting = false;
                    match frame.into_data() {
                        Ok(data) => {
                            let Some(scanner) = this.scanner.as_mut() else { return this.last() };
                            let ready = scanner.push(data);
                            if !ready.is_empty() {
                                return this.out(ready);
                            }
                        }
                        Err(frame) => {
                            if let Ok(trailers) = frame.into_trailers() {
                                let (trailers, hits) = crate::head::returned(trailers, &this.patterns);
                                this.account.redacted(hits);
                                this.trailers = Some(trailers);
                            }
                        }
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        // Masking keeps the length.
        match self.inner.size_hint().exact() {
            Some(n) if self.account.completion.response_bytes == 0 => SizeHint::with_exact(n),
            _ => SizeHint::default(),
        }
    }
}
