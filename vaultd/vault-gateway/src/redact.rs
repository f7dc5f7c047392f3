//! Finds the provider's key in what an upstream sends back, in every spelling it could have
//! there, and masks it with as many `*`, across chunk borders, holding back nothing but a tail
//! that could still become the key: events of a stream arrive as they are sent.

use crate::limits::MIN_REDACTED_BYTES;

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use secmem::Zeroizing;
use std::sync::Arc;

/// The spellings of one key. Lives as long as the call that used the key.
pub struct Patterns {
    all: Vec<Zeroizing<Vec<u8>>>,
    first: [bool; 256],
    longest: usize,
}

impl Patterns {
    /// Raw, hex, percent-encoded, JSON-escaped, and base64 (both alphabets) at each of its three
    /// alignments. A key shorter than [`MIN_REDACTED_BYTES`] gives no patterns.
    pub fn new(key: &[u8]) -> Arc<Patterns> {
        let mut all: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        if key.len() >= MIN_REDACTED_BYTES {
            add(&mut all, key.to_vec());
            add(&mut all, hex(key, false));
            add(&mut all, hex(key, true));
            add(&mut all, percent(key, true));
            add(&mut all, percent(key, false));
            add(&mut all, json(key));
            for shift in 0..3 {
                add(&mut all, base64_core(&STANDARD_NO_PAD, key, shift));
                add(&mut all, base64_core(&URL_SAFE_NO_PAD, key, shift));
            }
        }
        // The longest first: of two that begin at one place the longer is masked.
        all.sort_by_key(|p| std::cmp::Reverse(p.len()));
        let mut first = [false; 256];
        for b in all.iter().filter_map(|p| p.first()) {
            if let Some(f) = first.get_mut(usize::from(*b)) {
                *f = true;
            }
        }
        let longest = all.first().map_or(0, |p| p.len());
        Arc::new(Patterns { all, first, longest })
    }

    fn starts(&self, byte: u8) -> bool {
        self.first.get(usize::from(byte)).copied().unwrap_or(false)
    }

    /// Masks every whole occurrence; how many there were.
    pub fn mask(&self, buf: &mut [u8]) -> u64 {
        let mut hits = 0;
        let mut at = 0;
        while let Some(step) = buf.get(at..).and_then(|rest| rest.iter().position(|b| self.starts(*b))) {
            at += step;
            let rest = buf.get_mut(at..).unwrap_or_default();
            match self.all.iter().find(|p| rest.starts_with(p)) {
                Some(p) => {
                    if let Some(found) = rest.get_mut(..p.len()) {
                        found.fill(b'*');
                    }
                    at += p.len();
                    hits += 1;
                }
                None => at += 1,
            }
        }
        hits
    }

    /// Where the tail begins that could be the beginning of the key; `buf.len()` when none.
    fn open_tail(&self, buf: &[u8]) -> usize {
        let from = buf.len().saturating_sub(self.longest.saturating_sub(1));
        (from..buf.len())
            .find(|start| {
                let tail = buf.get(*start..).unwrap_or_default();
                tail.first().is_some_and(|b| self.starts(*b)) && self.all.iter().any(|p| p.starts_with(tail))
            })
            .unwrap_or(buf.len())
    }
}

fn add(all: &mut Vec<Zeroizing<Vec<u8>>>, form: Vec<u8>) {
    if form.len() >= MIN_REDACTED_BYTES && !all.iter().any(|p| **p == form) {
        all.push(Zeroizing::new(form));
    }
}

fn hex(key: &[u8], upper: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() * 2);
    for b in key {
        out.extend_from_slice(&digits(*b, upper));
    }
    out
}

fn percent(key: &[u8], upper: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() * 3);
    for b in key {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
            out.push(*b);
        } else {
            out.push(b'%');
            out.extend_from_slice(&digits(*b, upper));
        }
    }
    out
}

/// Two hexadecimal digits. Made anew for each call that uses a key, so without `format!`.
fn digits(byte: u8, upper: bool) -> [u8; 2] {
    let letters = if upper { b'A' } else { b'a' };
    [byte >> 4, byte & 15].map(|n| if n < 10 { b'0' + n } else { letters + (n - 10) })
}

fn json(key: &[u8]) -> Vec<u8> {
    let quoted = serde_json::to_vec(&String::from_utf8_lossy(key)).unwrap_or_default();
    quoted.strip_prefix(b"\"").and_then(|q| q.strip_suffix(b"\"")).unwrap_or_default().to_vec()
}

/// The part of the key's base64 text that does not depend on the bytes around it, when `shift`
/// bytes of a three-byte group precede it.
fn base64_core(engine: &impl base64::Engine, key: &[u8], shift: usize) -> Vec<u8> {
    let mut padded = Zeroizing::new(vec![0u8; shift]);
    padded.extend_from_slice(key);
    let mut text = engine.encode(&*padded).into_bytes();
    text.truncate(padded.len() * 8 / 6);
    let skip = match shift {
        0 => 0,
        1 => 2,
        _ => 3,
    };
    text.get(skip..).unwrap_or_default().to_vec()
}

/// The state of one body.
pub struct Scanner {
    patterns: Arc<Patterns>,
    held: Zeroizing<Vec<u8>>,
    pub hits: u64,
}

impl Scanner {
    pub fn new(patterns: Arc<Patterns>) -> Self {
        Scanner { patterns, held: Zeroizing::new(Vec::new()), hits: 0 }
    }

    /// What of the body so far may go out.
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        if self.held.is_empty() && !chunk.iter().any(|b| self.patterns.starts(*b)) {
            return chunk;
        }
        let mut buf = Vec::with_capacity(self.held.len() + chunk.len());
        buf.extend_from_slice(&self.held);
        buf.extend_from_slice(&chunk);
        self.hits += self.patterns.mask(&mut buf);
        let keep = self.patterns.open_tail(&buf);
        self.held = Zeroizing::new(buf.split_off(keep));
        Bytes::from(buf)
    }

    /// The end: a tail that did not become the key is let go.
    pub fn finish(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut *self.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use proptest::prelude::*;

    const KEY: &[u8] = b"sk-test/Key+with\"odd\\chars=42";

    fn run(body: &[u8], cuts: &[usize]) -> (Vec<u8>, u64) {
        let mut s = Scanner::new(Patterns::new(KEY));
        let mut out = Vec::new();
        let mut from = 0;
        for cut in cuts.iter().copied().chain([body.len()]) {
            let cut = cut.clamp(from, body.len());
            out.extend_from_slice(&s.push(Bytes::copy_from_slice(&body[from..cut])));
            from = cut;
        }
        out.extend_from_slice(&s.finish());
        (out, s.hits)
    }

    fn spellings() -> Vec<Vec<u8>> {
        let mut forms = vec![
            KEY.to_vec(),
            hex(KEY, false),
            hex(KEY, true),
            percent(KEY, true),
            percent(KEY, false),
            json(KEY),
        ];
        for before in ["", "x", "xy"] {
            for after in ["", "z", "zz"] {
                let text = [before.as_bytes(), KEY, after.as_bytes()].concat();
                forms.push(base64::engine::general_purpose::STANDARD.encode(&text).into_bytes());
                forms.push(base64::engine::general_purpose::URL_SAFE.encode(&text).into_bytes());
            }
        }
        forms
    }

    #[test]
    fn every_spelling_is_masked_at_every_split() {
        for form in spellings() {
            let body = [b"data: {\"echo\": \"".as_slice(), &form, b"\"}\n\n"].concat();
            for cut in 0..=body.len() {
                let (out, hits) = run(&body, &[cut]);
                assert_eq!((out.len(), hits), (body.len(), 1), "split at {cut}");
                let (whole, _) = run(&body, &[]);
                assert_eq!(out, whole);
            }
            // Whatever is left of a base64 text decodes to nothing that contains half of the key.
            let (out, _) = run(&body, &[]);
            assert!(!out.windows(KEY.len() / 2).any(|w| w == &form[form.len() / 4..][..KEY.len() / 2]));
        }
    }

    #[test]
    fn an_event_is_not_held_back() {
        let mut s = Scanner::new(Patterns::new(KEY));
        let event = Bytes::from_static(b"data: {\"delta\":\"hello\"}\n\n");
        assert_eq!(s.push(event.clone()), event);
        // Only a beginning of the key waits for its end.
        assert_eq!(&s.push(Bytes::from_static(b"data: sk-te"))[..], b"data: ");
        assert_eq!(&s.push(Bytes::from_static(b"a\n\n"))[..], b"sk-tea\n\n");
        assert_eq!(s.hits, 0);
    }

    #[test]
    fn digits_are_those_of_the_standard_library() {
        for b in 0..=u8::MAX {
            assert_eq!(digits(b, true), *format!("{b:02X}").as_bytes());
            assert_eq!(digits(b, false), *format!("{b:02x}").as_bytes());
        }
    }

    #[test]
    fn short_keys_give_no_patterns() {
        let mut s = Scanner::new(Patterns::new(b"abc"));
        assert_eq!(&s.push(Bytes::from_static(b"abcabc"))[..], b"abcabc");
    }

    proptest! {
        /// Against the naive way: join everything, then replace.
        #[test]
        fn splits_do_not_matter(parts in prop::collection::vec(prop_oneof![
            Just(KEY.to_vec()), Just(KEY[..9].to_vec()), Just(KEY[3..].to_vec()), Just(hex(KEY, false)),
            prop::collection::vec(any::<u8>(), 0..20)], 0..12), cuts in prop::collection::vec(0usize..400, 0..8)) {
            let body = parts.concat();
            let mut cuts = cuts;
            cuts.sort_unstable();
            let (out, hits) = run(&body, &cuts);
            let mut naive = body.clone();
            let naive_hits = Patterns::new(KEY).mask(&mut naive);
            prop_assert_eq!(&out, &naive);
            prop_assert_eq!(hits, naive_hits);
            prop_assert!(!out.windows(KEY.len()).any(|w| w == KEY));
        }
    }
}
