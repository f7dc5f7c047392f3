//! One sealed record: a fixed header, then the ciphertext. The tag stands in the header, so that the header alone (with
//! the storage key) makes the record's term in its partition's tally.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | format, [`FORMAT`] |
//! | 1 | cipher: 1 XAES-256-GCM, 2 XChaCha20-Poly1305 |
//! | 4 | term of the key, big-endian |
//! | 8 | sequence of the round that wrote it, big-endian |
//! | 24 | nonce |
//! | 16 | tag |
//! | rest | ciphertext, as long as the plaintext |
//!
//! Authenticated with it, each field preceded by its length (32 bits, big-endian): format, cipher, store id, namespace,
//! term, sequence, partition (kind and uuid), label, plaintext path.

use super::{Cipher, Forged, KEY_BYTES, NONCE_BYTES, TAG_BYTES};
use crate::{Error, Space};
use secmem::{Key, Zeroizing};
use uuid::Uuid;

/// Format of record and associated data.
pub const FORMAT: u8 = 1;
/// Bytes before the ciphertext.
pub const HEADER_BYTES: usize = 1 + 1 + 4 + 8 + NONCE_BYTES + TAG_BYTES;

/// What stands in front of the ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub cipher: Cipher,
    pub term: u32,
    pub seq: u64,
    pub nonce: [u8; NONCE_BYTES],
    pub tag: [u8; TAG_BYTES],
}

/// What kind of thing is sealed, so that none can stand for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Label {
    /// A caller's record.
    Record = 1,
    /// A folder's fence.
    Fence = 2,
    /// Count and sum of one partition.
    Index = 3,
    /// The head of the store.
    Head = 4,
    /// Bytes that ride with a transaction.
    Rider = 5,
    /// The keyring file.
    Keyring = 6,
    /// The root key.
    Root = 7,
}

/// What a record is about: all of it is authenticated.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub store: Uuid,
    pub label: Label,
    pub space: Space,
    pub path: &'a [u8],
}

/// Where a record stands in history and which key seals it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub cipher: Cipher,
    pub term: u32,
    pub seq: u64,
}

impl Header {
    /// Splits a stored record; `None` when it is none.
    pub fn parse(stored: &[u8]) -> Option<(Header, &[u8])> {
        let (format, rest) = stored.split_first()?;
        let (cipher, rest) = rest.split_first()?;
        let (term, rest) = rest.split_first_chunk()?;
        let (seq, rest) = rest.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (tag, rest) = rest.split_first_chunk()?;
        if *format != FORMAT {
            return None;
        }
        let header = Header {
            cipher: Cipher::from_byte(*cipher)?,
            term: u32::from_be_bytes(*term),
            seq: u64::from_be_bytes(*seq),
            nonce: *nonce,
            tag: *tag,
        };
        Some((header, rest))
    }

    fn place(&self) -> Place {
        Place { cipher: self.cipher, term: self.term, seq: self.seq }
    }

    /// As stored.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let head = [FORMAT, self.cipher.byte()].into_iter();
        let numbers = self.term.to_be_bytes().into_iter().chain(self.seq.to_be_bytes());
        for (to, from) in out.iter_mut().zip(head.chain(numbers).chain(self.nonce).chain(self.tag)) {
            *to = from;
        }
        out
    }
}

fn associated(subject: &Subject<'_>, place: Place) -> Vec<u8> {
    let space = subject.space.to_bytes();
    let (namespace, partition) = space.split_at(16);
    let fields: [&[u8]; 9] = [
        &[FORMAT],
        &[place.cipher.byte()],
        subject.store.as_bytes(),
        namespace,
        &place.term.to_be_bytes(),
        &place.seq.to_be_bytes(),
        partition,
        &[subject.label as u8],
        subject.path,
    ];
    let mut out = Vec::with_capacity(fields.iter().map(|f| 4 + f.len()).sum());
    for field in fields {
        out.extend_from_slice(&(field.len() as u32).to_be_bytes());
        out.extend_from_slice(field);
    }
    out
}

/// A record about to be sealed: plaintext and what it is about.
pub struct Sealing {
    place: Place,
    nonce: [u8; NONCE_BYTES],
    associated: Vec<u8>,
    /// Room for the header, then plaintext, then (sealed) ciphertext.
    stored: Zeroizing<Vec<u8>>,
}

impl Sealing {
    pub fn new(place: Place, nonce: [u8; NONCE_BYTES], subject: &Subject<'_>, plaintext: &[u8]) -> Sealing {
        let mut stored = Zeroizing::new(Vec::with_capacity(HEADER_BYTES + plaintext.len()));
        stored.resize(HEADER_BYTES, 0);
        stored.extend_from_slice(plaintext);
        Sealing { place, nonce, associated: associated(subject, place), stored }
    }

    fn run(mut self, key: &[u8]) -> Result<(Header, Vec<u8>), Forged> {
        let Place { cipher, term, seq } = self.place;
        let (head, data) = self.stored.split_at_mut_checked(HEADER_BYTES).ok_or(Forged)?;
        let tag = cipher.encrypt(key, &self.nonce, &self.associated, data)?;
        let header = Header { cipher, term, seq, nonce: self.nonce, tag };
        head.copy_from_slice(&header.to_bytes());
        Ok((header, std::mem::take(&mut *self.stored)))
    }
}

/// Seals records under one key, in one visit to its arena: (header, stored bytes) each.
pub fn seal_all(key: &Key, items: Vec<Sealing>) -> Result<Vec<(Header, Vec<u8>)>, Error> {
    let sealed: Result<Vec<_>, Forged> =
        key.attempt(|key| items.into_iter().map(|item| item.run(key)).collect())?;
    sealed.map_err(|_| Error::TooLarge("record"))
}

/// Seals one record.
pub fn seal(
    key: &Key,
    place: Place,
    nonce: [u8; NONCE_BYTES],
    subject: &Subject<'_>,
    plaintext: &[u8],
) -> Result<(Header, Vec<u8>), Error> {
    let item = Sealing::new(place, nonce, subject, plaintext);
    key.attempt(|key| item.run(key))?.map_err(|_| Error::TooLarge("record"))
}

/// Seals a key of [`KEY_BYTES`] without its plaintext ever being on the heap; call it on an arena stack.
pub fn seal_key(
    key: &[u8],
    place: Place,
    nonce: [u8; NONCE_BYTES],
    subject: &Subject<'_>,
    plaintext: &[u8],
) -> Result<Vec<u8>, Forged> {
    let mut data: Zeroizing<[u8; KEY_BYTES]> = Zeroizing::new(plaintext.try_into().map_err(|_| Forged)?);
    let tag = place.cipher.encrypt(key, &nonce, &associated(subject, place), &mut *data)?;
    let header = Header { cipher: place.cipher, term: place.term, seq: place.seq, nonce, tag };
    Ok([header.to_bytes().as_slice(), &*data].concat())
}

/// Opens a stored record in place; `None` when it is not genuine.
pub fn open(
    key: &Key,
    subject: &Subject<'_>,
    mut stored: Vec<u8>,
) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let Some((header, _)) = Header::parse(&stored) else { return Ok(None) };
    let associated = associated(subject, header.place());
    let opened = key.attempt(|key| {
        let data = stored.get_mut(HEADER_BYTES..).ok_or(Forged)?;
        header.cipher.decrypt(key, &header.nonce, &associated, data, &header.tag)
    })?;
    if opened.is_err() {
        return Ok(None);
    }
    let mut plain = Zeroizing::new(stored);
    plain.drain(..HEADER_BYTES);
    Ok(Some(plain))
}

/// Opens a stored record into a buffer of just its length, for key material that must not pass through the heap.
/// False when it is not genuine; call it on an arena stack.
pub fn open_into(key: &[u8], subject: &Subject<'_>, stored: &[u8], out: &mut [u8]) -> bool {
    let Some((header, data)) = Header::parse(stored) else { return false };
    if data.len() != out.len() {
        return false;
    }
    out.copy_from_slice(data);
    let genuine = header
        .cipher
        .decrypt(key, &header.nonce, &associated(subject, header.place()), out, &header.tag)
        .is_ok();
    if !genuine {
        out.fill(0);
    }
    genuine
}
