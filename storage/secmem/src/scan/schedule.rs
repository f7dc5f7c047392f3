//! Finding expanded AES keys (FIPS 197 section 5.2) without knowing the key: each word of a schedule follows from
//! earlier ones.

const SBOX: [u8; 256] = sbox();
/// Bytes of an AES-256 schedule: 15 round keys.
pub(super) const LONGEST: usize = 240;
const AES_128: usize = 176;
const ZERO: [u8; 4096] = [0; 4096];

/// Offsets of schedules that end after the first `seen` of `bytes`, which lie at `address`. Schedules are arrays of words:
/// only addresses that are multiples of 4 are looked at.
pub(super) fn search(bytes: &[u8], address: u64, seen: usize) -> Vec<usize> {
    let mut found = Vec::new();
    let start = address + seen.saturating_sub(LONGEST - 1) as u64;
    let mut at = usize::try_from(start.next_multiple_of(4) - address).unwrap_or(usize::MAX);
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= AES_128) {
        if rest.get(..ZERO.len()) == Some(&ZERO) {
            // No schedule lies inside zeroes; one may start with a few.
            at += ZERO.len() - LONGEST;
            continue;
        }
        if is_new(rest, at, seen, 4, AES_128) || is_new(rest, at, seen, 8, LONGEST) {
            found.push(at);
        }
        at += 4;
    }
    found
}

fn is_new(rest: &[u8], at: usize, seen: usize, key_words: usize, len: usize) -> bool {
    at + len > seen && rest.get(..len).is_some_and(|schedule| is_schedule(schedule, key_words))
}

/// Whether every word after the first `key_words` is what the key expansion makes it.
fn is_schedule(bytes: &[u8], key_words: usize) -> bool {
    let (words, _) = bytes.as_chunks::<4>();
    let mut round_constant = 1_u8;
    for i in key_words..words.len() {
        let (Some(&word), Some(&before), Some(&earlier)) =
            (words.get(i), words.get(i - 1), words.get(i - key_words))
        else {
            return false;
        };
        let mut mixed = before;
        if i.is_multiple_of(key_words) {
            mixed.rotate_left(1);
            mixed = mixed.map(substitute);
            mixed[0] ^= round_constant;
            round_constant = double(round_constant);
        } else if key_words == 8 && i % 8 == 4 {
            mixed = mixed.map(substitute);
        }
        if (0..4).any(|b| word[b] != mixed[b] ^ earlier[b]) {
            return false;
        }
    }
    true
}

fn substitute(byte: u8) -> u8 {
    SBOX[usize::from(byte)]
}

/// Times x in GF(2^8) modulo 0x11b.
const fn double(a: u8) -> u8 {
    (a << 1) ^ (if a & 0x80 != 0 { 0x1b } else { 0 })
}

/// The S-box, by walking through the field with the generator 3 and its inverse at once.
const fn sbox() -> [u8; 256] {
    let mut table = [0; 256];
    let (mut p, mut q) = (1_u8, 1_u8);
    loop {
        p ^= double(p);
        q ^= q << 1;
        q ^= q << 2;
        q ^= q << 4;
        if q & 0x80 != 0 {
            q ^= 0x09;
        }
        table[p as usize] =
            q ^ q.rotate_left(1) ^ q.rotate_left(2) ^ q.rotate_left(3) ^ q.rotate_left(4) ^ 0x63;
        if p == 1 {
            break;
        }
    }
    table[0] = 0x63;
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sbox_is_that_of_the_standard() {
        assert_eq!((SBOX[0], SBOX[1], SBOX[0x53], SBOX[0xff]), (0x63, 0x7c, 0xed, 0x16));
    }

    /// FIPS 197 appendix A.1: the first and last round key of its AES-128 example.
    #[test]
    fn recognises_the_standard_example() {
        let key =
            [0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c];
        let mut schedule = key.to_vec();
        let mut constant = 1_u8;
        for i in 4..44 {
            let mut word = [0; 4];
            word.copy_from_slice(&schedule[4 * i - 4..4 * i]);
            if i % 4 == 0 {
                word.rotate_left(1);
                word = word.map(substitute);
                word[0] ^= constant;
                constant = double(constant);
            }
            for b in 0..4 {
                schedule.push(word[b] ^ schedule[4 * i - 16 + b]);
            }
        }
        assert_eq!(
            schedule[160..],
            [0xd0, 0x14, 0xf9, 0xa8, 0xc9, 0xee, 0x25, 0x89, 0xe1, 0x3f, 0x0c, 0xc8, 0xb6, 0x63, 0x0c, 0xa6]
        );
        let mut memory = vec![0x11; 64];
        memory.extend_from_slice(&schedule);
        memory.extend_from_slice(&[0x22; 300]);
        assert_eq!(search(&memory, 0x1000, 0), [64]);
        assert_eq!(search(&memory[3..], 0x1003, 0), [61], "aligned by address, not by offset");
        assert_eq!(search(&memory, 0x1000, 64 + 176), [0_usize; 0], "already seen");
        memory[64 + 175] ^= 1;
        assert_eq!(search(&memory, 0x1000, 0), [0_usize; 0]);
    }
}
