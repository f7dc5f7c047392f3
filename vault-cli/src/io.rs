//! The world outside a command: its streams, its variables and its terminal. Tests bring their own.

use crate::failure::Failure;
use crate::limits::{MAX_INPUT_BYTES, MAX_SECRET_BYTES};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use vault_api::{ExposeSecret, SecretString};
use zeroize::{Zeroize, Zeroizing};

/// Where a command reads and writes.
pub struct Io<'a> {
    pub out: &'a mut dyn Write,
    pub err: &'a mut dyn Write,
    pub input: &'a mut dyn Read,
    /// Standard output is a terminal.
    pub terminal: bool,
    /// Environment variables.
    pub var: &'a dyn Fn(&str) -> Option<String>,
    /// Asks on the terminal without echo.
    pub ask: &'a mut dyn FnMut(&str) -> io::Result<SecretString>,
}

impl Io<'_> {
    /// An environment variable that is not empty.
    pub fn var(&self, name: &str) -> Option<String> {
        (self.var)(name).filter(|v| !v.is_empty())
    }

    /// The user's home directory.
    ///
    /// # Errors
    /// When `HOME` is not set.
    pub fn home(&self) -> Result<PathBuf, Failure> {
        self.var("HOME").map(PathBuf::from).ok_or_else(|| Failure::local("HOME is not set"))
    }

    /// All of standard input, bounded, wiped when dropped.
    ///
    /// # Errors
    /// When it cannot be read, is too long, or is not UTF-8.
    pub fn read_input(&mut self) -> Result<Zeroizing<String>, Failure> {
        read_text(self.input, "standard input")
    }

    /// A secret that may stand on the command line (discouraged), as `-` on standard input, or be
    /// asked for without echo.
    ///
    /// # Errors
    /// When there is neither, or it is empty.
    pub fn secret(&mut self, given: Option<&str>, prompt: &str) -> Result<SecretString, Failure> {
        let secret = match given {
            Some("-") => {
                let text = self.read_input()?;
                let line = text.trim();
                SecretString::from(line)
            }
            Some(text) => {
                writeln!(self.err, "WARNING: a secret on the command line stays in the shell's history.")?;
                SecretString::from(text.trim())
            }
            None => (self.ask)(prompt).map_err(|e| {
                Failure::local(format!("cannot ask for it: {e}"))
                    .advise("Without a terminal, give it on standard input and write - for it.")
            })?,
        };
        match secret.expose_secret().len() {
            0 => Err(Failure::local("nothing was given")),
            n if n > MAX_SECRET_BYTES => Err(Failure::local("it is too long")),
            _ => Ok(secret),
        }
    }
}

/// Reads a bounded text.
///
/// # Errors
/// When it cannot be read, is too long, or is not UTF-8; `from` names it.
pub fn read_text(reader: &mut dyn Read, from: &str) -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    let fail = |why: String| Failure::local(format!("{from}: {why}"));
    reader.take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes).map_err(|e| fail(e.to_string()))?;
    if bytes.len() as u64 > MAX_INPUT_BYTES {
        return Err(fail(format!("longer than {MAX_INPUT_BYTES} bytes")));
    }
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(e) => {
            e.into_bytes().zeroize();
            Err(fail("not UTF-8 text".into()))
        }
    }
}
