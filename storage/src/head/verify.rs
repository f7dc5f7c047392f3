//! Verification at unseal: every record there is, counted and summed, against the head.

use super::tally::{Tally, terms};
use super::{Head, PartitionId, boot, index_parts};
use crate::barrier::{Header, Label, Subject};
use crate::keyring::Keyring;
use crate::limits::{MAX_PARTITIONS, VERIFY_BATCH, VERIFY_BATCH_BYTES};
use crate::physical::{Key as StorageKey, Physical, Record, Snapshot};
use crate::store::committer::state::Part;
use crate::store::request::partition_of;
use crate::store::shared::open_with;
use crate::{Error, Space};
use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// Where records are read from, in the order of their keys.
#[async_trait]
pub trait Scan: Send + Sync {
    /// As [`Physical::scan`].
    async fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(StorageKey, Record)>, Error>;
}

macro_rules! scans {
    ($($of:ty),*) => { $(
        #[async_trait]
        impl Scan for Arc<$of> {
            async fn scan(
                &self,
                prefix: &[u8],
                after: Option<&[u8]>,
                limit: usize,
            ) -> Result<Vec<(StorageKey, Record)>, Error> {
                Ok((**self).scan(prefix, after, limit).await?)
            }
        }
    )* };
}
scans!(dyn Physical, dyn Snapshot);

/// One record's value.
pub async fn find(source: &dyn Scan, key: &StorageKey) -> Result<Option<Vec<u8>>, Error> {
    let first = source.scan(key.as_bytes(), None, 1).await?.into_iter().next();
    Ok(first.filter(|(found, _)| found == key).map(|(_, record)| record.value))
}

/// What is checked, and with which keys.
pub struct Verify<'a> {
    pub source: &'a dyn Scan,
    pub store_id: Uuid,
    pub keyring: &'a Keyring,
    pub head: &'a Head,
}

type Partitions = HashMap<PartitionId, Part>;

impl Verify<'_> {
    /// Reads the whole store. Returns the partitions as the head has them; an `Integrity` error names the first that
    /// holds anything else: a record missing, added, swapped or of another time.
    pub async fn run(&self) -> Result<Partitions, Error> {
        let partitions = self.index().await?;
        let mut found: HashMap<PartitionId, Tally> = HashMap::new();
        let known = [boot::config(), boot::root(), boot::keyring(), boot::head()];
        let mut pages = Pages::new(self.source, Vec::new());
        while let Some(page) = pages.next().await? {
            let mut records = Vec::with_capacity(page.len());
            for (key, record) in &page {
                match partition_of(key) {
                    Some(id) if partitions.contains_key(&id) => {
                        let header = header(&record.value, || partition_error(&partitions, &id))?;
                        records.push((id, key, header));
                    }
                    Some(_) => return Err(Error::Integrity("a record belongs to no known partition".into())),
                    None if known.contains(key) => {}
                    None if is_index(key, &partitions) => {}
                    None => return Err(Error::Integrity("there is a record that no vault writes".into())),
                }
            }
            let pairs: Vec<(&StorageKey, &Header)> =
                records.iter().map(|(_, key, header)| (*key, header)).collect();
            for ((id, ..), term) in records.iter().zip(terms(&self.keyring.index, &pairs)?) {
                found.entry(*id).or_default().add(term);
            }
        }
        for (id, part) in &partitions {
            if found.get(id).copied().unwrap_or_default() != part.tally {
                return Err(partition_error(&partitions, id));
            }
        }
        Ok(partitions)
    }

    /// The index records, against the head.
    async fn index(&self) -> Result<Partitions, Error> {
        let wrong = || Error::Integrity("the index of partitions is not what was written".into());
        let (mut partitions, mut tally) = (Partitions::new(), Tally::default());
        let mut pages = Pages::new(self.source, StorageKey::root().join(b"index").as_bytes().to_vec());
        while let Some(page) = pages.next().await? {
            for (key, record) in page {
                let id: PartitionId =
                    key.segments().nth(1).and_then(|s| s.try_into().ok()).ok_or_else(wrong)?;
                if key != boot::index(&id) || partitions.len() >= MAX_PARTITIONS {
                    return Err(wrong());
                }
                let header = header(&record.value, wrong)?;
                let subject =
                    Subject { store: self.store_id, label: Label::Index, space: Space::core(), path: &id };
                let (plain, _) = open_with(self.keyring, &subject, record.value).map_err(|e| match e {
                    Error::Integrity(_) => wrong(),
                    e => e,
                })?;
                let (space, of_partition) = index_parts(&plain).ok_or_else(wrong)?;
                for term in terms(&self.keyring.index, &[(&key, &header)])? {
                    tally.add(term);
                }
                partitions.insert(id, Part { space, tally: of_partition, index: Some(header) });
            }
        }
        if tally == self.head.index { Ok(partitions) } else { Err(wrong()) }
    }
}

fn is_index(key: &StorageKey, partitions: &Partitions) -> bool {
    let id: Option<PartitionId> = key.segments().nth(1).and_then(|s| s.try_into().ok());
    id.is_some_and(|id| partitions.contains_key(&id) && *key == boot::index(&id))
}

fn header(stored: &[u8], wrong: impl Fn() -> Error) -> Result<Header, Error> {
    Header::parse(stored).map(|(header, _)| header).ok_or_else(wrong)
}

fn partition_error(partitions: &Partitions, id: &PartitionId) -> Error {
    let name = partitions.get(id).map_or_else(|| "a partition".to_owned(), |part| part.space.to_string());
    Error::Integrity(format!("the records of {name} are not what was written"))
}

/// A scan in pages whose size follows the size of the records.
struct Pages<'a> {
    source: &'a dyn Scan,
    prefix: Vec<u8>,
    after: Option<Vec<u8>>,
    limit: usize,
    done: bool,
}

impl<'a> Pages<'a> {
    fn new(source: &'a dyn Scan, prefix: Vec<u8>) -> Pages<'a> {
        Pages { source, prefix, after: None, limit: *VERIFY_BATCH.start(), done: false }
    }

    async fn next(&mut self) -> Result<Option<Vec<(StorageKey, Record)>>, Error> {
        if self.done {
            return Ok(None);
        }
        let page = self.source.scan(&self.prefix, self.after.as_deref(), self.limit).await?;
        let Some((last, _)) = page.last() else {
            self.done = true;
            return Ok(None);
        };
        self.after = Some(last.as_bytes().to_vec());
        let bytes: usize = page.iter().map(|(key, record)| key.as_bytes().len() + record.value.len()).sum();
        let average = (bytes / page.len()).max(1);
        self.limit = (VERIFY_BATCH_BYTES / average).clamp(*VERIFY_BATCH.start(), *VERIFY_BATCH.end());
        Ok(Some(page))
    }
}
