//! Judging the transactions of one round, in order, against the store and against each other.

use super::key::split;
use super::{Key, MAX_TXN_BYTES, MAX_TXN_OPS, Op, Outcome, Result, Seq, Txn};
use crate::limits::MAX_KEY_BYTES;
use std::collections::HashMap;

/// What a round leaves at each key it touched: the value, or `None` for deleted.
pub(crate) struct Round<'a> {
    seq: Seq,
    finals: HashMap<&'a Key, Option<&'a [u8]>>,
}

impl<'a> Round<'a> {
    /// `seq`: the sequence this round takes if anything in it is written.
    pub(crate) fn new(seq: Seq) -> Self {
        Round { seq, finals: HashMap::new() }
    }

    /// Accepts or refuses one transaction; an accepted one counts for those after it.
    /// `revision` looks a key up in the store as it was before the round.
    pub(crate) fn judge(
        &mut self,
        txn: &'a Txn,
        revision: impl Fn(&Key) -> Result<Option<Seq>>,
    ) -> Result<Outcome> {
        if too_large(txn) {
            return Ok(Outcome::TooLarge);
        }
        for (index, (key, want)) in txn.expect.iter().enumerate() {
            let have = match self.finals.get(key) {
                Some(value) => value.map(|_| self.seq),
                None => revision(key)?,
            };
            if have != *want {
                return Ok(Outcome::Conflict { index });
            }
        }
        for op in &txn.ops {
            match op {
                Op::Put { key, value } => self.finals.insert(key, Some(value)),
                Op::Delete { key } => self.finals.insert(key, None),
            };
        }
        Ok(Outcome::Applied { seq: self.seq })
    }

    /// Each touched key once, with its last value.
    pub(crate) fn finals(&self) -> impl ExactSizeIterator<Item = (&'a Key, Option<&'a [u8]>)> + '_ {
        self.finals.iter().map(|(k, v)| (*k, *v))
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.finals.keys().map(|k| (*k).clone()).collect()
    }
}

/// Whether the transaction writes anything that must become durable.
pub(crate) fn writes(txn: &Txn) -> bool {
    !txn.ops.is_empty() || txn.rider.is_some()
}

/// Bytes of keys and values, without the rider.
pub(crate) fn op_bytes(txn: &Txn) -> usize {
    let ops = txn.ops.iter().map(|op| match op {
        Op::Put { key, value } => key.as_bytes().len() + value.len(),
        Op::Delete { key } => key.as_bytes().len(),
    });
    ops.sum()
}

/// Past the limits of every backend.
pub(crate) fn too_large(txn: &Txn) -> bool {
    // A malformed key counts as one no store can hold: written once, it would break every
    // listing of its folder.
    let bad_key = |op: &Op| {
        let (Op::Put { key, .. } | Op::Delete { key }) = op;
        key.as_bytes().len() > MAX_KEY_BYTES || !well_formed(key)
    };
    txn.ops.len() > MAX_TXN_OPS
        || op_bytes(txn) > MAX_TXN_BYTES
        || txn.rider.as_ref().is_some_and(|r| r.len() > MAX_TXN_BYTES)
        || txn.ops.iter().any(bad_key)
}

fn well_formed(key: &Key) -> bool {
    let mut rest = key.as_bytes();
    while !rest.is_empty() {
        match split(rest) {
            Some((_, r)) => rest = r,
            None => return false,
        }
    }
    true
}
