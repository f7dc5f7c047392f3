//! HTTP/2 frames as they arrive: those that cost the peer nothing and do nothing are counted.
//!
//! A peer may change priorities, open windows or send frames of unknown kinds at any rate, before
//! anybody knows who it is, and each is parsed and acted upon. Honest peers send them in proportion
//! to what they ask for and receive. Who sends too many gets GOAWAY: the next frame that h2 reads is
//! then one that it ends the connection for.

use super::followed::Follow;
use crate::limits::{
    H2_FRAMES_PER_REQUEST, H2_FRAMES_PER_SECOND, H2_SENT_BYTES_PER_FRAME, MAX_H2_CHEAP_FRAMES,
    MAX_H2_SAVED_FRAMES,
};
use std::io;
use std::task::{Context, Poll};
use tokio::io::{AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Length of the connection preface.
const PREFACE: u64 = 24;
/// Length of a frame's head.
const HEAD: usize = 9;
/// A frame longer than any may be: h2 answers FRAME_SIZE_ERROR with GOAWAY (RFC 9113, 4.2).
const TOO_LONG: [u8; HEAD] = [0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1];

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// How many cheap frames a peer may still send.
struct Budget {
    left: u32,
    refilled: Instant,
}

impl Budget {
    fn new() -> Self {
        Budget { left: MAX_H2_CHEAP_FRAMES, refilled: Instant::now() }
    }

    fn earn(&mut self, frames: u32) {
        self.left = self.left.saturating_add(frames).min(MAX_H2_SAVED_FRAMES);
    }

    /// `false`: there is nothing left to spend.
    fn spend(&mut self) -> bool {
        if self.left == 0 {
            let seconds = self.refilled.elapsed().as_secs();
            if seconds > 0 {
                self.refilled = Instant::now();
                let more = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(H2_FRAMES_PER_SECOND);
                self.left = more.min(MAX_H2_CHEAP_FRAMES);
            }
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

/// Counts the cheap frames of a connection before h2 reads them.
pub(super) struct Frames {
    /// Bytes that are no frame's head: the preface, and payloads.
    skip: u64,
    head: [u8; HEAD],
    have: usize,
    budget: Budget,
    over: bool,
    /// How much of the frame that ends the connection was handed out.
    ending: usize,
}

impl Frames {
    pub(super) fn new() -> Self {
        Frames { skip: PREFACE, head: [0; HEAD], have: 0, budget: Budget::new(), over: false, ending: 0 }
    }

    fn count(&mut self, kind: u8) {
        match (kind, self.skip) {
            (HEADERS, _) => self.budget.earn(H2_FRAMES_PER_REQUEST),
            // Bounded by h2 itself.
            (CONTINUATION, _) => {}
            (DATA, n) if n > 0 => self.budget.earn(1),
            _ => self.over |= !self.budget.spend(),
        }
    }
}

impl Follow for Frames {
    /// `Some(n)`: the peer is over its budget, and its next frame begins after `n` of these bytes.
    fn follow(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|r| !r.is_empty()) {
            if self.skip > 0 {
                let n = rest.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                self.skip -= n as u64;
                at += n;
                continue;
            }
            if self.have == 0 && self.over {
                return Some(at);
            }
            let n = rest.len().min(HEAD - self.have);
            for (to, from) in self.head.iter_mut().skip(self.have).zip(rest.iter().take(n)) {
                *to = *from;
            }
            self.have += n;
            at += n;
            if self.have == HEAD {
                self.have = 0;
                let [a, b, c, kind, ..] = self.head;
                self.skip = u64::from(u32::from_be_bytes([0, a, b, c]));
                self.count(kind);
            }
        }
        (self.over && self.have == 0 && self.skip == 0).then_some(at)
    }

    fn sent(&mut self, bytes: usize) {
        // What the peer is sent, it will open windows for.
        let frames = u32::try_from(bytes / H2_SENT_BYTES_PER_FRAME).unwrap_or(u32::MAX);
        self.budget.earn(frames.saturating_add(1));
    }

    /// The frame that ends it, then nothing more.
    fn poll_end<S: AsyncWrite + Unpin>(
        &mut self,
        _inner: &mut S,
        _cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = TOO_LONG.get(self.ending..).unwrap_or_default();
        let n = rest.len().min(buf.remaining());
        buf.put_slice(rest.get(..n).unwrap_or_default());
        self.ending += n;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn frame(kind: u8, len: u8) -> Vec<u8> {
        let mut out = vec![0, 0, len, kind, 0, 0, 0, 0, 0];
        out.resize(HEAD + usize::from(len), 0);
        out
    }

    fn begun() -> Frames {
        let mut f = Frames::new();
        assert_eq!(f.follow(&[b'x'; PREFACE as usize]), None);
        f
    }

    /// Frames until the follower has had enough, in pieces of this size; how many it took.
    fn taken(f: &mut Frames, one: &[u8], frames: usize, piece: usize) -> usize {
        for n in 0..frames {
            for part in one.chunks(piece) {
                if f.follow(part).is_some() {
                    return n;
                }
            }
        }
        frames
    }

    #[tokio::test(start_paused = true)]
    async fn cheap_frames_are_bounded_however_they_arrive() {
        let most = MAX_H2_CHEAP_FRAMES as usize;
        for kind in [2, 4, 6, 7, 8, 10, 16, 200, 255, DATA] {
            for piece in [1, 5, 9, 100] {
                let one = frame(kind, if kind == DATA { 0 } else { 4 });
                let n = taken(&mut begun(), &one, 10 * most, piece);
                assert!((most..=most + 1).contains(&n), "kind {kind} by {piece}: {n}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_and_receives_may_send_more() {
        let most = MAX_H2_CHEAP_FRAMES as usize;
        let update = frame(8, 4);
        let mut f = begun();
        assert_eq!(taken(&mut f, &[frame(HEADERS, 20), update.repeat(4)].concat(), 10 * most, 64), 10 * most);
        // A download: two windows opened for each 4 KiB.
        let mut f = begun();
        for _ in 0..10 * most {
            f.sent(4096);
            assert_eq!(taken(&mut f, &update, 2, 100), 2);
        }
        // A whole window at once, and only then its updates.
        let mut f = begun();
        for _ in 0..4096 {
            f.sent(4096);
        }
        assert_eq!(taken(&mut f, &update, 8192, 100), 8192);
        // An upload, and a slow trickle.
        let mut f = begun();
        assert_eq!(taken(&mut f, &[frame(DATA, 9), update.clone()].concat(), 10 * most, 64), 10 * most);
        let mut f = begun();
        assert_eq!(taken(&mut f, &update, most, 100), most);
        for _ in 0..100 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(
                taken(&mut f, &update, H2_FRAMES_PER_SECOND as usize, 100),
                H2_FRAMES_PER_SECOND as usize
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_comes_at_a_frames_border() {
        let update = frame(8, 4);
        let flood = update.repeat(2 * MAX_H2_CHEAP_FRAMES as usize);
        let mut f = begun();
        let cut = f.follow(&flood).expect("too many");
        assert_eq!(cut % update.len(), 0);
    }
}
