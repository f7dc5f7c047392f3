//! Patterns, kept masked, and the search for them.

use crate::limits::MAX_PATTERN_BYTES;

/// How a secret may be spelled in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// As it is.
    Raw,
    /// Hex, lower case.
    HexLower,
    /// Hex, upper case.
    HexUpper,
    /// Base64 (RFC 4648 section 4) after so many other bytes, modulo 3.
    Base64(u8),
    /// Base64 with the URL alphabet (section 5) after so many other bytes, modulo 3.
    Base64Url(u8),
    /// Text as 16-bit units, low byte first.
    Utf16,
    /// All bytes reversed: a big-endian number as little-endian limbs.
    Limbs,
    /// Each 8-byte word reversed, the words in order.
    Words64,
    /// Each 4-byte word reversed, the words in order.
    Words32,
    /// The 8-byte words in reverse order, each as it is.
    WordOrder,
}

/// Shortest secret that makes sense to look for, in bytes.
const MIN_SECRET_BYTES: usize = 4;
const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";
const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const ZERO: [u8; 4096] = [0; 4096];

/// One spelling of one secret. The plain bytes exist one at a time only.
pub(super) struct Needle {
    pub(super) label: String,
    pub(super) encoding: Encoding,
    masked: Vec<u8>,
    mask: Vec<u8>,
}

impl Needle {
    /// Built byte by byte, `byte(i)` being its i-th.
    fn build(label: &str, encoding: Encoding, len: usize, byte: impl Fn(usize) -> u8) -> Option<Self> {
        if !(MIN_SECRET_BYTES..=MAX_PATTERN_BYTES).contains(&len) {
            return None;
        }
        let mut mask = vec![0; len];
        crate::random::fill(&mut mask).ok()?;
        let masked: Vec<u8> = mask.iter().enumerate().map(|(i, m)| byte(i) ^ m).collect();
        Some(Self { label: label.to_owned(), encoding, masked, mask })
    }

    fn len(&self) -> usize {
        self.masked.len()
    }

    fn plain(&self) -> impl Iterator<Item = u8> {
        self.masked.iter().zip(&self.mask).map(|(byte, mask)| byte ^ mask)
    }

    fn is_at_start_of(&self, bytes: &[u8]) -> bool {
        bytes.len() >= self.len() && self.plain().zip(bytes).all(|(a, &b)| a == b)
    }

    fn head(&self) -> u16 {
        let mut plain = self.plain();
        let (a, b) = (plain.next().unwrap_or(0), plain.next().unwrap_or(0));
        u16::from_le_bytes([a, b])
    }
}

/// Adds every spelling of `secret` to `to`, each once. All zeroes, or too short, is nothing to look for.
pub(super) fn spell(label: &str, secret: &[u8], to: &mut Vec<Needle>) {
    if secret.iter().all(|&b| b == 0) {
        return;
    }
    let n = secret.len();
    let at = |i: usize| secret.get(i).copied().unwrap_or(0);
    let hex = |alphabet: &'static [u8; 16]| move |i: usize| digit(alphabet, at(i / 2), i % 2);
    let first = to.len();
    let mut add = |encoding, len, byte: &dyn Fn(usize) -> u8| {
        let Some(needle) = Needle::build(label, encoding, len, byte) else { return };
        let known = to.iter().skip(first);
        if !known.clone().any(|k| k.len() == needle.len() && k.plain().eq(needle.plain())) {
            to.push(needle);
        }
    };
    add(Encoding::Raw, n, &at);
    add(Encoding::HexLower, 2 * n, &hex(HEX_LOWER));
    add(Encoding::HexUpper, 2 * n, &hex(HEX_UPPER));
    for before in 0..3_usize {
        // Characters that hold bits of the secret only: neighbours on either side change the others.
        let (start, end) = ((8 * before).div_ceil(6), 8 * (before + n) / 6);
        let kind = u8::try_from(before).unwrap_or(0);
        for (encoding, alphabet) in
            [(Encoding::Base64(kind), BASE64), (Encoding::Base64Url(kind), BASE64_URL)]
        {
            add(encoding, end - start, &|i| sextet(alphabet, &at, before, start + i));
        }
    }
    add(Encoding::Utf16, 2 * n, &|i| if i % 2 == 0 { at(i / 2) } else { 0 });
    add(Encoding::Limbs, n, &|i| at(n - 1 - i));
    if n.is_multiple_of(8) {
        add(Encoding::Words64, n, &|i| at(i / 8 * 8 + 7 - i % 8));
        add(Encoding::WordOrder, n, &|i| at(n - 8 - i / 8 * 8 + i % 8));
    }
    if n.is_multiple_of(4) {
        add(Encoding::Words32, n, &|i| at(i / 4 * 4 + 3 - i % 4));
    }
}

fn digit(alphabet: &[u8; 16], byte: u8, half: usize) -> u8 {
    let nibble = if half == 0 { byte >> 4 } else { byte & 15 };
    alphabet.get(usize::from(nibble)).copied().unwrap_or(0)
}

/// The i-th base64 character of `before` zero bytes followed by the secret.
fn sextet(alphabet: &[u8; 64], at: &impl Fn(usize) -> u8, before: usize, i: usize) -> u8 {
    let byte = |k: usize| u16::from(k.checked_sub(before).map_or(0, at));
    let (k, shift) = (6 * i / 8, 6 * i % 8);
    let bits = (byte(k) << 8 | byte(k + 1)) >> (10 - shift) & 63;
    alphabet.get(usize::from(bits)).copied().unwrap_or(0)
}

/// Finds all needles at once, through a table of their first two bytes.
pub(super) struct Matcher<'a> {
    needles: &'a [Needle],
    heads: Vec<bool>,
    longest: usize,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(needles: &'a [Needle]) -> Self {
        let mut heads = vec![false; 1 << 16];
        for needle in needles {
            if let Some(head) = heads.get_mut(usize::from(needle.head())) {
                *head = true;
            }
        }
        let longest = needles.iter().map(Needle::len).max().unwrap_or(MIN_SECRET_BYTES);
        Self { needles, heads, longest }
    }

    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Tells `found` of every match in `bytes` that ends after the first `seen` of them.
    pub(super) fn search(&self, bytes: &[u8], seen: usize, mut found: impl FnMut(&Needle, usize)) {
        let mut at = seen.saturating_sub(self.longest - 1);
        while let Some([a, b]) = bytes.get(at..at + 2) {
            if at.is_multiple_of(ZERO.len()) && bytes.get(at..at + ZERO.len()) == Some(&ZERO) {
                // Nothing matches inside zeroes; only what may reach past them is looked at.
                let skip = ZERO.len().saturating_sub(self.longest - 1);
                if skip > 0 {
                    at += skip;
                    continue;
                }
            }
            let head = usize::from(u16::from_le_bytes([*a, *b]));
            if self.heads.get(head).copied().unwrap_or(false) {
                let rest = bytes.get(at..).unwrap_or_default();
                for needle in self.needles {
                    if at + needle.len() > seen && needle.is_at_start_of(rest) {
                        found(needle, at);
                    }
                }
            }
            at += 1;
        }
    }
}
