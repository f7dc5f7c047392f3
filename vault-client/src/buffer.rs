//! A byte buffer that leaves nothing behind when it grows.

use bytes::Bytes;
use serde::Serialize;
use std::io;
use zeroize::Zeroizing;

/// Grows by copying into a larger buffer and wiping the old one, up to a bound.
pub(crate) struct Buffer {
    bytes: Zeroizing<Vec<u8>>,
    limit: usize,
}

/// First capacity: most requests and answers fit.
const START: usize = 4 * 1024;

impl Buffer {
    pub fn new(expected: usize, limit: usize) -> Buffer {
        let capacity = expected.clamp(START, limit.max(START));
        Buffer { bytes: Zeroizing::new(Vec::with_capacity(capacity)), limit }
    }

    /// Appends, or says that the bound is passed.
    pub fn push(&mut self, more: &[u8]) -> Result<(), TooLarge> {
        let len = self.bytes.len() + more.len();
        if len > self.limit {
            return Err(TooLarge);
        }
        if len > self.bytes.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(len.next_power_of_two()));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
        self.bytes.extend_from_slice(more);
        Ok(())
    }

    pub fn into_inner(self) -> Zeroizing<Vec<u8>> {
        self.bytes
    }
}

/// The bound of a [`Buffer`].
#[derive(Debug)]
pub(crate) struct TooLarge;

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes).map_err(|_| io::Error::other("too large"))?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Serialises a body into memory that is wiped once the last copy of the handle is gone.
pub(crate) fn json(value: &impl Serialize, limit: usize) -> Result<Bytes, serde_json::Error> {
    let mut buffer = Buffer::new(START, limit);
    serde_json::to_writer(&mut buffer, value)?;
    Ok(Bytes::from_owner(buffer.into_inner()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_bound_and_no_further() {
        let mut b = Buffer::new(0, 10_000);
        for _ in 0..10 {
            b.push(&[7; 1_000]).unwrap();
        }
        assert!(b.push(&[7]).is_err());
        assert_eq!(b.into_inner().as_slice(), [7; 10_000]);
        assert!(json(&"x".repeat(100), 50).is_err());
        assert_eq!(&json(&["a"], 50).unwrap()[..], b"[\"a\"]");
    }
}
