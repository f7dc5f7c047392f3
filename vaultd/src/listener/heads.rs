//! HTTP/1.1 heads as they arrive: every line ends in CR LF.
//!
//! hyper takes a lone LF for a line's end. Whatever stands before or behind this daemon may not, and
//! then two parties see two different requests. So the bytes of heads are looked at on their way;
//! those of bodies are only counted.

use super::followed::Follow;
use super::registry::Activity;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncWrite, ReadBuf};

/// What a refused connection is told before it is closed.
const REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 53\r\n\r\n{\"errors\":[\"a line of the head ends without CR LF\"]}\n";
/// As much of a line as is needed to read how long a body is.
const KEPT: usize = 64;

/// Where in a request the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Head,
    /// This many bytes of the body are to come.
    Body(u64),
    ChunkSize,
    /// This many bytes of the chunk, and its line end, are to come.
    Chunk(u64),
    Trailers,
    /// Not HTTP any more: hyper will say so.
    Lost,
}

/// The line being read.
#[derive(Default)]
struct Line {
    kept: Vec<u8>,
    len: usize,
    last: u8,
}

impl Line {
    fn push(&mut self, bytes: &[u8]) {
        let room = KEPT.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
        self.len += bytes.len();
        self.last = bytes.last().copied().unwrap_or(self.last);
    }

    fn clear(&mut self) {
        self.kept.clear();
        (self.len, self.last) = (0, 0);
    }

    /// The value of a header of this name.
    fn value(&self, name: &str) -> Option<&str> {
        let text = std::str::from_utf8(&self.kept).ok()?;
        let (found, value) = text.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    }
}

/// What the head said about its body.
#[derive(Clone, Copy, Default)]
struct Framing {
    lines: usize,
    length: u64,
    chunked: bool,
}

/// Follows the bytes of a connection.
#[derive(Default)]
struct Follower {
    part: Option<Part>,
    line: Line,
    framing: Framing,
}

/// A line of a head ended in a lone LF.
#[derive(Debug, PartialEq, Eq)]
struct BareLineFeed;

impl Follower {
    fn follow(&mut self, mut bytes: &[u8]) -> Result<(), BareLineFeed> {
        while !bytes.is_empty() {
            let part = self.part.unwrap_or(Part::Head);
            let (next, rest) = match part {
                Part::Lost => return Ok(()),
                Part::Body(left) | Part::Chunk(left) => {
                    let n = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let left = left - n as u64;
                    let next = match (part, left) {
                        (Part::Body(_), 0) => Part::Head,
                        (Part::Chunk(_), 0) => Part::ChunkSize,
                        (Part::Body(_), _) => Part::Body(left),
                        _ => Part::Chunk(left),
                    };
                    (next, bytes.get(n..).unwrap_or_default())
                }
                Part::Head | Part::ChunkSize | Part::Trailers => {
                    let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
                        self.line.push(bytes);
                        return Ok(());
                    };
                    self.line.push(bytes.get(..end).unwrap_or_default());
                    let next = self.line_end(part)?;
                    self.line.clear();
                    (next, bytes.get(end + 1..).unwrap_or_default())
                }
            };
            self.part = Some(next);
            bytes = rest;
        }
        Ok(())
    }

    /// A line is complete but for its LF.
    fn line_end(&mut self, part: Part) -> Result<Part, BareLineFeed> {
        let proper = self.line.last == b'\r';
        let empty = self.line.len == usize::from(proper);
        match part {
            Part::Head if !proper => Err(BareLineFeed),
            // Empty lines before a request are skipped (RFC 9112, 2.2).
            Part::Head if empty && self.framing.lines == 0 => Ok(Part::Head),
            Part::Head if empty => {
                let Framing { length, chunked, .. } = std::mem::take(&mut self.framing);
                Ok(match (chunked, length) {
                    (true, _) => Part::ChunkSize,
                    (false, 0) => Part::Head,
                    (false, n) => Part::Body(n),
                })
            }
            Part::Head => {
                self.header();
                Ok(Part::Head)
            }
            Part::ChunkSize => Ok(self.chunk_size()),
            _ if !proper => Ok(Part::Lost),
            _ if empty => Ok(Part::Head),
            _ => Ok(Part::Trailers),
        }
    }

    fn header(&mut self) {
        self.framing.lines += 1;
        if self.line.value("transfer-encoding").is_some() {
            self.framing.chunked = true;
        } else if let Some(n) = self.line.value("content-length") {
            // What is no number hyper refuses.
            self.framing.length = n.parse().unwrap_or(0);
        }
    }

    fn chunk_size(&self) -> Part {
        let text = std::str::from_utf8(&self.line.kept).unwrap_or_default();
        let size = text.split([';', '\r', ' ', '\t']).next().unwrap_or_default();
        match u64::from_str_radix(size, 16) {
            Ok(0) => Part::Trailers,
            Ok(n) => n.checked_add(2).map_or(Part::Lost, Part::Chunk),
            Err(_) => Part::Lost,
        }
    }
}

/// Checks the heads of a connection before hyper reads them.
pub(super) struct Heads {
    activity: Arc<Activity>,
    follower: Follower,
    /// How much of the refusal is written.
    refused: usize,
}

impl Heads {
    pub(super) fn new(activity: Arc<Activity>) -> Self {
        Heads { activity, follower: Follower::default(), refused: 0 }
    }
}

impl Follow for Heads {
    fn follow(&mut self, bytes: &[u8]) -> Option<usize> {
        self.follower.follow(bytes).err().map(|BareLineFeed| 0)
    }

    /// Says why, unless an answer is under way, and ends the connection.
    fn poll_end<S: AsyncWrite + Unpin>(
        &mut self,
        inner: &mut S,
        cx: &mut Context<'_>,
        _buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let busy = self.activity.in_flight() > 0;
        let mut written = if busy { REFUSAL.len() } else { self.refused };
        while let Some(rest) = REFUSAL.get(written..).filter(|r| !r.is_empty()) {
            let n = match Pin::new(&mut *inner).poll_write(cx, rest) {
                Poll::Ready(n) => n?,
                Poll::Pending => {
                    self.refused = written;
                    return Poll::Pending;
                }
            };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            written += n;
        }
        self.refused = written;
        ready!(Pin::new(inner).poll_shutdown(cx))?;
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a line of the head ends without CR LF")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Fed in pieces of this size: where it stands, or that it refused.
    fn follow(text: &str, piece: usize) -> Result<Part, BareLineFeed> {
        let mut f = Follower::default();
        for piece in text.as_bytes().chunks(piece.max(1)) {
            f.follow(piece)?;
        }
        Ok(f.part.unwrap_or(Part::Head))
    }

    #[test]
    fn the_refusal_is_well_formed() {
        let text = std::str::from_utf8(REFUSAL).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
    }

    #[test]
    fn only_heads_are_judged_however_they_arrive() {
        let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let lengthy = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\nab\ncd\n\n";
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\na\nb\r\n1\r\n\n\r\n0\r\nT: x\r\n\r\n";
        for piece in [1, 2, 3, 7, 1000] {
            for good in [get, lengthy, chunked, &format!("\r\n{get}{lengthy}{chunked}{get}{chunked}")] {
                assert_eq!(follow(good, piece), Ok(Part::Head), "{good:?} by {piece}");
                for bad in [
                    "\n",
                    "GET / HTTP/1.1\n",
                    "GET / HTTP/1.1\r\nHost: a\n\r\n",
                    "GET / HTTP/1.1\r\nHost: a\r\n\n",
                ] {
                    assert_eq!(
                        follow(&format!("{good}{bad}"), piece),
                        Err(BareLineFeed),
                        "{bad:?} by {piece}"
                    );
                }
            }
            assert_eq!(follow(&lengthy[..lengthy.len() - 1], piece), Ok(Part::Body(1)));
            assert_eq!(
                follow("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", piece),
                Ok(Part::Lost)
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_bytes_make_it_panic_and_pieces_do_not_matter(text in "[GH /\r\n:0-9a-f;]{0,120}", piece in 1_usize..9) {
            prop_assert_eq!(follow(&text, piece), follow(&text, 1000));
        }
    }
}
