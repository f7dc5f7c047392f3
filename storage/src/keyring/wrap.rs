//! Wrapping: the root key under the unseal key, the keyring file under the root key.

use super::{Keyring, encode};
use crate::barrier::{self, Cipher, KEY_BYTES, Label, Place, Subject, open_into, seal_key};
use crate::{Error, Space};
use secmem::{Key, Zeroizing, random};
use uuid::Uuid;

fn subject(store: Uuid, label: Label) -> Subject<'static> {
    let path: &[u8] = if label == Label::Root { b"seal/root" } else { b"seal/keyring" };
    Subject { store, label, space: Space::core(), path }
}

/// Wrapped keys stand outside history: their place in it is the boot digest of the head.
fn place(cipher: Cipher) -> Place {
    Place { cipher, term: 0, seq: 0 }
}

/// The root key as stored.
pub fn wrap_root(cipher: Cipher, store: Uuid, unseal: &Key, root: &Key) -> Result<Vec<u8>, Error> {
    let nonce = random::array()?;
    let subject = subject(store, Label::Root);
    // Both keys at once, on stacks inside the arena: the plaintext is never on the heap.
    let sealed =
        root.attempt(|root| unseal.attempt(|unseal| seal_key(unseal, place(cipher), nonce, &subject, root)))?;
    sealed?.map_err(|_| Error::TooLarge("root key"))
}

/// The root key again; `None` when this is not the key that wrapped it.
pub fn unwrap_root(store: Uuid, unseal: &Key, stored: &[u8]) -> Result<Option<Key>, Error> {
    let mut genuine = false;
    let root = unseal.derive(KEY_BYTES, |unseal, root| {
        genuine = open_into(unseal, &subject(store, Label::Root), stored, root);
    })?;
    Ok(genuine.then_some(root))
}

/// The keyring file as stored.
pub fn seal_file(store: Uuid, root: &Key, keyring: &Keyring) -> Result<Vec<u8>, Error> {
    let subject = subject(store, Label::Keyring);
    let plain = encode(keyring)?;
    Ok(barrier::seal(root, place(keyring.cipher), random::array()?, &subject, &plain)?.1)
}

/// The keyring file's plaintext; `None` when it is not genuine.
pub fn open_file(store: Uuid, root: &Key, stored: Vec<u8>) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    barrier::open(root, &subject(store, Label::Keyring), stored)
}
