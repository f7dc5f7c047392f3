//! HCL policies, in the grammar of the first HCL: items stand where they like, on one line or on
//! many, with or without a comma between them. Two blocks with the same label stay two.

use super::document::{Entry, Fault, Item, Value};
use super::lexer::{Lexer, Token};

/// Deepest nesting of objects and lists.
const MAX_DEPTH: usize = 64;

/// Reads an HCL document.
pub(super) fn document(text: &str) -> Result<Item, Fault> {
    let mut parser = Parser { lexer: Lexer::new(text), ahead: None, depth: 0 };
    let entries = parser.entries(&Token::End)?;
    Ok(Item { at: None, value: Value::Map(entries) })
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// A token that was looked at and not taken.
    ahead: Option<(usize, Token)>,
    depth: usize,
}

fn unexpected(at: usize, want: &str, got: &Token) -> Fault {
    Fault::new(Some(at), format!("HCL: expected {want}, found {}", got.kind()))
}

impl Parser<'_> {
    fn next(&mut self) -> Result<(usize, Token), Fault> {
        match self.ahead.take() {
            Some(token) => Ok(token),
            None => self.lexer.next(),
        }
    }

    /// Items up to `end`, which is taken. One comma may follow each.
    fn entries(&mut self, end: &Token) -> Result<Vec<Entry>, Fault> {
        let mut entries = Vec::new();
        loop {
            let (at, token) = self.next()?;
            if token == *end {
                return Ok(entries);
            }
            self.ahead = Some((at, token));
            entries.push(self.entry()?);
            match self.next()? {
                (_, Token::Comma) => {}
                other => self.ahead = Some(other),
            }
        }
    }

    /// `key = value`, `key { … }` or `key "label" { … }`.
    fn entry(&mut self) -> Result<Entry, Fault> {
        let mut keys: Vec<(String, usize)> = Vec::new();
        loop {
            let (at, token) = self.next()?;
            match token {
                Token::Word(_) | Token::Text(_) if keys.len() == MAX_DEPTH => {
                    return Err(Fault::new(Some(at), "HCL: too many labels"));
                }
                Token::Word(key) | Token::Text(key) => keys.push((key, at)),
                Token::Assign if keys.len() == 1 => {
                    let value = self.value()?;
                    return Ok(labelled(keys, value, true));
                }
                Token::OpenBrace if !keys.is_empty() => {
                    let value = self.object(at)?;
                    return Ok(labelled(keys, value, false));
                }
                other if keys.is_empty() => return Err(unexpected(at, "a key", &other)),
                other => return Err(unexpected(at, "\"{\" or \"=\"", &other)),
            }
        }
    }

    fn value(&mut self) -> Result<Item, Fault> {
        let (at, token) = self.next()?;
        let value = match token {
            Token::Text(text) => Value::Text(text),
            Token::Other(kind) => Value::Other(kind),
            Token::OpenBrace => return self.object(at),
            Token::OpenBracket => return self.list(at),
            other => return Err(unexpected(at, "a value", &other)),
        };
        Ok(Item { at: Some(at), value })
    }

    fn deeper(&mut self, at: usize) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault::new(Some(at), "HCL: nested too deeply"));
        }
        Ok(())
    }

    fn object(&mut self, at: usize) -> Result<Item, Fault> {
        self.deeper(at)?;
        let entries = self.entries(&Token::CloseBrace)?;
        self.depth -= 1;
        Ok(Item { at: Some(at), value: Value::Map(entries) })
    }

    /// Values with a comma between each two; commas to spare do not matter.
    fn list(&mut self, start: usize) -> Result<Item, Fault> {
        self.deeper(start)?;
        let mut items = Vec::new();
        let mut need_comma = false;
        loop {
            let (at, token) = self.next()?;
            match token {
                Token::CloseBracket => break,
                Token::Comma => need_comma = false,
                other if need_comma => return Err(unexpected(at, "\",\" or \"]\"", &other)),
                other => {
                    self.ahead = Some((at, other));
                    items.push(self.value()?);
                    need_comma = true;
                }
            }
        }
        self.depth -= 1;
        Ok(Item { at: Some(start), value: Value::List(items) })
    }
}

/// A block's labels are the keys of objects one in the other. An object behind `=` has none: it is
/// a list of one, so that `path = { … }` is not taken for blocks.
fn labelled(keys: Vec<(String, usize)>, value: Item, assigned: bool) -> Entry {
    let mut keys = keys.into_iter().rev();
    let (mut key, mut at) = keys.next().unwrap_or_default();
    let mut value = value;
    for (outer, outer_at) in keys {
        let inner = Entry { key, at: Some(at), value, assigned };
        value = Item { at: Some(at), value: Value::Map(vec![inner]) };
        (key, at) = (outer, outer_at);
    }
    Entry { key, at: Some(at), value, assigned }
}
