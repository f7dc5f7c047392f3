//! A PNG encoder for black and white squares (RFC 2083): one bit a pixel, stored deflate blocks.

/// Largest stored deflate block (RFC 1951, 3.2.4).
const STORED_BLOCK: usize = 65_535;

/// CRC-32 (ISO 3309) over a chunk's type and data.
fn crc(parts: [&[u8]; 2]) -> u32 {
    let mut c = u32::MAX;
    for b in parts.into_iter().flatten() {
        c ^= u32::from(*b);
        for _ in 0..8 {
            c = if c & 1 == 1 { 0xEDB8_8320 ^ (c >> 1) } else { c >> 1 };
        }
    }
    !c
}

/// Adler-32 (RFC 1950).
fn adler(data: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    for byte in data {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    (b << 16) | a
}

fn chunk(out: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    out.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(kind);
    out.extend(data);
    out.extend(crc([kind, data]).to_be_bytes());
}

/// A square of `side` pixels; `white(x, y)` says which ones are not black.
pub(super) fn encode(side: usize, white: impl Fn(usize, usize) -> bool) -> Vec<u8> {
    let mut rows = Vec::with_capacity(side * (side / 8 + 2));
    for y in 0..side {
        rows.push(0); // no filter
        for x8 in 0..side.div_ceil(8) {
            let byte = (0..8).fold(0u8, |byte, bit| {
                let x = x8 * 8 + bit;
                (byte << 1) | u8::from(x < side && white(x, y))
            });
            rows.push(byte);
        }
    }

    let mut z = vec![0x78, 0x01];
    let mut blocks = rows.chunks(STORED_BLOCK).peekable();
    while let Some(block) = blocks.next() {
        let n = u16::try_from(block.len()).unwrap_or(u16::MAX);
        z.push(u8::from(blocks.peek().is_none()));
        z.extend(n.to_le_bytes());
        z.extend((!n).to_le_bytes());
        z.extend(block);
    }
    z.extend(adler(&rows).to_be_bytes());

    let side = u32::try_from(side).unwrap_or(u32::MAX).to_be_bytes();
    let mut header = Vec::with_capacity(13);
    header.extend(side);
    header.extend(side);
    header.extend([1, 0, 0, 0, 0]); // one bit, greyscale, deflate, no interlace
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut out, b"IHDR", &header);
    chunk(&mut out, b"IDAT", &z);
    chunk(&mut out, b"IEND", &[]);
    out
}

/// Reads back what `encode` wrote, checking every length and sum: `(side, pixels, white = true)`.
#[cfg(test)]
pub(super) fn decode(png: &[u8]) -> (usize, Vec<bool>) {
    let mut rest = png.strip_prefix(b"\x89PNG\r\n\x1a\n").unwrap();
    let (mut side, mut z) = (0, Vec::new());
    let number = |b: &[u8]| u32::from_be_bytes(b.try_into().unwrap());
    while !rest.is_empty() {
        let n = number(&rest[..4]) as usize;
        let (kind, data, sum) = (&rest[4..8], &rest[8..8 + n], &rest[8 + n..12 + n]);
        assert_eq!(crc([kind, data]), number(sum));
        match kind {
            b"IHDR" => {
                side = number(&data[..4]) as usize;
                assert_eq!(data[..4], data[4..8]);
                assert_eq!(data[8..], [1, 0, 0, 0, 0]);
            }
            b"IDAT" => z = data.to_vec(),
            b"IEND" => assert!(n == 0 && rest.len() == 12),
            _ => panic!("chunk"),
        }
        rest = &rest[12 + n..];
    }
    assert_eq!((u16::from(z[0]) * 256 + u16::from(z[1])) % 31, 0);
    let (mut body, mut rows, mut last) = (&z[2..z.len() - 4], Vec::new(), false);
    while !last {
        last = body[0] == 1;
        let n = u16::from_le_bytes([body[1], body[2]]);
        assert_eq!(!n, u16::from_le_bytes([body[3], body[4]]));
        rows.extend(&body[5..5 + usize::from(n)]);
        body = &body[5 + usize::from(n)..];
    }
    assert!(body.is_empty());
    assert_eq!(adler(&rows), number(&z[z.len() - 4..]));
    let width = side.div_ceil(8) + 1;
    assert_eq!(rows.len(), side * width);
    let pixel = |x: usize, y: usize| rows[y * width + 1 + x / 8] >> (7 - x % 8) & 1 == 1;
    (side, (0..side * side).map(|i| pixel(i % side, i / side)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_as_published() {
        assert_eq!(crc([b"1234", b"56789"]), 0xCBF4_3926);
        assert_eq!(adler(b"Wikipedia"), 0x11E6_0398);
        // Every PNG ends in this chunk.
        assert!(encode(1, |_, _| true).ends_with(b"\0\0\0\0IEND\xAE\x42\x60\x82"));
    }

    #[test]
    fn pixels_come_back() {
        for side in [1, 7, 8, 9, 200, 1024] {
            let white = |x: usize, y: usize| (x * 31 + y * 17) % 5 < 2;
            let (n, pixels) = decode(&encode(side, white));
            assert_eq!(n, side);
            assert!(pixels.iter().enumerate().all(|(i, p)| *p == white(i % side, i / side)));
        }
    }
}
