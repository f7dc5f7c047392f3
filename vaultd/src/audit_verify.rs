//! `vaultd audit verify`: what an audit log proves to somebody who was not there.

use crate::cli::{EX_USAGE, complain, say};
use crate::limits::{MAX_HEADS_BYTES, MAX_OPENING_BYTES};
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vault_api::json::{self, Bounds};
use vault_core::audit::verify::{self, Report};
use vault_core::audit::{Heads, PublicKey};

/// Something is wrong with the log, or it says itself that records are missing.
const FAULT: u8 = 1;
/// Nothing was found wrong, and not everything was proved.
const UNPROVED: u8 = 2;

#[derive(clap::Args)]
pub struct Args {
    /// The vault's public key: 64 hex digits, or a file that holds them. From `vault-cli audit head`;
    /// taken from -head's file when that has it.
    #[arg(long)]
    key: Option<String>,
    /// The last known head: what `vault-cli audit head` printed or audit_head_file holds; - for
    /// standard input. Keep it where the log's writer cannot change it.
    #[arg(long)]
    head: Option<PathBuf>,
    /// Look at nothing after the head: for a log that is being written.
    #[arg(long, requires = "head")]
    through_head: bool,
    /// The log's files, oldest first.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Verifies; the exit code.
pub fn run(args: &Args) -> ExitCode {
    match verified(args) {
        Ok((report, files)) => judge(&report, &files),
        Err(text) => {
            complain(&text);
            ExitCode::from(EX_USAGE)
        }
    }
}

fn verified(args: &Args) -> Result<(Report, String), String> {
    let named = |path: &Path, e: io::Error| format!("{}: {e}", path.display());
    let mut log: Box<dyn Read> = Box::new(io::empty());
    for path in &args.files {
        log = Box::new(log.chain(File::open(path).map_err(|e| named(path, e))?));
    }
    let first = args.files.first().map(PathBuf::as_path).unwrap_or(Path::new(""));
    let mut options = verify::Options { through_head: args.through_head, ..Default::default() };
    let mut key = args.key.as_deref().map(given_key).transpose()?;
    if let Some(path) = &args.head {
        let heads = read_heads(path)?;
        let device = device(first).map_err(|e| named(first, e))?;
        let head = heads.heads.iter().find(|h| h.device == device).cloned();
        let head =
            head.ok_or_else(|| format!("{}: it has no head of device \"{device}\"", path.display()))?;
        key = key.or(PublicKey::from_hex(&heads.public_key));
        options.head = Some(head);
    }
    options.keys = key.into_iter().collect();
    let report = verify::verify(log, &options).map_err(|e| named(first, e))?;
    let files: Vec<String> = args.files.iter().map(|f| f.display().to_string()).collect();
    Ok((report, files.join(" + ")))
}

/// Hex digits, or the name of a file that holds them.
fn given_key(text: &str) -> Result<PublicKey, String> {
    if let Some(key) = PublicKey::from_hex(text) {
        return Ok(key);
    }
    let stored = std::fs::read_to_string(text).ok().and_then(|t| PublicKey::from_hex(&t));
    stored.ok_or_else(|| format!("-key: \"{text}\" is neither 64 hex digits nor a file that holds them"))
}

/// As exported, or as the API answers it.
fn read_heads(path: &Path) -> Result<Heads, String> {
    let mut text = Vec::new();
    let read = match path.to_str() {
        Some("-") => io::stdin().lock().take(MAX_HEADS_BYTES).read_to_end(&mut text),
        _ => File::open(path).and_then(|f| f.take(MAX_HEADS_BYTES).read_to_end(&mut text)),
    };
    read.map_err(|e| format!("{}: {e}", path.display()))?;
    let wrong = |e: &dyn std::fmt::Display| {
        format!("{}: not what `vault-cli audit head` prints: {e}", path.display())
    };
    let text = std::str::from_utf8(&text).map_err(|e| wrong(&e))?;
    let mut parsed = json::object(text, &Bounds::SIZED).map_err(|e| wrong(&e))?;
    let inner = parsed.remove("data").unwrap_or(Value::Object(parsed));
    serde_json::from_value::<Heads>(inner).map_err(|e| wrong(&e))
}

/// The device that a log says it is of; verification holds every line to it.
fn device(log: &Path) -> io::Result<String> {
    let mut line = Vec::new();
    BufReader::new(File::open(log)?).take(MAX_OPENING_BYTES).read_until(b'\n', &mut line)?;
    let opening = std::str::from_utf8(&line).ok().and_then(|l| json::object(l, &Bounds::SIZED).ok());
    let device = opening.and_then(|o| o.get("device")?.as_str().map(str::to_owned));
    device.ok_or_else(|| io::Error::other("it does not begin with an open line that names its device"))
}

fn judge(report: &Report, files: &str) -> ExitCode {
    for note in &report.notes {
        complain(&format!("{files}:{}: the vault noted: {}", note.line, note.what));
    }
    if let Some(fault) = &report.fault {
        complain(&format!("{files}:{}: {}", fault.line, fault.kind));
        return ExitCode::from(FAULT);
    }
    say(&format!(
        "device {}: {} lines, {} checkpoints; nothing was found wrong with the chain",
        report.device, report.lines, report.checkpoints
    ));
    for open in &report.unproved {
        say(&format!("not proved: {open}"));
    }
    let notes = report.notes.len() as u64 + report.notes_dropped;
    if notes > 0 {
        complain(&format!("the log says itself that records are missing or were damaged, {notes} times"));
        return ExitCode::from(FAULT);
    }
    if !report.unproved.is_empty() {
        return ExitCode::from(UNPROVED);
    }
    let through = report.last.as_ref().map_or(0, |h| h.seq);
    say(&format!("proved: this vault wrote all of it, and nothing is missing through line {through}"));
    ExitCode::SUCCESS
}
