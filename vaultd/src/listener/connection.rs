//! One connection, from handshake to close.

use super::Handler;
use super::followed::Followed;
use super::frames::Frames;
use super::heads::Heads;
use super::registry::{Activity, Admitted, Epoch, InFlight};
use crate::codec::answer::{Answer, CloseAfter, StreamError};
use crate::codec::refuse_ambiguous;
use crate::config::Timeouts;
use crate::limits as l;
use crate::tls;
use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use vault_logical::Connection;

/// What serves a connection, and how long its parts may take.
#[derive(Clone)]
pub(super) struct Service {
    pub handler: Arc<dyn Handler>,
    pub timeouts: Timeouts,
}

/// A TLS connection, from its handshake on.
pub(super) async fn serve_tls(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    admitted: Admitted,
    peer: Connection,
    service: Service,
) {
    let mut epoch = admitted.epoch.clone();
    let handshake = tokio::time::timeout(service.timeouts.handshake, acceptor.accept(stream));
    // One that fails or stalls is the peer's business; nothing to say to it, and to the operator only
    // where a setting of ours would admit it. A seal or a stop does
    // not wait for one.
    let stream = tokio::select! {
        done = handshake => match done {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) if tls::lacks_our_version(&e) => {
                return old_client(&peer);
            }
            _ => return,
        },
        _ = epoch.changed() => return,
    };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        serve_http2(stream, admitted, peer, service).await;
    } else {
        serve_http1(stream, admitted, peer, service).await;
    }
}

/// Tells the operator of a client that speaks no TLS version of ours, and what would admit it.
fn old_client(peer: &Connection) {
    static NOTICE: Mutex<Option<Instant>> = Mutex::new(None);
    {
        let mut last = NOTICE.lock();
        if last.is_some_and(|at| at.elapsed() < l::OLD_TLS_NOTICE) {
            return;
        }
        *last = Some(Instant::now());
    }
    let remote = peer.remote.map(|a| a.ip().to_string()).unwrap_or_default();
    tracing::warn!(
        %remote,
        "a client that offers no TLS 1.3 was refused; tls_min_version = \"tls12\" on the listener admits it"
    );
}

/// An HTTP/1.1 connection over any byte stream.
pub(super) async fn serve_http1<S>(stream: S, admitted: Admitted, peer: Connection, service: Service)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Service { handler, timeouts } = service;
    let activity = Arc::clone(&admitted.activity);
    let service = service_fn(move |request: Request<Incoming>| {
        let (handler, peer, in_flight) = (Arc::clone(&handler), peer.clone(), activity.begin());
        async move {
            let mut response = match refuse_ambiguous(&request) {
                Some(refusal) => refusal,
                None => handler.handle(request, &peer).await,
            };
            if response.extensions_mut().remove::<CloseAfter>().is_some() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(tracked(response, in_flight))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.header)
        .max_headers(l::MAX_HEADERS)
        .max_header_size(l::MAX_HEADER_BYTES)
        .max_buf_size(l::MAX_CONNECTION_BUFFER)
        .half_close(false)
        .serve_connection(
            TokioIo::new(Followed::new(stream, Heads::new(Arc::clone(&admitted.activity)))),
            service,
        );
    supervise(connection, admitted, timeouts).await;
}

async fn serve_http2<S>(stream: S, admitted: Admitted, peer: Connection, service: Service)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Service { handler, timeouts } = service;
    let activity = Arc::clone(&admitted.activity);
    let service = service_fn(move |request: Request<Incoming>| {
        let (handler, peer, activity) = (Arc::clone(&handler), peer.clone(), Arc::clone(&activity));
        let in_flight = activity.begin();
        async move {
            let mut response = match refuse_ambiguous(&request) {
                Some(refusal) => refusal,
                None => handler.handle(request, &peer).await,
            };
            if response.extensions_mut().remove::<CloseAfter>().is_some() {
                activity.close.notify_one();
            }
            Ok::<_, Infallible>(tracked(response, in_flight))
        }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(l::MAX_H2_STREAMS)
        .initial_stream_window_size(l::H2_STREAM_WINDOW)
        .initial_connection_window_size(l::H2_CONNECTION_WINDOW)
        .max_send_buf_size(l::H2_SEND_BUFFER)
        .max_header_list_size(u32::try_from(l::MAX_HEADER_BYTES).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(l::MAX_H2_PENDING_RESETS)
        .max_local_error_reset_streams(l::MAX_H2_LOCAL_RESETS)
        // A compression table would keep tokens for as long as the connection lives.
        .header_table_size(0)
        .keep_alive_timeout(l::H2_PING_TIMEOUT)
        .serve_connection(TokioIo::new(Followed::new(stream, Frames::new())), service);
    supervise(connection, admitted, timeouts).await;
}

/// What both protocols' connections can do: run, and be asked to end.
trait Graceful: Future<Output = hyper::Result<()>> {
    fn end(self: Pin<&mut Self>);
}

impl<S, F> Graceful for http1::Connection<TokioIo<S>, F>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    F: hyper::service::HttpService<Incoming, ResBody = Tracked, Error = Infallible>,
{
    fn end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S, F> Graceful for http2::Connection<TokioIo<S>, F, TokioExecutor>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    F: hyper::service::HttpService<Incoming, ResBody = Tracked, Error = Infallible>,
    F::Future: Send + 'static,
{
    fn end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Runs a connection to its end: its own, or ours after idling, a seal, a stop or a stalled peer.
async fn supervise<C: Graceful>(connection: C, admitted: Admitted, timeouts: Timeouts) {
    let Admitted { activity, epoch, .. } = &admitted;
    let mut epoch: watch::Receiver<Epoch> = epoch.clone();
    let mut connection = pin!(connection);
    let mut closing: Option<Instant> = None;
    loop {
        let end = tokio::select! {
            _ = connection.as_mut() => return,
            changed = epoch.changed() => {
                if changed.is_err() {
                    return; // the daemon is gone
                }
                true
            }
            () = activity.close.notified() => true,
            () = tokio::time::sleep_until(next_look(activity, closing, &timeouts)) => {
                let now = Instant::now();
                if overdue(activity, closing, now, &timeouts) {
                    return; // dropped: the socket closes
                }
                closing.is_none() && activity.idle_since().is_some_and(|since| now >= since + timeouts.idle)
            }
        };
        if end && closing.is_none() {
            closing = Some(Instant::now());
            connection.as_mut().end();
        }
    }
}

/// When the supervisor has to look again.
fn next_look(activity: &Activity, closing: Option<Instant>, timeouts: &Timeouts) -> Instant {
    match (closing, activity.idle_since()) {
        (Some(_), _) => Instant::now() + l::CLOSE_GRACE,
        (None, Some(idle)) => idle + timeouts.idle,
        (None, None) => Instant::now() + timeouts.idle,
    }
}

/// True when a connection has had all the time it gets.
fn overdue(activity: &Activity, closing: Option<Instant>, now: Instant, timeouts: &Timeouts) -> bool {
    if activity.stalled_since().is_some_and(|since| now >= since + timeouts.write_stall) {
        return true;
    }
    closing.is_some_and(|since| {
        let grace = if activity.idle_since().is_some() { l::CLOSE_GRACE } else { l::DRAIN_DEADLINE };
        now >= since + grace
    })
}

fn tracked(response: Response<Answer>, in_flight: InFlight) -> Response<Tracked> {
    response.map(|body| Tracked { body, in_flight })
}

/// A body that keeps its request "in flight" until the last piece is handed out or it is dropped.
struct Tracked {
    body: Answer,
    in_flight: InFlight,
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        self.in_flight.asked();
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if matches!(frame, Some(Ok(_))) {
            self.in_flight.handed_out();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
