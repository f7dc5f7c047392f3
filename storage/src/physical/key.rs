//! Storage keys: a sequence of opaque segments, so that folders can be listed without
//! knowing what the segments mean.

use std::fmt;

/// `[u16 big-endian length][bytes]` for each segment, concatenated. A record may have the same
/// key as a folder (the key of a record is the folder key of what lies below it).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Key(Vec<u8>);

/// Longest segment, in bytes. Keeps `0xffff` free as an upper bound for skipping a subtree.
pub const MAX_SEGMENT: usize = 2048;

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    pub segment: Vec<u8>,
    /// A record stands at this key.
    pub record: bool,
    /// Records lie below this key.
    pub folder: bool,
}

impl Key {
    /// The root folder.
    pub fn root() -> Self {
        Key(Vec::new())
    }
    /// This key with one more segment. Segments are 1..=[`MAX_SEGMENT`] bytes.
    #[must_use]
    pub fn join(&self, segment: &[u8]) -> Self {
        debug_assert!(!segment.is_empty() && segment.len() <= MAX_SEGMENT);
        let mut k = Vec::with_capacity(self.0.len() + 2 + segment.len());
        k.extend_from_slice(&self.0);
        k.extend_from_slice(&(segment.len() as u16).to_be_bytes());
        k.extend_from_slice(segment);
        Key(k)
    }
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
    /// Takes stored bytes back; `None` when they are not whole segments.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let k = Key(bytes);
        let mut rest = k.0.as_slice();
        while !rest.is_empty() {
            rest = split(rest)?.1;
        }
        Some(k)
    }
    pub fn segments(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (seg, r) = split(rest)?;
            rest = r;
            Some(seg)
        })
    }
}

/// Splits the first segment off.
pub fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    let n = usize::from(u16::from_be_bytes(*len));
    if n == 0 || n > MAX_SEGMENT {
        return None;
    }
    rest.split_at_checked(n)
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(")?;
        for (i, s) in self.segments().enumerate() {
            if i > 0 {
                f.write_str("/")?;
            }
            for b in s.iter().take(4) {
                write!(f, "{b:02x}")?;
            }
        }
        f.write_str(")")
    }
}
