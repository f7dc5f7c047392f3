//! The words of the first HCL, which is what Vault and OpenBao read policies with. It has no
//! expressions: `${x}` in a string is only text.

use super::document::Fault;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A bare word.
    Word(String),
    Text(String),
    /// A number or boolean: nothing in a policy takes one.
    Other(&'static str),
    Comma,
    Assign,
    OpenBrace,
    CloseBrace,
    OpenBracket,
    CloseBracket,
    End,
}

impl Token {
    /// For errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Token::Word(_) => "a word",
            Token::Text(_) => "a string",
            Token::Other(kind) => kind,
            Token::Comma => "\",\"",
            Token::Assign => "\"=\"",
            Token::OpenBrace => "\"{\"",
            Token::CloseBrace => "\"}\"",
            Token::OpenBracket => "\"[\"",
            Token::CloseBracket => "\"]\"",
            Token::End => "the end",
        }
    }
}

pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

fn begins_word(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

fn in_word(c: char) -> bool {
    begins_word(c) || c.is_numeric() || matches!(c, '-' | '.')
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Self {
        Lexer { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take_while(&mut self, want: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !want(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn fail<T>(&self, at: usize, message: &str) -> Result<T, Fault> {
        Err(Fault::new(Some(at), format!("HCL: {message}")))
    }

    /// The next token and the byte at which it begins.
    pub fn next(&mut self) -> Result<(usize, Token), Fault> {
        self.skip()?;
        let at = self.at;
        let Some(c) = self.bump() else { return Ok((at, Token::End)) };
        let token = match c {
            '{' => Token::OpenBrace,
            '}' => Token::CloseBrace,
            '[' => Token::OpenBracket,
            ']' => Token::CloseBracket,
            ',' => Token::Comma,
            '=' => Token::Assign,
            '"' => Token::Text(self.string(at)?),
            '<' => Token::Text(self.heredoc(at)?),
            c if begins_word(c) => {
                self.at = at;
                match self.take_while(in_word) {
                    "true" | "false" => Token::Other("a boolean"),
                    word => Token::Word(word.to_owned()),
                }
            }
            c if c.is_ascii_digit() || matches!(c, '-' | '.') => {
                self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-'));
                Token::Other("a number")
            }
            _ => return self.fail(at, "illegal character"),
        };
        Ok((at, token))
    }

    /// Blanks and comments.
    fn skip(&mut self) -> Result<(), Fault> {
        loop {
            self.take_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
            let (at, rest) = (self.at, self.rest());
            if rest.starts_with('#') || rest.starts_with("//") {
                self.take_while(|c| c != '\n');
            } else if let Some(comment) = rest.strip_prefix("/*") {
                match comment.find("*/") {
                    Some(end) => self.at += end + 4,
                    None => return self.fail(at, "comment not terminated"),
                }
            } else if rest.starts_with('/') {
                return self.fail(at, "a path needs quotes");
            } else {
                return Ok(());
            }
        }
    }

    /// The rest of a string. What stands in `${…}` is kept as it is, quotes and all.
    fn string(&mut self, at: usize) -> Result<String, Fault> {
        let mut out = String::new();
        let mut braces = 0usize;
        loop {
            let here = self.at;
            match self.bump() {
                None => return self.fail(at, "string not terminated"),
                Some('\n') if braces == 0 => return self.fail(at, "string not terminated"),
                Some('"') if braces == 0 => return Ok(out),
                Some('$') if braces == 0 && self.peek() == Some('{') => {
                    self.bump();
                    braces = 1;
                    out.push_str("${");
                }
                Some('\\') => {
                    let c = self.escape(here)?;
                    match braces {
                        0 => out.push(c),
                        _ => out.push_str(self.text.get(here..self.at).unwrap_or_default()),
                    }
                }
                Some(c) => {
                    match (braces, c) {
                        (0, _) => {}
                        (_, '{') => braces += 1,
                        (_, '}') => braces -= 1,
                        _ => {}
                    }
                    out.push(c);
                }
            }
        }
    }

    fn escape(&mut self, at: usize) -> Result<char, Fault> {
        let first = self.bump();
        let c = match first {
            Some('a') => Some('\u{7}'),
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('v') => Some('\u{b}'),
            Some('\\') => Some('\\'),
            Some('"') => Some('"'),
            Some('x') => self.code(16, 2).filter(char::is_ascii),
            Some('u') => self.code(16, 4),
            Some('U') => self.code(16, 8),
            Some('0'..='7') => {
                self.at -= 1;
                self.code(8, 3).filter(char::is_ascii)
            }
            _ => None,
        };
        c.map_or_else(|| self.fail(at, "illegal character escape"), Ok)
    }

    fn code(&mut self, radix: u32, digits: usize) -> Option<char> {
        let text = self.rest().get(..digits)?;
        let hex = text.chars().all(|c| c.is_digit(radix));
        self.at += digits;
        u32::from_str_radix(text, radix).ok().filter(|_| hex).and_then(char::from_u32)
    }

    /// `<<EOF` or `<<-EOF`, its lines, and the word on a line of its own.
    fn heredoc(&mut self, at: usize) -> Result<String, Fault> {
        if self.bump() != Some('<') {
            return self.fail(at, "illegal character");
        }
        let indented = self.peek() == Some('-');
        if indented {
            self.bump();
        }
        let marker = self.take_while(|c| begins_word(c) || c.is_numeric());
        self.take_while(|c| c == '\r');
        if marker.is_empty() || self.bump() != Some('\n') {
            return self.fail(at, "a heredoc begins with <<WORD and the end of the line");
        }
        let mut lines: Vec<&str> = Vec::new();
        let rest = self.rest();
        for line in rest.split_inclusive('\n') {
            let bare = line.trim_end_matches(['\n', '\r']);
            let end = if indented { bare.trim_start() } else { bare };
            if end == marker {
                // The end of the marker's line is not part of the heredoc.
                self.at += bare.len();
                let indent = bare.len() - end.len();
                let indent = bare.get(..indent).unwrap_or_default();
                let all = lines.iter().all(|l| l.starts_with(indent));
                let strip = |l: &&'a str| if all { l.strip_prefix(indent).unwrap_or(l) } else { l };
                return Ok(lines.iter().map(strip).collect::<String>().replace("\r\n", "\n"));
            }
            self.at += line.len();
            lines.push(line);
        }
        self.fail(at, "heredoc not terminated")
    }
}
