//! Elements of DER (X.690), one after the other: as much as keys and certificates need. What they
//! mean is the reader's business, and every step may fail.

/// Tags of elements, as they are written.
pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const OID: u8 = 0x06;
pub const UTC_TIME: u8 = 0x17;
pub const GENERALIZED_TIME: u8 = 0x18;
pub const SEQUENCE: u8 = 0x30;

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next element: its tag and content. `None` at the end, and for what is no element of
    /// less than 16 MiB.
    #[allow(clippy::should_implement_trait)] // an end and an error are told alike: it is no iterator
    pub fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0_usize, |n, b| n << 8 | usize::from(*b)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next element, if it has this tag.
    pub fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(t, _)| *t == tag).map(|(_, content)| content)
    }

    /// `None` while something is left.
    pub fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_every_length() {
        for (len, head) in [
            (0_usize, &[INTEGER, 0][..]),
            (127, &[INTEGER, 0x7f]),
            (128, &[INTEGER, 0x81, 128]),
            (300, &[INTEGER, 0x82, 1, 44]),
            (70_000, &[INTEGER, 0x83, 1, 0x11, 0x70]),
        ] {
            let content = vec![7; len];
            let bytes = [head, &content, &[OID, 0]].concat();
            let mut r = Reader(&bytes);
            assert_eq!(r.clone().take(OID), None, "another tag");
            assert_eq!(r.take(INTEGER), Some(&content[..]));
            assert!(r.end().is_none());
            assert_eq!((r.next(), r.next()), (Some((OID, &[][..])), None));
            assert!(r.end().is_some());
        }
        for bad in [&[][..], &[2], &[2, 1], &[2, 0x80, 0, 0], &[2, 0x84, 0, 0, 0, 0], &[2, 0x82, 1]] {
            assert_eq!(Reader(bad).next(), None, "{bad:?}");
        }
    }
}
