//! One character in every way that answers spell it.

use crate::limits::{MAX_BACKSLASHES, MAX_ENTITY_DIGITS, MAX_NESTED_ESCAPES, MAX_READINGS, MAX_WIDE_ZEROS};

/// HTML's names of ASCII characters that keys may hold.
const NAMES: &[(&[u8], u8)] = &[
    (b"amp", b'&'),
    (b"AMP", b'&'),
    (b"lt", b'<'),
    (b"LT", b'<'),
    (b"gt", b'>'),
    (b"GT", b'>'),
    (b"quot", b'"'),
    (b"QUOT", b'"'),
    (b"apos", b'\''),
    (b"sol", b'/'),
    (b"bsol", b'\\'),
    (b"plus", b'+'),
    (b"equals", b'='),
    (b"lowbar", b'_'),
    (b"UnderBar", b'_'),
    (b"period", b'.'),
    (b"colon", b':'),
    (b"semi", b';'),
    (b"comma", b','),
    (b"num", b'#'),
    (b"dollar", b'$'),
    (b"percnt", b'%'),
    (b"ast", b'*'),
    (b"midast", b'*'),
    (b"excl", b'!'),
    (b"quest", b'?'),
    (b"commat", b'@'),
    (b"lpar", b'('),
    (b"rpar", b')'),
    (b"lsqb", b'['),
    (b"lbrack", b'['),
    (b"rsqb", b']'),
    (b"rbrack", b']'),
    (b"lcub", b'{'),
    (b"lbrace", b'{'),
    (b"rcub", b'}'),
    (b"rbrace", b'}'),
    (b"verbar", b'|'),
    (b"vert", b'|'),
    (b"VerticalLine", b'|'),
    (b"grave", b'`'),
    (b"DiacriticalGrave", b'`'),
    (b"Hat", b'^'),
];
/// Of these, browsers do not ask for the semicolon: the first 8.
const WITHOUT_SEMICOLON: usize = 8;

/// What the text at one place may mean: characters, each with the length of its spelling.
#[derive(Default)]
pub struct Readings {
    found: [(u8, usize); MAX_READINGS],
    count: usize,
    /// The text ends before it is clear.
    pub open: bool,
}

/// True when a spelling longer than one byte may begin with this one.
pub const fn begins_escape(byte: u8) -> bool {
    matches!(byte, 0 | b'%' | b'&' | b'\\')
}

impl Readings {
    /// Of what `text` begins with.
    pub fn of(text: &[u8]) -> Readings {
        let mut r = Readings::default();
        let Some(&first) = text.first() else {
            r.open = true;
            return r;
        };
        r.add(first, 1);
        match first {
            0 => r.wide(text),
            b'%' => r.percent(text),
            b'&' => r.entity(text),
            b'\\' => r.backslash(text),
            // In a form or a query.
            b'+' => r.add(b' ', 1),
            _ => {}
        }
        r
    }

    pub fn iter(&self) -> impl Iterator<Item = (u8, usize)> + '_ {
        self.found.iter().copied().take(self.count)
    }

    fn add(&mut self, byte: u8, len: usize) {
        if let Some(slot) = self.found.get_mut(self.count) {
            *slot = (byte, len);
            self.count += 1;
        }
    }

    /// UTF-16 and UTF-32: a character between zeros.
    fn wide(&mut self, text: &[u8]) {
        let zeros = text.iter().take(MAX_WIDE_ZEROS).take_while(|b| **b == 0).count();
        match text.get(zeros) {
            Some(0) => {}
            Some(&b) => self.add(b, zeros + 1),
            None => self.open = true,
        }
    }

    /// `%2f`, and `%252f` where the per cent sign was encoded again.
    fn percent(&mut self, text: &[u8]) {
        let mut at = 1;
        for _ in 0..=MAX_NESTED_ESCAPES {
            match number(text, at, 2) {
                Digits::Open => return self.open = true,
                Digits::None => return,
                Digits::Value(value) => {
                    at += 2;
                    self.add_ascii(value, at);
                    if value != u32::from(b'%') {
                        return;
                    }
                }
            }
        }
    }

    /// `\/`, `\"`, `\u002f`, `\x2f`, however often the backslash itself was escaped.
    fn backslash(&mut self, text: &[u8]) {
        let run = text.iter().take(MAX_BACKSLASHES).take_while(|b| **b == b'\\').count();
        for pair in [2, 4] {
            if run >= pair {
                self.add(b'\\', pair);
            }
        }
        let code = match text.get(run) {
            None => return self.open = true,
            Some(b'u') => number(text, run + 1, 4),
            Some(b'x') => number(text, run + 1, 2),
            Some(&b) => {
                if b.is_ascii_punctuation() && b != b'\\' {
                    self.add(b, run + 1);
                }
                return;
            }
        };
        let len = if text.get(run) == Some(&b'u') { run + 5 } else { run + 3 };
        match code {
            Digits::Value(value) => self.add_ascii(value, len),
            Digits::Open => self.open = true,
            Digits::None => {}
        }
    }

    /// `&#47;`, `&#x2F;`, `&sol;`, and `&amp;#47;` where the ampersand was encoded again.
    fn entity(&mut self, text: &[u8]) {
        let mut at = 1;
        for _ in 0..=MAX_NESTED_ESCAPES {
            let rest = text.get(at..).unwrap_or_default();
            match rest.first() {
                Some(b'#') => return self.numbered(rest, at),
                None => return self.open = true,
                Some(_) => self.named(rest, at),
            }
            if !rest.starts_with(b"amp;") {
                return;
            }
            at += 4;
        }
    }

    fn named(&mut self, rest: &[u8], at: usize) {
        for (n, (name, byte)) in NAMES.iter().enumerate() {
            match rest.strip_prefix(*name) {
                Some([b';', ..]) => self.add(*byte, at + name.len() + 1),
                Some(after) => {
                    self.open |= after.is_empty();
                    if n < WITHOUT_SEMICOLON {
                        self.add(*byte, at + name.len());
                    }
                }
                None => self.open |= name.starts_with(rest),
            }
        }
    }

    /// `rest` begins with `#` and lies `at` bytes into the text.
    fn numbered(&mut self, rest: &[u8], at: usize) {
        let hex = matches!(rest.get(1), Some(b'x' | b'X'));
        let (from, radix) = if hex { (2, 16) } else { (1, 10) };
        let digits = rest.get(from..).unwrap_or_default().iter().take(MAX_ENTITY_DIGITS);
        let (mut value, mut len) = (0u32, from);
        for digit in digits.map_while(|b| char::from(*b).to_digit(radix)) {
            value = value.saturating_mul(radix).saturating_add(digit);
            len += 1;
        }
        match rest.get(len) {
            None => {
                self.open = true;
                self.add_ascii(value, at + len);
            }
            Some(b';') => self.add_ascii(value, at + len + 1),
            Some(_) => self.add_ascii(value, at + len),
        }
    }

    fn add_ascii(&mut self, value: u32, len: usize) {
        if let Some(b) = u8::try_from(value).ok().filter(|b| b.is_ascii() && *b != 0) {
            self.add(b, len);
        }
    }
}

enum Digits {
    Value(u32),
    /// The text ends among them.
    Open,
    None,
}

/// `count` hexadecimal digits at `from`.
fn number(text: &[u8], from: usize, count: usize) -> Digits {
    let mut value = 0;
    for at in from..from + count {
        match text.get(at).map(|b| char::from(*b).to_digit(16)) {
            None => return Digits::Open,
            Some(None) => return Digits::None,
            Some(Some(digit)) => value = value * 16 + digit,
        }
    }
    Digits::Value(value)
}

/// Length of the white space at the beginning of `text`, written as such or as `\r`, `\n`, `\t`,
/// where base64 text is broken into lines. `None`: the text ends before it is clear.
pub fn line_break(text: &[u8], most: usize) -> Option<usize> {
    let mut at = 0;
    while at < most {
        match text.get(at) {
            None => return None,
            Some(b'\r' | b'\n' | b' ' | b'\t') => at += 1,
            Some(b'\\') => {
                let run = text.iter().skip(at).take(MAX_BACKSLASHES).take_while(|b| **b == b'\\').count();
                match text.get(at + run) {
                    None => return None,
                    Some(b'r' | b'n' | b't') => at += run + 1,
                    Some(_) => return Some(at),
                }
            }
            Some(_) => {
                let r = Readings::of(text.get(at..).unwrap_or_default());
                if r.open {
                    return None;
                }
                match r.iter().find(|(b, len)| *len > 1 && matches!(b, b'\r' | b'\n' | b' ' | b'\t')) {
                    Some((_, len)) => at += len,
                    None => return Some(at),
                }
            }
        }
    }
    Some(at)
}
