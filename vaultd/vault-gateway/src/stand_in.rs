//! Keeps the key out of the buffers of HTTP/1.1 connections.
//!
//! hyper writes a request's head into a buffer that lives as long as the connection, and an idle
//! connection would keep the key there. So the head is made with a stand-in, random bytes of the
//! same length, and the key takes its place on the way into the TLS session, in a buffer that is
//! wiped at once.

use secmem::Zeroizing;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use vault_logical::CredentialHandle;

/// Begins every stand-in, and occurs in no UTF-8 text: looking for it costs little.
const FIRST: u8 = 0xff;

/// A key and the bytes that stand for it. Nobody but this process ever sees them: whoever knew
/// them could have the key put anywhere in a request.
pub struct StandIn {
    bytes: Vec<u8>,
    key: CredentialHandle,
}

impl StandIn {
    /// # Errors
    /// When there is no randomness.
    pub fn new(key: &CredentialHandle) -> Result<Arc<StandIn>, secmem::RandomError> {
        let mut bytes = vec![0; key.len()];
        secmem::random::fill(&mut bytes)?;
        // What a header's value may hold and no text does; the first byte is there once.
        bytes.iter_mut().for_each(|b| *b = (*b | 0x80).min(FIRST - 1));
        if let Some(first) = bytes.first_mut() {
            *first = FIRST;
        }
        Ok(Arc::new(StandIn { bytes, key: key.clone() }))
    }

    /// What goes into the head.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// True when it stands for this very key.
    pub fn is_for(&self, key: &CredentialHandle) -> bool {
        let same = self.key.with(|own| key.with(|other| secmem::ct::eq(own, other)));
        matches!(same, Ok(Ok(true)))
    }

    /// `text` with the key in place of every stand-in, from the `done`-th byte of one on where it
    /// begins inside of one. `None`: there is none.
    fn replaced(&self, text: &[u8], done: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let mut places = Vec::new();
        let mut at = 0;
        if done > 0 {
            at = (self.bytes.len() - done).min(text.len());
            places.push((0..at, done));
        }
        while let Some(step) = text.get(at..).and_then(|rest| rest.iter().position(|b| *b == FIRST)) {
            at += step;
            if text.get(at..).unwrap_or_default().starts_with(&self.bytes) {
                places.push((at..at + self.bytes.len(), 0));
                at += self.bytes.len();
            } else {
                at += 1;
            }
        }
        if places.is_empty() {
            return Ok(None);
        }
        let mut out = Zeroizing::new(text.to_vec());
        let filled = self.key.with(|key| {
            for (place, from) in &places {
                let part = key.get(*from..*from + place.len()).unwrap_or_default();
                if let Some(to) = out.get_mut(place.clone()).filter(|to| to.len() == part.len()) {
                    to.copy_from_slice(part);
                }
            }
        });
        filled.map_err(|_| io::Error::other("the key is gone"))?;
        Ok(Some(out))
    }

    /// How far into a stand-in the first `n` bytes of `text` end, which began `done` bytes into one.
    fn end(&self, text: &[u8], done: usize, n: usize) -> usize {
        let len = self.bytes.len();
        if done > 0 && n < len - done {
            return done + n;
        }
        // The last one that begins before the end; there is room for one beginning in `len` bytes.
        let from = n.saturating_sub(len - 1);
        let begun = (from..n).find(|at| text.get(*at..).unwrap_or_default().starts_with(&self.bytes));
        begun.map_or(0, |at| n - at)
    }
}

/// A connection on which stand-ins become keys.
pub struct Replacing<S> {
    inner: S,
    stand_in: Option<Arc<StandIn>>,
    /// Bytes of a stand-in that were written before the connection took no more.
    done: usize,
}

impl<S> Replacing<S> {
    pub fn new(inner: S, stand_in: Option<Arc<StandIn>>) -> Self {
        Replacing { inner, stand_in, done: 0 }
    }

    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// True when nothing is replaced.
    pub fn is_bare(&self) -> bool {
        self.stand_in.is_none()
    }
}

impl<S: hyper::rt::Read + Unpin> hyper::rt::Read for Replacing<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: hyper::rt::Write + Unpin> hyper::rt::Write for Replacing<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, text: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let Some(stand_in) = &this.stand_in else { return Pin::new(&mut this.inner).poll_write(cx, text) };
        match stand_in.replaced(text, this.done)? {
            None => Pin::new(&mut this.inner).poll_write(cx, text),
            Some(with_key) => {
                let n = ready!(Pin::new(&mut this.inner).poll_write(cx, &with_key))?;
                this.done = stand_in.end(text, this.done, n);
                Poll::Ready(Ok(n))
            }
        }
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::rt::Write;

    /// Takes at most so many bytes at a time.
    struct Slow {
        most: usize,
        got: Vec<u8>,
    }

    impl Write for Slow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let n = buf.len().min(self.most);
            self.got.extend_from_slice(&buf[..n]);
            Poll::Ready(Ok(n))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn key(text: &[u8]) -> CredentialHandle {
        secmem::Arena::open(Some(secmem::Protection::Unlocked)).unwrap().from_slice(text).unwrap()
    }

    #[test]
    fn the_key_is_written_wherever_the_writes_are_cut() {
        const KEY: &[u8] = b"sk-0123456789abcdef";
        let stand_in = StandIn::new(&key(KEY)).unwrap();
        let mark = stand_in.bytes();
        assert!(http::HeaderValue::from_bytes(mark).is_ok() && mark.len() == KEY.len());
        let text =
            [b"a: \xff\xfe ", mark, b"\r\n\xff\r\nb: ", mark, mark, b"x", &mark[..5], b"\xff"].concat();
        let expected =
            [b"a: \xff\xfe ", KEY, b"\r\n\xff\r\nb: ", KEY, KEY, b"x", &mark[..5], b"\xff"].concat();
        for most in 1..=text.len() {
            let mut io = Replacing::new(Slow { most, got: Vec::new() }, Some(stand_in.clone()));
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let mut at = 0;
            while at < text.len() {
                match Pin::new(&mut io).poll_write(&mut cx, &text[at..]) {
                    Poll::Ready(Ok(n)) => at += n,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(io.inner().got, expected, "{most} bytes at a time");
        }
    }

    #[test]
    fn it_stands_for_one_key() {
        let own = key(b"sk-0123456789abcdef");
        let stand_in = StandIn::new(&own).unwrap();
        assert!(stand_in.is_for(&own) && stand_in.is_for(&key(b"sk-0123456789abcdef")));
        assert!(
            !stand_in.is_for(&key(b"sk-0123456789abcdeg")) && !stand_in.is_for(&key(b"sk-0123456789abcde"))
        );
        assert_ne!(stand_in.bytes(), StandIn::new(&own).unwrap().bytes());
    }
}
