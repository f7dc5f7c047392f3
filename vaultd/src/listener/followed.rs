//! A byte stream whose bytes are followed on their way in, before anything parses them, and that
//! ends when its follower has had enough.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What reads along.
pub(super) trait Follow {
    /// More bytes of the peer's. `Some(n)`: the first `n` of these may pass, and then it ends.
    fn follow(&mut self, bytes: &[u8]) -> Option<usize>;

    /// So many bytes went to the peer.
    fn sent(&mut self, _bytes: usize) {}

    /// What is read instead, once it has ended, as often as it is asked for.
    fn poll_end<S: AsyncWrite + Unpin>(
        &mut self,
        inner: &mut S,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>>;
}

/// A stream and its follower.
pub(super) struct Followed<S, F> {
    inner: S,
    follower: F,
    ended: bool,
}

impl<S, F> Followed<S, F> {
    pub(super) fn new(inner: S, follower: F) -> Self {
        Followed { inner, follower, ended: false }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, F: Follow + Unpin> AsyncRead for Followed<S, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.ended {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
            let new = buf.filled().get(before..).unwrap_or_default();
            let Some(n) = this.follower.follow(new) else { return Poll::Ready(Ok(())) };
            buf.set_filled(before + n);
            this.ended = true;
        }
        this.follower.poll_end(&mut this.inner, cx, buf)
    }
}

impl<S: AsyncWrite + Unpin, F: Follow + Unpin> AsyncWrite for Followed<S, F> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.follower.sent(n);
        Poll::Ready(Ok(n))
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs))?;
        self.follower.sent(n);
        Poll::Ready(Ok(n))
    }
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
