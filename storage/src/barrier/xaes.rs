//! XAES-256-GCM (C2SP): a 256-bit key and 192 random bits of nonce, over AES-256-GCM.
//!
//! <https://c2sp.org/XAES-256-GCM>: the first 12 bytes of the nonce select a derived key (CMAC in counter mode,
//! NIST SP 800-108), the last 12 are the nonce under it.

use super::{Forged, KEY_BYTES, NONCE_BYTES, TAG_BYTES};
use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::AeadInOut;
use secmem::Zeroizing;

const BLOCK: usize = 16;

/// Encrypts `data` in place and returns its tag.
pub fn seal(
    key: &[u8; KEY_BYTES],
    nonce: &[u8; NONCE_BYTES],
    ad: &[u8],
    data: &mut [u8],
) -> Result<[u8; TAG_BYTES], Forged> {
    let (derived, nonce) = derive(key, nonce);
    let cipher = Aes256Gcm::new((&*derived).into());
    let tag = cipher.encrypt_inout_detached(&nonce.into(), ad, data.into()).map_err(|_| Forged)?;
    Ok(tag.into())
}

/// Decrypts `data` in place; leaves it as it was when it is not genuine.
pub fn open(
    key: &[u8; KEY_BYTES],
    nonce: &[u8; NONCE_BYTES],
    ad: &[u8],
    data: &mut [u8],
    tag: &[u8; TAG_BYTES],
) -> Result<(), Forged> {
    let (derived, nonce) = derive(key, nonce);
    let cipher = Aes256Gcm::new((&*derived).into());
    cipher.decrypt_inout_detached(&nonce.into(), ad, data.into(), tag.into()).map_err(|_| Forged)
}

/// The key that the first half of the nonce selects, and the second half.
fn derive(key: &[u8; KEY_BYTES], nonce: &[u8; NONCE_BYTES]) -> (Zeroizing<[u8; KEY_BYTES]>, [u8; 12]) {
    let cipher = Aes256::new(key.into());
    let encrypt = |block: [u8; BLOCK]| -> Zeroizing<[u8; BLOCK]> {
        let mut block = block.into();
        cipher.encrypt_block(&mut block);
        Zeroizing::new(block.into())
    };
    let subkey = double(&encrypt([0; BLOCK]));
    let mut derived = Zeroizing::new([0; KEY_BYTES]);
    for (counter, half) in (1u8..).zip(derived.chunks_exact_mut(BLOCK)) {
        // [counter, 16 bits big-endian] "X" 0x00 [nonce, first 12]: one whole block, so CMAC is one masked encryption.
        let head = [0, counter, b'X', 0];
        let mut block = [0; BLOCK];
        for (to, (from, mask)) in block.iter_mut().zip(head.iter().chain(nonce).zip(subkey.iter())) {
            *to = from ^ mask;
        }
        half.copy_from_slice(&*encrypt(block));
    }
    let mut rest = [0; 12];
    for (to, from) in rest.iter_mut().zip(nonce.iter().skip(12)) {
        *to = *from;
    }
    (derived, rest)
}

/// Doubling in GF(2^128) as CMAC has it, without a branch on the secret bit.
fn double(block: &[u8; BLOCK]) -> Zeroizing<[u8; BLOCK]> {
    let wide = u128::from_be_bytes(*block);
    let carry = (wide >> 127).wrapping_neg();
    Zeroizing::new(((wide << 1) ^ (carry & 0x87)).to_be_bytes())
}
