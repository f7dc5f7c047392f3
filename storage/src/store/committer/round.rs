//! One round: transactions judged in order, sealed, and packed into as few physical transactions as hold them.

use super::state::{Part, State};
use crate::barrier::{Header, Label, NONCE_BYTES, Place, Sealing, Subject, seal_all};
use crate::head::tally::terms;
use crate::head::{Head, PartitionId, boot, digest, index_plain};
use crate::keyring::Keyring;
use crate::limits::MAX_WRITE_BYTES;
use crate::physical::{Key as StorageKey, MAX_TXN_OPS, Op, Txn};
use crate::store::request::{Batch, Write, partition_of};
use crate::store::shared::Shared;
use crate::{CommitError, Error, Space};
use secmem::{Zeroizing, random};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// What becomes one physical transaction: several callers' transactions, by their place in the round.
#[derive(Default)]
struct Chunk {
    batches: Vec<usize>,
    keys: HashSet<StorageKey>,
    partitions: HashSet<PartitionId>,
    bytes: usize,
}

impl Chunk {
    fn has_room(&self, batch: &Batch, bytes: usize) -> bool {
        let fresh = batch.writes.iter().filter(|(key, _)| !self.keys.contains(key)).count();
        let mut partitions: HashSet<PartitionId> =
            batch.writes.iter().filter_map(|(key, _)| partition_of(key)).collect();
        partitions.extend(&self.partitions);
        self.keys.len() + fresh + partitions.len() < MAX_TXN_OPS && self.bytes + bytes <= MAX_WRITE_BYTES
    }

    fn take(&mut self, at: usize, batch: &Batch, bytes: usize) {
        self.batches.push(at);
        self.bytes += bytes;
        for (key, _) in &batch.writes {
            self.partitions.extend(partition_of(key));
            self.keys.insert(key.clone());
        }
    }
}

/// A record that is about to change: where, what stands there, what will.
struct Edit {
    key: StorageKey,
    partition: PartitionId,
    old: Option<Header>,
    new: Option<Header>,
}

/// A round being built. Nothing of it is in force before its transactions are applied.
pub struct Round<'a> {
    shared: &'a Shared,
    keyring: &'a Keyring,
    seq: u64,
    /// Headers of records as they will be, and as they are when only looked at.
    headers: HashMap<StorageKey, Option<Header>>,
    written: HashSet<StorageKey>,
    batches: Vec<Batch>,
    chunks: Vec<Chunk>,
}

/// A sealed round: what to apply, and the state once it is.
pub struct Sealed {
    pub txns: Vec<Txn>,
    pub head: Head,
    pub digest: [u8; 32],
    /// Changed partitions; those left empty are to be forgotten.
    pub partitions: HashMap<PartitionId, Part>,
}

impl<'a> Round<'a> {
    pub fn new(shared: &'a Shared, keyring: &'a Keyring, seq: u64) -> Round<'a> {
        let (headers, written) = (HashMap::new(), HashSet::new());
        Round { shared, keyring, seq, headers, written, batches: Vec::new(), chunks: Vec::new() }
    }

    /// Nothing in it is to be written.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The accepted transactions that write, in order, to be tried again.
    pub fn into_batches(self) -> Vec<Batch> {
        self.batches
    }

    /// Judges a transaction against the store and those accepted before it; an accepted one is in.
    pub async fn add(&mut self, batch: Batch) -> Result<(), CommitError> {
        if !batch.fits() {
            return Err(CommitError::TooLarge);
        }
        for (key, revision) in &batch.reads {
            // Whoever read before this round cannot have seen what it writes.
            if self.written.contains(key) || self.header(key).await?.map(|h| h.seq) != *revision {
                return Err(CommitError::Conflict);
            }
        }
        for (key, write) in &batch.writes {
            self.keyring.current(write.space.namespace)?;
            self.header(key).await?;
        }
        if batch.writes.is_empty() && batch.riders.is_empty() {
            return Ok(());
        }
        self.written.extend(batch.writes.iter().map(|(key, _)| key.clone()));
        let (bytes, at) = (batch.bytes(), self.batches.len());
        match self.chunks.last_mut() {
            Some(chunk) if chunk.has_room(&batch, bytes) => chunk.take(at, &batch, bytes),
            _ => {
                let mut chunk = Chunk::default();
                chunk.take(at, &batch, bytes);
                self.chunks.push(chunk);
            }
        }
        self.batches.push(batch);
        Ok(())
    }

    /// The header of what stands at `key` before the chunk now being built.
    async fn header(&mut self, key: &StorageKey) -> Result<Option<Header>, Error> {
        if let Some(known) = self.headers.get(key) {
            return Ok(*known);
        }
        let stored = self.shared.physical.get(key).await?;
        let header = match &stored {
            Some(record) => Some(parse(&record.value)?),
            None => None,
        };
        self.headers.insert(key.clone(), header);
        Ok(header)
    }

    /// Seals every chunk, each with the head as it is after it.
    pub fn seal(&mut self, state: &State) -> Result<Sealed, Error> {
        let mut sealed = Sealed {
            txns: Vec::new(),
            head: Head { seq: self.seq, ..state.head.clone() },
            digest: state.digest,
            partitions: HashMap::new(),
        };
        for chunk in std::mem::take(&mut self.chunks) {
            let txn = self.seal_chunk(chunk, state, &mut sealed)?;
            sealed.txns.push(txn);
        }
        Ok(sealed)
    }

    fn seal_chunk(&mut self, chunk: Chunk, state: &State, sealed: &mut Sealed) -> Result<Txn, Error> {
        let mut txn = Txn::default();
        let (edits, ops) = self.seal_writes(&chunk, &mut sealed.partitions, state)?;
        sealed.head.term_writes += ops.iter().filter(|op| matches!(op, Op::Put { .. })).count() as u64;
        txn.ops = ops;
        self.count(&edits, &mut sealed.partitions)?;
        for edit in edits {
            self.headers.insert(edit.key, edit.new);
        }
        self.seal_index(&chunk.partitions, sealed, &mut txn)?;
        txn.rider = self.seal_riders(&chunk)?;
        let (head, digest) = seal_head(self.keyring, self.shared.store_id, &sealed.head)?;
        txn.ops.push(Op::Put { key: boot::head(), value: head });
        sealed.digest = digest;
        Ok(txn)
    }

    /// Seals the values, and says what changes at each key.
    fn seal_writes(
        &self,
        chunk: &Chunk,
        partitions: &mut HashMap<PartitionId, Part>,
        state: &State,
    ) -> Result<(Vec<Edit>, Vec<Op>), Error> {
        let writes = self.last_writes(chunk)?;
        let mut edits = Vec::with_capacity(writes.len());
        let mut ops = Vec::with_capacity(writes.len() + 2);
        let mut by_namespace: HashMap<Uuid, (Vec<usize>, Vec<Sealing>)> = HashMap::new();
        for (key, write) in writes {
            let partition =
                partition_of(key).ok_or(Error::Bookkeeping("a write lies outside any partition"))?;
            partitions.entry(partition).or_insert_with(|| known_part(state, &partition, write.space));
            let looked_up = self.headers.get(key).copied();
            let old = looked_up.ok_or(Error::Bookkeeping("a record is written that was not looked at"))?;
            if let Some(value) = &write.value {
                let namespace = write.space.namespace;
                let place = self.place(namespace)?;
                let title = &write.title;
                let subject = self.subject(title.label(), write.space, title.path());
                let (at, items) = by_namespace.entry(namespace).or_default();
                at.push(edits.len());
                items.push(Sealing::new(place, nonce()?, &subject, value));
            } else if old.is_some() {
                ops.push(Op::Delete { key: key.clone() });
            }
            edits.push(Edit { key: key.clone(), partition, old, new: None });
        }
        for (namespace, (at, items)) in by_namespace {
            let sealed = seal_all(&self.keyring.current(namespace)?.key, items)?;
            for (at, (header, value)) in pairs(at, sealed)? {
                let edit =
                    edits.get_mut(at).ok_or(Error::Bookkeeping("a sealed value belongs to no write"))?;
                edit.new = Some(header);
                ops.push(Op::Put { key: edit.key.clone(), value });
            }
        }
        Ok((edits, ops))
    }

    /// Brings the tallies of the partitions up to date.
    fn count(&self, edits: &[Edit], partitions: &mut HashMap<PartitionId, Part>) -> Result<(), Error> {
        let mut of = Vec::new();
        for edit in edits {
            of.extend(edit.old.iter().map(|h| (edit, h, false)));
            of.extend(edit.new.iter().map(|h| (edit, h, true)));
        }
        let records: Vec<(&StorageKey, &Header)> =
            of.iter().map(|(edit, header, _)| (&edit.key, *header)).collect();
        let terms = terms(&self.keyring.index, &records)?;
        for ((edit, _, added), term) in pairs(of, terms)? {
            let part = partitions.get_mut(&edit.partition).ok_or(UNCOUNTED)?;
            if added { part.tally.add(term) } else { part.tally.remove(term) }
        }
        Ok(())
    }

    /// Writes the index records of the touched partitions and brings the head's tally of them up to date.
    fn seal_index(
        &self,
        touched: &HashSet<PartitionId>,
        sealed: &mut Sealed,
        txn: &mut Txn,
    ) -> Result<(), Error> {
        let (mut live, mut items, mut removed) = (Vec::new(), Vec::new(), Vec::new());
        for id in touched {
            let part = sealed.partitions.get_mut(id).ok_or(UNCOUNTED)?;
            let key = boot::index(id);
            removed.extend(part.index.take().map(|old| (key.clone(), old)));
            if part.tally.is_empty() {
                txn.ops.push(Op::Delete { key });
                continue;
            }
            let subject = self.subject(Label::Index, Space::core(), id);
            let plain = index_plain(part.space, part.tally);
            items.push(Sealing::new(self.place(Uuid::nil())?, nonce()?, &subject, &plain));
            live.push((*id, key));
        }
        sealed.head.term_writes += items.len() as u64 + 1;
        let stored = seal_all(&self.keyring.current(Uuid::nil())?.key, items)?;
        let written = pairs(live, stored)?;
        let old = removed.iter().map(|(key, header)| (key, header, false));
        let new = written.iter().map(|((_, key), (header, _))| (key, header, true));
        let changed: Vec<(&StorageKey, &Header, bool)> = old.chain(new).collect();
        let records: Vec<(&StorageKey, &Header)> = changed.iter().map(|(k, h, _)| (*k, *h)).collect();
        for ((_, _, added), term) in pairs(changed, terms(&self.keyring.index, &records)?)? {
            if added { sealed.head.index.add(term) } else { sealed.head.index.remove(term) }
        }
        for ((id, key), (header, value)) in written {
            sealed.partitions.get_mut(&id).ok_or(UNCOUNTED)?.index = Some(header);
            txn.ops.push(Op::Put { key, value });
        }
        Ok(())
    }

    /// Each record that a chunk writes, once, with what the last of its transactions wants there.
    fn last_writes(&self, chunk: &Chunk) -> Result<HashMap<&StorageKey, &Write>, Error> {
        let batches = self.batches_of(chunk)?;
        Ok(batches
            .into_iter()
            .flat_map(|batch| batch.writes.iter().map(|(key, write)| (key, write)))
            .collect())
    }

    fn batches_of(&self, chunk: &Chunk) -> Result<Vec<&Batch>, Error> {
        let of = chunk.batches.iter().map(|at| self.batches.get(*at));
        of.collect::<Option<_>>().ok_or(Error::Bookkeeping("a planned write names no transaction"))
    }

    /// The riders of a chunk as one: length and sealed bytes of each.
    fn seal_riders(&self, chunk: &Chunk) -> Result<Option<Vec<u8>>, Error> {
        let batches = self.batches_of(chunk)?;
        let riders: Vec<&Zeroizing<Vec<u8>>> = batches.into_iter().flat_map(|batch| &batch.riders).collect();
        if riders.is_empty() {
            return Ok(None);
        }
        let subject = self.subject(Label::Rider, Space::core(), &[]);
        let mut items = Vec::with_capacity(riders.len());
        for rider in riders {
            items.push(Sealing::new(self.place(Uuid::nil())?, nonce()?, &subject, rider));
        }
        let mut out = Vec::new();
        for (_, stored) in seal_all(&self.keyring.current(Uuid::nil())?.key, items)? {
            out.extend_from_slice(&(stored.len() as u32).to_be_bytes());
            out.extend_from_slice(&stored);
        }
        Ok(Some(out))
    }

    fn place(&self, namespace: Uuid) -> Result<Place, Error> {
        Ok(Place { cipher: self.keyring.cipher, term: self.keyring.current(namespace)?.term, seq: self.seq })
    }

    fn subject<'s>(&self, label: Label, space: Space, path: &'s [u8]) -> Subject<'s> {
        Subject { store: self.shared.store_id, label, space, path }
    }
}

const UNCOUNTED: Error = Error::Bookkeeping("a write belongs to a partition that is not counted");

/// Each of `a` with its one of `b`. What is left over on either side would be dropped in silence by a plain `zip`.
fn pairs<A, B>(a: Vec<A>, b: Vec<B>) -> Result<Vec<(A, B)>, Error> {
    match a.len() == b.len() {
        true => Ok(a.into_iter().zip(b).collect()),
        false => Err(Error::Bookkeeping("a round was sealed in part")),
    }
}

fn known_part(state: &State, id: &PartitionId, space: Space) -> Part {
    let fresh = || Part { space, tally: Default::default(), index: None };
    state.partitions.get(id).cloned().unwrap_or_else(fresh)
}

fn parse(stored: &[u8]) -> Result<Header, Error> {
    let (header, _) =
        Header::parse(stored).ok_or_else(|| Error::Integrity("a stored record has no header".into()))?;
    Ok(header)
}

fn nonce() -> Result<[u8; NONCE_BYTES], Error> {
    Ok(random::array()?)
}

/// The head as stored, and its digest.
pub fn seal_head(keyring: &Keyring, store: Uuid, head: &Head) -> Result<(Vec<u8>, [u8; 32]), Error> {
    let term = keyring.current(Uuid::nil())?;
    let clear = head.clear();
    let subject = Subject { store, label: Label::Head, space: Space::core(), path: &clear };
    let place = Place { cipher: keyring.cipher, term: term.term, seq: head.seq };
    let (_, record) = crate::barrier::seal(&term.key, place, nonce()?, &subject, &head.plain())?;
    let stored = [clear.as_slice(), &record].concat();
    let digest = digest(&[&stored]);
    Ok((stored, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_over_is_no_pair() {
        assert_eq!(pairs(vec![1, 2], vec!['a', 'b']).unwrap(), [(1, 'a'), (2, 'b')]);
        for (a, b) in [(vec![1], vec![]), (vec![], vec!['a']), (vec![1, 2], vec!['a'])] {
            assert!(matches!(pairs(a, b), Err(Error::Bookkeeping(_))));
        }
    }
}
