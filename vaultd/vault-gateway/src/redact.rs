//! Finds what a call was authorised with in what an upstream sends back, in every spelling that
//! answers use, and masks it with as many `*`: the whole key, or its beginning where that alone
//! tells something. Works across chunk borders, holding back nothing but a tail that could still
//! become the key: events of a stream arrive as they are sent.

mod form;
mod reading;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use form::{Form, Reach};
use reading::{Readings, begins_escape};
use secmem::Zeroizing;
use std::sync::Arc;
use vault_logical::provider_key::{self, Secrets, Unfit};

/// A set of forms, one bit each; those past the last bit share it. The highest bits stand for the
/// kinds of escapes.
type Set = u64;
const FORM_BITS: usize = 60;
const FORMS: Set = (1 << FORM_BITS) - 1;
const PERCENT: Set = 1 << 60;
const ENTITY: Set = 1 << 61;
const BACKSLASH: Set = 1 << 62;
const WIDE: Set = 1 << 63;

/// What a call was authorised with. Lives as long as the call.
pub struct Patterns {
    secrets: Secrets,
    /// With the number of the secret.
    forms: Vec<(usize, Form)>,
    /// What a byte may begin, and what it may be the second byte of: where the sets of two
    /// neighbours have nothing in common, nothing begins.
    first: [Set; 256],
    second: [Set; 256],
}

/// What a text holds next.
enum Found {
    Nothing,
    /// A part to be masked.
    Hit(usize, usize),
    /// A beginning that the text's end leaves open.
    Open(usize),
}

impl Patterns {
    /// Of a key that is injected into `template`.
    ///
    /// # Errors
    /// Why the key cannot be recognised in an answer.
    pub fn new(key: &[u8], template: &str) -> Result<Arc<Patterns>, Unfit> {
        Ok(Patterns::of(provider_key::secrets(key, template)?))
    }

    /// Finds nothing.
    pub fn none() -> Arc<Patterns> {
        Patterns::of(Secrets::new())
    }

    fn of(secrets: Secrets) -> Arc<Patterns> {
        let mut forms = Vec::new();
        let (mut first, mut second) = ([0; 256], SECOND);
        for (n, secret) in secrets.iter().enumerate() {
            for form in form::of(secret.len(), provider_key::least(secret)) {
                let bit = bit(forms.len());
                let [begin, go_on] = form.beginnings(secret);
                enter(&mut first, begin, bit);
                enter(&mut second, go_on, bit);
                forms.push((n, form));
            }
        }
        if !forms.is_empty() {
            escapes(&mut first, &mut second);
        }
        Arc::new(Patterns { secrets, forms, first, second })
    }

    /// Masks everything in a text that is complete; how many places there were.
    pub fn mask(&self, buf: &mut [u8]) -> u64 {
        let (mut hits, mut at) = (0, 0);
        while let Found::Hit(start, end) = self.find(buf, at, true) {
            buf.get_mut(start..end).unwrap_or_default().fill(b'*');
            at = end;
            hits += 1;
        }
        hits
    }

    /// True for a header's name with the key in it. Names come in lower case, whatever was sent.
    pub fn is_named(&self, name: &[u8]) -> bool {
        let named = |secret: &[u8]| {
            let part = secret.get(..provider_key::least(secret)).unwrap_or(secret);
            name.windows(part.len()).any(|w| w.eq_ignore_ascii_case(part))
        };
        self.secrets.iter().any(|s| named(s)) || self.mask(&mut name.to_vec()) > 0
    }

    /// The first thing from `from` on. The text goes on unless this is its `last` part.
    fn find(&self, buf: &[u8], from: usize, last: bool) -> Found {
        let mut at = from;
        loop {
            let rest = buf.get(at..).unwrap_or_default();
            let pair = |[a, b]: &[u8; 2]| of_byte(&self.first, *a) & of_byte(&self.second, *b) != 0;
            match rest.array_windows().position(pair) {
                Some(step) => at += step,
                // The last byte has no second one.
                None if rest.last().is_some_and(|b| of_byte(&self.first, *b) != 0) => at += rest.len() - 1,
                None => return Found::Nothing,
            }
            let reach = self.follow(buf.get(at..).unwrap_or_default());
            if reach.open && !last {
                return Found::Open(at);
            }
            match reach.end {
                Some(len) => return Found::Hit(at, at + len),
                None => at += 1,
            }
        }
    }

    /// How far `text` follows any of the forms.
    fn follow(&self, text: &[u8]) -> Reach {
        let mut reach = Reach::default();
        let mut set = self.begun(text, &mut reach);
        while set != 0 {
            let n = usize::try_from(set.trailing_zeros()).unwrap_or_default();
            set &= set - 1;
            let shared = if bit(n + 1) == bit(n) { self.forms.len() } else { n + 1 };
            for (secret, form) in self.forms.get(n..shared).unwrap_or_default() {
                let one = form.follow(self.secrets.get(*secret).map_or(&[], |s| s.as_slice()), text);
                reach.open |= one.open;
                reach.end = reach.end.max(one.end);
            }
        }
        reach
    }

    /// The forms that the beginning of `text` may be the beginning of.
    fn begun(&self, text: &[u8], reach: &mut Reach) -> Set {
        let Some(&first) = text.first() else { return 0 };
        if begins_escape(first) {
            let readings = Readings::of(text);
            reach.open = readings.open;
            return FORMS & readings.iter().fold(0, |set, (byte, _)| set | of_byte(&self.first, byte));
        }
        let second = text.get(1).map_or(Set::MAX, |b| of_byte(&self.second, *b));
        FORMS & second & of_byte(&self.first, first)
    }
}

fn bit(n: usize) -> Set {
    1 << n.min(FORM_BITS - 1)
}

fn of_byte(sets: &[Set; 256], byte: u8) -> Set {
    sets.get(usize::from(byte)).copied().unwrap_or(0)
}

fn enter(sets: &mut [Set; 256], bytes: [Option<u8>; 2], bit: Set) {
    for byte in bytes.into_iter().flatten() {
        // In a form or a query a blank is a plus.
        for byte in [byte, if byte == b' ' { b'+' } else { byte }] {
            if let Some(set) = sets.get_mut(usize::from(byte)) {
                *set |= bit;
            }
        }
    }
}

/// What comes second in an escape whatever the key is, and that it may itself be escaped.
const SECOND: [Set; 256] = {
    let mut sets = [0; 256];
    let mut n = 0;
    while n < 256 {
        let byte = n as u8;
        if byte.is_ascii_hexdigit() {
            sets[n] |= PERCENT;
        }
        if byte == b'#' || byte.is_ascii_alphabetic() {
            sets[n] |= ENTITY;
        }
        if matches!(byte, b'u' | b'x' | b'\\') {
            sets[n] |= BACKSLASH;
        }
        if byte == 0 {
            sets[n] |= WIDE;
        }
        if begins_escape(byte) {
            sets[n] |= FORMS;
        }
        n += 1;
    }
    sets
};

/// Enters what longer spellings begin with, and what may come second in one.
fn escapes(first: &mut [Set; 256], second: &mut [Set; 256]) {
    for ((byte, second), first) in (0..=u8::MAX).zip(second.iter_mut()).zip(first.iter()) {
        if *first != 0 {
            *second |= if byte.is_ascii_punctuation() { WIDE | BACKSLASH } else { WIDE };
        }
    }
    for (byte, kind) in [(b'%', PERCENT), (b'&', ENTITY), (b'\\', BACKSLASH), (0, WIDE)] {
        enter(first, [Some(byte), None], kind);
    }
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
        if self.held.is_empty() {
            return self.scan(chunk, false);
        }
        let mut joined = Vec::with_capacity(self.held.len() + chunk.len());
        joined.extend_from_slice(&self.held);
        joined.extend_from_slice(&chunk);
        self.scan(joined.into(), false)
    }

    /// The end: of a tail that did not become the whole key, what is worth hiding is masked.
    pub fn finish(&mut self) -> Bytes {
        let rest = std::mem::take(&mut *self.held);
        self.scan(rest.into(), true)
    }

    /// Copies only where something is masked.
    fn scan(&mut self, text: Bytes, last: bool) -> Bytes {
        let mut masked: Option<Vec<u8>> = None;
        let mut at = 0;
        let end = loop {
            match self.patterns.find(&text, at, last) {
                Found::Nothing => break text.len(),
                Found::Open(start) => break start,
                Found::Hit(start, end) => {
                    let masked = masked.get_or_insert_with(|| text.to_vec());
                    masked.get_mut(start..end).unwrap_or_default().fill(b'*');
                    self.hits += 1;
                    at = end;
                }
            }
        };
        self.held = Zeroizing::new(text.get(end..).unwrap_or_default().to_vec());
        match masked {
            None => text.slice(..end),
            Some(mut masked) => {
                masked.truncate(end);
                masked.into()
            }
        }
    }
}
