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
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::oneshot;
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

/// Ends an upload, with the reason. Dropped, it does so, too; it is closed once the upload is over.
pub type Stop = oneshot::Sender<Code>;

/// The caller's body on its way to the upstream.
pub struct Upload<B> {
    inner: B,
    sent: Arc<AtomicU64>,
    /// Gone once it was heard.
    stop: Option<oneshot::Receiver<Code>>,
}

impl<B> Upload<B> {
    pub fn new(inner: B, sent: Arc<AtomicU64>) -> (Self, Stop) {
        let (stop, stopped) = oneshot::channel();
        (Upload { inner, sent, stop: Some(stopped) }, stop)
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
        let stopped = match &mut self.stop {
            None => Some(CALLER_LEFT),
            Some(stop) => match Pin::new(stop).poll(cx) {
                Poll::Pending => None,
                Poll::Ready(code) => Some(code.map_or(CALLER_LEFT, Code::as_str)),
            },
        };
        if let Some(why) = stopped {
            self.stop = None;
            return Poll::Ready(Some(Err(BodyError::Ended(why).into())));
        }
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
pub struct Download(Arc<Mutex<Flow>>);

/// What [`Download`] shares with the task that ends it when nobody asks for it.
struct Flow {
    /// Gone once it is cut.
    inner: Option<Incoming>,
    scanner: Option<Scanner>,
    patterns: Arc<Patterns>,
    account: Account,
    idle: Duration,
    alarm: Pin<Box<Sleep>>,
    /// The alarm runs only while the upstream is waited for, not while the caller is slow.
    waiting: bool,
    trailers: Option<http::HeaderMap>,
    /// The length that the head promised: a connection stops asking once it is handed over.
    promised: Option<u64>,
    ended: bool,
    /// Why it was cut, for the caller's next look.
    broken: Option<BoxError>,
    waker: Option<Waker>,
    /// Dropped at the end.
    open: Option<oneshot::Sender<()>>,
}

impl Download {
    pub fn new(inner: Incoming, patterns: Arc<Patterns>, mut account: Account, idle: Duration) -> Self {
        let promised = inner.size_hint().exact();
        if promised == Some(0) {
            account.delivered();
        }
        Download(Arc::new(Mutex::new(Flow {
            inner: Some(inner),
            promised,
            scanner: Some(Scanner::new(patterns.clone())),
            patterns,
            account,
            idle,
            alarm: Box::pin(tokio::time::sleep(idle)),
            waiting: false,
            trailers: None,
            ended: false,
            broken: None,
            waker: None,
            open: None,
        })))
    }

    /// True when the upstream sends no body.
    pub fn is_empty(&self) -> bool {
        self.0.lock().inner.as_ref().is_none_or(Body::is_end_stream)
    }

    /// Nobody polls an empty body: its call is complete with its head.
    pub fn complete_empty(&mut self) {
        self.0.lock().end();
    }

    /// Ends both directions when `closing` says so, although nobody may be asking for either: a
    /// caller who does not read its answer, an upload that waits for its caller.
    pub fn end_on(&self, closing: Closing, mut stop: Stop) {
        let mut flow = self.0.lock();
        if flow.ended && stop.is_closed() {
            return;
        }
        let (open, over) = oneshot::channel();
        flow.open = (!flow.ended).then_some(open);
        let shared = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            let both = async {
                stop.closed().await;
                let _ = over.await;
            };
            let code = tokio::select! {
                () = both => return,
                code = closing => code,
            };
            if let Some(flow) = shared.upgrade() {
                flow.lock().end_now(code);
            }
            let _ = stop.send(code);
        });
    }
}

impl Flow {
    fn end(&mut self) {
        self.ended = true;
        self.open = None;
        self.account.delivered();
        self.account.finish();
    }

    /// Between two looks of the caller.
    fn end_now(&mut self, code: Code) {
        if !self.ended {
            self.broken = Some(self.cut(code.as_str(), BodyError::Ended(code.as_str()).into()));
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }

    fn out(&mut self, data: Bytes) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.account.completion.response_bytes += data.len() as u64;
        if self.promised == Some(self.account.completion.response_bytes) {
            self.account.delivered();
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    /// The stream breaks off here: what was masked so far is on record, the upstream's part of the
    /// exchange and the key's spellings go.
    fn cut(&mut self, why: &'static str, e: BoxError) -> BoxError {
        if let Some(s) = self.scanner.take() {
            self.account.completion.redactions += s.hits;
        }
        self.inner = None;
        self.trailers = None;
        self.patterns = Patterns::none();
        if !matches!(self.account.completion.outcome, Outcome::Done) {
            self.account.completion.error = Some(why);
            self.account.log.failed(why, "answer body", &*e);
        }
        self.account.log.forget();
        self.account.finish();
        self.ended = true;
        self.open = None;
        e
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

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(e) = self.broken.take() {
            return Poll::Ready(Some(Err(e)));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        if self.scanner.is_none() {
            return self.last();
        }
        loop {
            let Some(inner) = &mut self.inner else { return self.last() };
            match Pin::new(inner).poll_frame(cx) {
                Poll::Pending => {
                    if !std::mem::replace(&mut self.waiting, true) {
                        self.alarm.as_mut().reset(Instant::now() + self.idle);
                    }
                    if self.alarm.as_mut().poll(cx).is_ready() {
                        let stalled = BodyError::Stalled(self.idle).into();
                        return Poll::Ready(Some(Err(self.cut("upstream_stalled", stalled))));
                    }
                    return Poll::Pending;
                }
                Poll::Ready(None) => return self.last(),
                Poll::Ready(Some(Err(e))) => {
                    return Poll::Ready(Some(Err(self.cut("upstream_cut", e.into()))));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    self.waiting = false;
                    match frame.into_data() {
                        Ok(data) => {
                            let Some(scanner) = self.scanner.as_mut() else { return self.last() };
                            let ready = scanner.push(data);
                            if !ready.is_empty() {
                                return self.out(ready);
                            }
                        }
                        Err(frame) => {
                            if let Ok(trailers) = frame.into_trailers() {
                                let (trailers, hits) = crate::head::returned(trailers, &self.patterns);
                                self.account.redacted(hits);
                                self.trailers = Some(trailers);
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Drop for Flow {
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
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut flow = self.0.lock();
        let polled = flow.poll(cx);
        if polled.is_pending() {
            flow.waker = Some(cx.waker().clone());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let flow = self.0.lock();
        flow.ended && flow.broken.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let flow = self.0.lock();
        // Masking keeps the length.
        match flow.promised {
            Some(n) if flow.account.completion.response_bytes == 0 => SizeHint::with_exact(n),
            _ => SizeHint::default(),
        }
    }
}
