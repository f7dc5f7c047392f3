//! Text on a terminal: what a server, or whoever wrote a secret, put into it gives the terminal no
//! orders and does not reorder what stands beside it.

use std::fmt::Write as _;
use std::io::{self, Write};
use zeroize::Zeroizing;

/// `text` with its control characters (but line breaks and tabs) and its marks of direction
/// written out as `\u{1b}`.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            c if c.is_control() || turns(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Marks that change the direction of text (Unicode Standard Annex 9).
fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A stream that people read.
pub struct Shown<W: Write>(pub W);

impl<W: Write> Write for Shown<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for chunk in bytes.utf8_chunks() {
            self.0.write_all(Zeroizing::new(printable(chunk.valid())).as_bytes())?;
            for byte in chunk.invalid() {
                write!(self.0, "\\x{byte:02x}")?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gives_a_terminal_orders() {
        let mut out = Vec::new();
        let mut shown = Shown(&mut out);
        shown.write_all("a\u{1b}[2Jb\r\tc\nd\u{9b}1m \u{202e}gro\u{2066} grün\u{7f}".as_bytes()).unwrap();
        shown.write_all(b"\xff\x1b").unwrap();
        shown.flush().unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "a\\u{1b}[2Jb\\u{d}\tc\nd\\u{9b}1m \\u{202e}gro\\u{2066} grün\\u{7f}\\xff\\u{1b}"
        );
    }
}
