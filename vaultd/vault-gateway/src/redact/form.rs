//! A secret in one of its shapes, and how far a text follows it.

use super::reading::{Readings, line_break};
use crate::limits::{MAX_LINE_BREAK, MAX_READING_STEPS, UNITS_BEFORE_LINE_BREAK};

/// How a secret is turned into characters, each of which may then be spelled in several ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Plain,
    /// Hexadecimal digits in any case.
    Hex,
    /// Base64 in either alphabet, broken into lines or not, when so many bytes of a group of three
    /// precede the secret.
    Base64(usize),
}

/// One shape of one secret, from one of its first characters on.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    shape: Shape,
    /// The first character that is looked for, as a number counted from the secret's beginning.
    from: usize,
    /// Where the secret ends.
    units: usize,
    /// Whatever follows the secret up to here is masked.
    enough: usize,
}

/// How far a text follows a form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// End of the longest part that is to be masked.
    pub end: Option<usize>,
    /// The text ends before it stops following.
    pub open: bool,
}

/// Every form of a secret of `len` bytes whose first `least` are worth hiding by themselves.
pub fn of(len: usize, least: usize) -> impl Iterator<Item = Form> {
    let plain = Form { shape: Shape::Plain, from: 0, units: len, enough: least };
    let hex = Form { shape: Shape::Hex, from: 0, units: 2 * len, enough: 2 * least };
    let base64 = (0..3usize).flat_map(move |shift| {
        // Characters that hold bits of the secret only.
        let first = (8 * shift).div_ceil(6);
        let (units, enough) = (8 * (shift + len) / 6, 8 * (shift + least) / 6);
        // A line may end right after the first of them.
        (first..first + UNITS_BEFORE_LINE_BREAK).map(move |from| Form {
            shape: Shape::Base64(shift),
            from,
            units,
            enough,
        })
    });
    [plain, hex].into_iter().chain(base64)
}

impl Form {
    /// The characters that the form begins with; the same of the place after it.
    pub fn beginnings(&self, secret: &[u8]) -> [[Option<u8>; 2]; 2] {
        [self.from, self.from + 1].map(|unit| self.spelled(secret, unit))
    }

    /// The one or two characters that stand for a unit.
    fn spelled(&self, secret: &[u8], unit: usize) -> [Option<u8>; 2] {
        match self.shape {
            Shape::Plain => [secret.get(unit).copied(), None],
            Shape::Hex => {
                let digit = nibble(secret, unit).and_then(|n| char::from_digit(n.into(), 16));
                let digit = digit.and_then(|c| u8::try_from(c).ok());
                [digit, digit.map(|d| d.to_ascii_uppercase())]
            }
            Shape::Base64(shift) => {
                let value = sextet_of(secret, shift, unit);
                let [standard, url] = [b"+/", b"-_"].map(|last| character(value, last));
                [Some(standard), Some(url)]
            }
        }
    }

    fn accepts(&self, secret: &[u8], unit: usize, byte: u8) -> bool {
        match self.shape {
            Shape::Plain => secret.get(unit) == Some(&byte),
            Shape::Hex => {
                let digit = char::from(byte).to_digit(16);
                digit.is_some() && digit == nibble(secret, unit).map(u32::from)
            }
            Shape::Base64(shift) => value_of(byte) == Some(sextet_of(secret, shift, unit)),
        }
    }

    /// Follows `text` from its beginning.
    pub fn follow(&self, secret: &[u8], text: &[u8]) -> Reach {
        let mut reach = Reach::default();
        let mut place = (0, self.from);
        // Only a key with escape characters in it can be read in two ways.
        let mut others: Vec<(usize, usize)> = Vec::new();
        let mut seen: Vec<(usize, usize)> = Vec::new();
        // Each character at most once more for a line break before it.
        for _ in 0..MAX_READING_STEPS.saturating_add(self.units.saturating_mul(2)) {
            let (at, unit) = place;
            if unit >= self.enough {
                reach.end = reach.end.max(Some(at));
            }
            let next = if unit < self.units {
                self.step(secret, text, place, &mut reach, &mut others)
            } else {
                None
            };
            place = match next {
                Some(next) => next,
                None => {
                    let Some(next) = others.pop() else { return reach };
                    if seen.contains(&next) {
                        continue;
                    }
                    seen.push(next);
                    next
                }
            };
        }
        // A secret made of escape characters and a text made for it: what was looked at is masked.
        reach.end = reach.end.max(Some(place.0));
        reach
    }

    fn step(
        &self,
        secret: &[u8],
        text: &[u8],
        (at, unit): (usize, usize),
        reach: &mut Reach,
        others: &mut Vec<(usize, usize)>,
    ) -> Option<(usize, usize)> {
        let rest = text.get(at..).unwrap_or_default();
        let readings = Readings::of(rest);
        reach.open |= readings.open;
        let mut next = None;
        for (byte, len) in readings.iter() {
            if self.accepts(secret, unit, byte) {
                match next {
                    None => next = Some((at + len, unit + 1)),
                    Some(_) => others.push((at + len, unit + 1)),
                }
            }
        }
        if next.is_some() || !self.may_break(unit) {
            return next;
        }
        match line_break(rest, MAX_LINE_BREAK) {
            None => {
                reach.open = true;
                None
            }
            Some(0) => None,
            Some(len) if self.continues(secret, rest, len, unit, reach) => Some((at + len, unit)),
            Some(_) => None,
        }
    }

    /// Not after the first characters: the end of a line would wait for the next one.
    fn may_break(&self, unit: usize) -> bool {
        matches!(self.shape, Shape::Base64(_)) && unit >= self.from + UNITS_BEFORE_LINE_BREAK
    }

    /// After a line break the text must go on; the break alone is not followed.
    fn continues(&self, secret: &[u8], rest: &[u8], len: usize, unit: usize, reach: &mut Reach) -> bool {
        let readings = Readings::of(rest.get(len..).unwrap_or_default());
        reach.open |= readings.open;
        readings.iter().any(|(byte, _)| self.accepts(secret, unit, byte))
    }
}

fn nibble(secret: &[u8], unit: usize) -> Option<u8> {
    secret.get(unit / 2).map(|b| if unit.is_multiple_of(2) { b >> 4 } else { b & 15 })
}

/// The `unit`-th six bits of `shift` zero bytes and the secret.
fn sextet_of(secret: &[u8], shift: usize, unit: usize) -> u8 {
    let byte = |n: usize| u16::from(n.checked_sub(shift).and_then(|n| secret.get(n)).copied().unwrap_or(0));
    let bit = 6 * unit;
    let pair = byte(bit / 8) << 8 | byte(bit / 8 + 1);
    u8::try_from(pair >> (10 - bit % 8) & 63).unwrap_or(0)
}

/// The character of six bits, `last` being the alphabet's last two.
fn character(value: u8, last: &[u8; 2]) -> u8 {
    match value {
        0..26 => b'A' + value,
        26..52 => b'a' + (value - 26),
        52..62 => b'0' + (value - 52),
        62 => last[0],
        _ => last[1],
    }
}

/// The six bits of a character in either alphabet.
fn value_of(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}
