//! Listing a folder by seeking from child to child, so that what lies below a child costs nothing.

use super::key::split;
use super::{Child, Error, Key, Result};

/// What a walk over keys in order does next.
pub(crate) enum Step {
    Next,
    /// Go on at the first key at or after this one.
    Seek(Vec<u8>),
    Stop,
}

/// Collects the children of one folder from a walk over stored keys in order.
pub(crate) struct Listing<'a> {
    folder: &'a [u8],
    limit: usize,
    found: Vec<Child>,
    error: Option<Error>,
}

impl<'a> Listing<'a> {
    pub(crate) fn new(folder: &'a Key, limit: usize) -> Self {
        Listing { folder: folder.as_bytes(), limit, found: Vec::new(), error: None }
    }

    /// Where the walk begins: at the folder, or behind everything below the child `after`.
    pub(crate) fn start(&self, after: Option<&[u8]>) -> Vec<u8> {
        match after {
            None => self.folder.to_vec(),
            Some(segment) => past_child(self.folder, segment),
        }
    }

    pub(crate) fn visit(&mut self, key: &[u8]) -> Step {
        let Some(below) = key.strip_prefix(self.folder) else { return Step::Stop };
        if below.is_empty() {
            return Step::Next;
        }
        let Some((segment, rest)) = split(below) else {
            self.error = Some(Error::Corrupt("a stored key is not made of whole segments".into()));
            return Step::Stop;
        };
        match self.found.last_mut() {
            Some(child) if child.segment == segment => child.folder = true,
            _ => {
                if self.found.len() == self.limit {
                    return Step::Stop;
                }
                self.found.push(Child {
                    segment: segment.to_vec(),
                    record: rest.is_empty(),
                    folder: !rest.is_empty(),
                });
            }
        }
        if rest.is_empty() { Step::Next } else { Step::Seek(past_child(self.folder, segment)) }
    }

    pub(crate) fn finish(self) -> Result<Vec<Child>> {
        self.error.map_or(Ok(self.found), Err)
    }
}

/// The first byte string behind the child and everything below it: no segment is `0xffff` long.
fn past_child(folder: &[u8], segment: &[u8]) -> Vec<u8> {
    let mut k = Vec::with_capacity(folder.len() + segment.len() + 4);
    k.extend_from_slice(folder);
    k.extend_from_slice(&(segment.len() as u16).to_be_bytes());
    k.extend_from_slice(segment);
    k.extend_from_slice(&[0xff, 0xff]);
    k
}
