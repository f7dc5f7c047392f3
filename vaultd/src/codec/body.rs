//! Reading a request body: bounded in size, in time, and over all connections together.

use super::refusal::Refusal;
use crate::limits::{BODY_BUDGET_STEP, MAX_ANONYMOUS_BODY_BYTES, MAX_BODY_BYTES_IN_FLIGHT};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Body;
use secmem::Zeroizing;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Bytes of large bodies that are in memory, over all connections.
#[derive(Clone, Default)]
pub struct Budget(Arc<AtomicUsize>);

/// A share of the budget; returned when dropped.
pub struct Share {
    budget: Budget,
    bytes: usize,
}

impl Share {
    /// Small bodies are free; they are bounded by the number of connections.
    fn grow_to(&mut self, wanted: usize) -> Result<(), Refusal> {
        if wanted <= MAX_ANONYMOUS_BODY_BYTES || wanted <= self.bytes {
            return Ok(());
        }
        let more = wanted.next_multiple_of(BODY_BUDGET_STEP) - self.bytes;
        let room = |used: usize| used.checked_add(more).filter(|n| *n <= MAX_BODY_BYTES_IN_FLIGHT);
        if self.budget.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).is_err() {
            let busy = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many large requests at once");
            return Err(busy.retry(1).closing());
        }
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

fn too_large() -> Refusal {
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "request body is too large").closing()
}

/// Reads the whole body, at most `cap` bytes within `deadline`; wiped when dropped.
pub async fn read<B>(
    body: B,
    cap: usize,
    deadline: Duration,
    budget: &Budget,
) -> Result<(Zeroizing<Vec<u8>>, Share), Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let slow = || Refusal::new(StatusCode::REQUEST_TIMEOUT, "request body came too slowly").closing();
    match tokio::time::timeout(deadline, collect(body, cap, budget)).await {
        Ok(read) => read,
        Err(_) => Err(slow()),
    }
}

async fn collect<B>(mut body: B, cap: usize, budget: &Budget) -> Result<(Zeroizing<Vec<u8>>, Share), Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    // Declared too long: refused before a byte of it is read.
    let hint = body.size_hint();
    if hint.lower() > cap as u64 {
        return Err(too_large());
    }
    let mut share = Share { budget: budget.clone(), bytes: 0 };
    let expected = hint.exact().map_or(0, |n| usize::try_from(n).unwrap_or(cap));
    share.grow_to(expected)?;
    // A length is only a claim: memory is taken as bytes arrive beyond the first step.
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected.min(BODY_BUDGET_STEP)));
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Refusal::bad("request body could not be read").closing());
        };
        let Ok(data) = frame.into_data() else { continue };
        let total = bytes.len() + data.len();
        if total > cap {
            return Err(too_large());
        }
        share.grow_to(total)?;
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, share))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;
    use std::convert::Infallible;

    const SOON: Duration = Duration::from_secs(20);

    fn stream(pieces: usize, size: usize) -> impl Body<Data = Bytes> + Unpin {
        let frames = (0..pieces).map(move |_| Ok::<_, Infallible>(Frame::data(Bytes::from(vec![7u8; size]))));
        StreamBody::new(futures_util::stream::iter(frames))
    }

    #[tokio::test]
    async fn caps_hold_for_declared_and_undeclared_lengths() {
        let b = Budget::default();
        assert_eq!(read(Full::new(Bytes::from_static(b"abc")), 3, SOON, &b).await.map(|r| r.0.len()), Ok(3));
        let status = |r: Result<_, Refusal>| r.map(|_| ()).map_err(|e| e.status.as_u16());
        assert_eq!(status(read(Full::new(Bytes::from_static(b"abcd")), 3, SOON, &b).await), Err(413));
        assert_eq!(status(read(stream(4, 10), 39, SOON, &b).await), Err(413));
        assert_eq!(read(stream(4, 10), 40, SOON, &b).await.map(|r| r.0.len()), Ok(40));
    }

    #[tokio::test]
    async fn the_budget_is_shared_and_returned() {
        let b = Budget::default();
        let piece = 1024 * 1024;
        let (first, share) = read(stream(200, piece), 256 * piece, SOON, &b).await.expect("room");
        assert_eq!(first.len(), 200 * piece);
        let second = read(stream(100, piece), 256 * piece, SOON, &b).await.map(|_| ());
        assert_eq!(second.map_err(|e| (e.status.as_u16(), e.retry_after)), Err((503, Some(1))));
        drop(share);
        assert!(read(stream(100, piece), 256 * piece, SOON, &b).await.is_ok());
        assert_eq!(b.0.load(Ordering::Acquire), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let never = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let r = read(never, 10, SOON, &Budget::default()).await.map(|_| ());
        assert_eq!(r.map_err(|e| (e.status.as_u16(), e.close)), Err((408, true)));
    }
}
