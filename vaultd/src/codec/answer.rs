//! Bodies of answers, as hyper takes them.

use crate::limits::ANSWER_CHUNK_BYTES;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Why a streamed answer broke off.
pub type StreamError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer: whole in memory, or a stream of somebody else's.
pub enum Answer {
    Whole(Bytes),
    Stream(http_body_util::combinators::UnsyncBoxBody<Bytes, StreamError>),
}

impl Answer {
    pub fn empty() -> Self {
        Answer::Whole(Bytes::new())
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = StreamError;

    // In pieces, so that hyper never buffers more than one of them ahead of a slow peer.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match &mut *self {
            Answer::Whole(rest) if rest.is_empty() => Poll::Ready(None),
            Answer::Whole(rest) => {
                let n = rest.len().min(ANSWER_CHUNK_BYTES);
                Poll::Ready(Some(Ok(Frame::data(rest.split_to(n)))))
            }
            Answer::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Answer::Whole(rest) => rest.is_empty(),
            Answer::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Whole(rest) => SizeHint::with_exact(rest.len() as u64),
            Answer::Stream(body) => body.size_hint(),
        }
    }
}

/// Marks an answer after which its connection is closed.
#[derive(Clone, Copy, Debug)]
pub struct CloseAfter;
