//! One segment: padding and AES-SIV.

use crate::Space;
use crate::physical::key::MAX_SEGMENT;
use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;

const TAG_BYTES: usize = 16;
const LENGTH_BYTES: usize = 2;
/// Sizes that a padded segment may have, its length field included: what a stolen disk shows of a name's length.
const CLASSES: [usize; 8] = [16, 32, 64, 128, 256, 512, 1024, MAX_SEGMENT - TAG_BYTES];
/// Longest plaintext segment.
pub const MAX_NAME_BYTES: usize = MAX_SEGMENT - TAG_BYTES - LENGTH_BYTES;

/// The cipher with its key set up once; to be used on an arena stack.
pub struct Siv(Aes256Siv);

impl Siv {
    /// `None` when the key does not have 64 bytes.
    pub fn new(key: &[u8]) -> Option<Siv> {
        let key: &[u8; 64] = key.try_into().ok()?;
        Some(Siv(Aes256Siv::new(key.into())))
    }

    /// Tag, then ciphertext; `None` when the name is too long.
    pub fn seal(&mut self, space: Space, folder: &[u8], name: &[u8]) -> Option<Vec<u8>> {
        let class = *CLASSES.iter().find(|class| LENGTH_BYTES + name.len() <= **class)?;
        let length = u16::try_from(name.len()).ok()?;
        let mut out = Vec::with_capacity(TAG_BYTES + class);
        out.resize(TAG_BYTES, 0);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(name);
        out.resize(TAG_BYTES + class, 0);
        let (head, padded) = out.split_at_mut_checked(TAG_BYTES)?;
        let space = space.to_bytes();
        let tag = self.0.encrypt_inout_detached([space.as_slice(), folder], padded.into()).ok()?;
        head.copy_from_slice(&tag);
        Some(out)
    }

    /// The name of a sealed segment; `None` when it is not one of this folder.
    pub fn open(&mut self, space: Space, folder: &[u8], sealed: &[u8]) -> Option<String> {
        let (tag, data) = sealed.split_first_chunk::<TAG_BYTES>()?;
        if !CLASSES.contains(&data.len()) {
            return None;
        }
        let mut data = data.to_vec();
        let space = space.to_bytes();
        let headers = [space.as_slice(), folder];
        self.0.decrypt_inout_detached(headers, data.as_mut_slice().into(), tag.into()).ok()?;
        let (length, padded) = data.split_first_chunk::<LENGTH_BYTES>()?;
        let (name, padding) = padded.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        if name.is_empty() || padding.iter().any(|b| *b != 0) {
            return None;
        }
        String::from_utf8(name.to_vec()).ok()
    }
}
