//! Config files as written: HCL or JSON, brought to one shape, every key with its place.

use super::Problem;
use super::fields::{self, Stanza};
use super::spelling::{Outline, did_you_mean};
use crate::codec::json_object;
use crate::limits::{MAX_CONFIG_BYTES, MAX_CONFIG_FILES};
use hcl::{Body, Structure};
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use vault_logical::Data;

/// A block with its labels, or the keys outside any block.
#[derive(Debug)]
pub struct Section {
    pub file: PathBuf,
    /// `listener`; empty for the keys outside any block.
    pub kind: String,
    pub labels: Vec<String>,
    pub values: Data,
    /// How many blocks of this kind stand before it in its file.
    pub ordinal: usize,
}

impl Section {
    /// `listener.tcp`, for messages.
    pub fn name(&self) -> String {
        std::iter::once(self.kind.as_str())
            .chain(self.labels.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(".")
    }
}

/// The text of a config, as sections.
#[derive(Debug, Default)]
pub struct RawConfig {
    pub root: Vec<Section>,
    pub blocks: Vec<Section>,
    sources: Vec<(PathBuf, String)>,
}

impl RawConfig {
    /// Reads files, and directories of `*.hcl` and `*.json` files in order of name.
    pub fn read(paths: &[PathBuf]) -> Result<RawConfig, Vec<Problem>> {
        let mut raw = RawConfig::default();
        let mut problems = Vec::new();
        for path in paths {
            match files_of(path) {
                Err(p) => problems.push(p),
                Ok(files) => {
                    for file in files {
                        let text = read_file(&file);
                        if let Err(mut found) = text.map_err(|p| vec![p]).and_then(|t| raw.add(&file, t)) {
                            problems.append(&mut found);
                        }
                    }
                }
            }
        }
        if problems.is_empty() { Ok(raw) } else { Err(problems) }
    }

    /// Adds one file's text.
    pub fn add(&mut self, file: &Path, text: String) -> Result<(), Vec<Problem>> {
        let parsed =
            if text.trim_start().starts_with('{') { from_json(file, &text) } else { from_hcl(file, &text) };
        self.sources.push((file.to_owned(), text));
        let mut root = Data::new();
        let mut problems = Vec::new();
        for (key, labels, value) in parsed? {
            let known = fields::stanza(&key)
                .or_else(|| (key == "backend").then(|| fields::stanza("storage")).flatten());
            match known {
                Some(stanza) => {
                    if let Err(p) = self.block(file, stanza, labels, value) {
                        problems.push(p.at(self.line_of(file, &key)));
                    }
                }
                None if labels.is_empty() && !matches!(value, Value::Object(_)) || is_root_key(&key) => {
                    if root.insert(key.clone(), value).is_some() {
                        problems.push(
                            Problem::new(file, format!("\"{key}\" is set twice"))
                                .at(self.line_of(file, &key)),
                        );
                    }
                }
                None => problems.push(unknown_block(file, &key).at(self.line_of(file, &key))),
            }
        }
        self.root.push(Section {
            ordinal: 0,
            file: file.to_owned(),
            kind: String::new(),
            labels: Vec::new(),
            values: root,
        });
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Splits maps of labels (`{"tcp": {…}}`) and lists of blocks until each block stands alone.
    fn block(
        &mut self,
        file: &Path,
        stanza: &Stanza,
        labels: Vec<String>,
        value: Value,
    ) -> Result<(), Problem> {
        match value {
            Value::Array(list) => {
                list.into_iter().try_for_each(|one| self.block(file, stanza, labels.clone(), one))
            }
            Value::Object(map) if labels.len() < stanza.arity => {
                map.into_iter().try_for_each(|(label, inner)| {
                    let labels = labels.iter().cloned().chain([label]).collect();
                    self.block(file, stanza, labels, inner)
                })
            }
            Value::Object(values) if labels.len() == stanza.arity => {
                let same = |s: &&Section| s.file == file && s.kind == stanza.kind;
                let ordinal = self.blocks.iter().filter(same).count();
                self.blocks.push(Section {
                    ordinal,
                    file: file.to_owned(),
                    kind: stanza.kind.to_owned(),
                    labels,
                    values,
                });
                Ok(())
            }
            Value::Object(_) => {
                Err(Problem::new(file, format!("block \"{}\" has too many labels", stanza.kind)))
            }
            _ => Err(Problem::new(file, format!("\"{}\" must be a block", stanza.kind))),
        }
    }

    /// The line of a key of this section: its own, else that of its block.
    pub fn place_of(&self, section: &Section, key: &str) -> Option<usize> {
        let (_, text) = self.sources.iter().find(|(name, _)| *name == section.file)?;
        if text.trim_start().starts_with('{') {
            return self.line_of(&section.file, key);
        }
        let outline = Outline::of(text);
        match section.kind.as_str() {
            "" => outline.root_key(key),
            "storage" => outline.key(&["storage", "backend"], section.ordinal, key),
            kind => outline.key(&[kind], section.ordinal, key),
        }
    }

    /// The line of a key, when it stands in one place only.
    pub fn line_of(&self, file: &Path, key: &str) -> Option<usize> {
        let (_, text) = self.sources.iter().find(|(name, _)| name == file)?;
        let names_key = |line: &str| {
            let rest = line.trim_start().trim_start_matches(['{', ',', ' ']);
            let rest = rest.strip_prefix('"').unwrap_or(rest);
            rest.strip_prefix(key).is_some_and(|after| {
                after.trim_start_matches('"').trim_start().starts_with(['=', '{', ':', '"'])
                    && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-')
            })
        };
        let mut found = text.lines().enumerate().filter(|(_, line)| names_key(line)).map(|(n, _)| n + 1);
        found.next().filter(|_| found.next().is_none())
    }
}

fn is_root_key(key: &str) -> bool {
    fields::ROOT.iter().any(|f| f.key == key)
}

fn unknown_block(file: &Path, key: &str) -> Problem {
    match key {
        "ha_storage" => Problem::new(file, "block \"ha_storage\": more than one node is not built"),
        _ => {
            let kinds = fields::STANZAS.iter().map(|s| s.kind).chain(fields::ROOT.iter().map(|f| f.key));
            Problem::new(file, format!("unknown block \"{key}\"{}", did_you_mean(key, kinds)))
        }
    }
}

fn files_of(path: &Path) -> Result<Vec<PathBuf>, Problem> {
    let failed = |e: std::io::Error| Problem::new(path, format!("cannot be read: {e}"));
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|x| x == "hcl" || x == "json") {
            files.push(file);
        }
    }
    files.sort();
    match files.len() {
        0 => Err(Problem::new(path, "holds no *.hcl or *.json file")),
        n if n > MAX_CONFIG_FILES => Err(Problem::new(path, "holds too many files")),
        _ => Ok(files),
    }
}

fn read_file(path: &Path) -> Result<String, Problem> {
    let failed = |e: std::io::Error| Problem::new(path, format!("cannot be read: {e}"));
    let mut text = String::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(MAX_CONFIG_BYTES as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() > MAX_CONFIG_BYTES {
        return Err(Problem::new(path, "is too large for a config file"));
    }
    Ok(text)
}

/// (key, labels, value), in order.
type Entries = Vec<(String, Vec<String>, Value)>;

fn from_json(file: &Path, text: &str) -> Result<Entries, Vec<Problem>> {
    match json_object(text.as_bytes()) {
        Ok(map) => Ok(map.into_iter().map(|(key, value)| (key, Vec::new(), value)).collect()),
        Err(e) => {
            let line = text.as_bytes().iter().take(e.offset).filter(|b| **b == b'\n').count() + 1;
            Err(vec![Problem::new(file, e.reason).at(Some(line))])
        }
    }
}

fn from_hcl(file: &Path, text: &str) -> Result<Entries, Vec<Problem>> {
    let body = hcl::parse(text).map_err(|e| vec![Problem::new(file, e.to_string())])?;
    let mut entries = Vec::new();
    let mut problems = Vec::new();
    for structure in body {
        match structure {
            Structure::Attribute(a) => match value_of(a.expr()) {
                Ok(value) => entries.push((a.key().to_owned(), Vec::new(), value)),
                Err(why) => problems.push(Problem::new(file, format!("\"{}\" {why}", a.key()))),
            },
            Structure::Block(b) => match object_of(b.body()) {
                Ok(values) => {
                    let labels = b.labels().iter().map(|l| l.as_str().to_owned()).collect();
                    entries.push((b.identifier().to_owned(), labels, Value::Object(values)));
                }
                Err(why) => problems.push(Problem::new(file, format!("block \"{}\": {why}", b.identifier()))),
            },
        }
    }
    if problems.is_empty() { Ok(entries) } else { Err(problems) }
}

/// A block's body as an object; nested blocks become objects, repeated ones lists.
fn object_of(body: &Body) -> Result<Data, String> {
    let mut out = Data::new();
    for structure in body.iter() {
        let (key, value, block) = match structure {
            Structure::Attribute(a) => {
                (a.key(), value_of(a.expr()).map_err(|why| format!("\"{}\" {why}", a.key()))?, false)
            }
            Structure::Block(b) => {
                let inner = Value::Object(object_of(b.body())?);
                let wrap = |inner, label: &hcl::BlockLabel| {
                    Value::Object(Data::from_iter([(label.as_str().to_owned(), inner)]))
                };
                (b.identifier(), b.labels().iter().rev().fold(inner, wrap), true)
            }
        };
        match out.get_mut(key) {
            None => {
                out.insert(key.to_owned(), value);
            }
            Some(Value::Array(list)) if block => list.push(value),
            Some(first) if block => *first = Value::Array(vec![first.take(), value]),
            Some(_) => return Err(format!("\"{key}\" is set twice")),
        }
    }
    Ok(out)
}

/// Literals only: no variables, functions or templates.
fn value_of(expr: &hcl::Expression) -> Result<Value, String> {
    const PLAIN: &str = "must be a plain value";
    Ok(match expr {
        hcl::Expression::Null => Value::Null,
        hcl::Expression::Bool(b) => Value::Bool(*b),
        hcl::Expression::Number(n) => serde_json::from_str(&n.to_string()).map_err(|_| PLAIN.to_owned())?,
        hcl::Expression::String(s) => Value::String(s.clone()),
        hcl::Expression::Array(list) => Value::Array(list.iter().map(value_of).collect::<Result<_, _>>()?),
        hcl::Expression::Object(map) => {
            let mut out = Data::new();
            for (key, value) in map {
                let key = match key {
                    hcl::ObjectKey::Identifier(name) => name.as_str().to_owned(),
                    hcl::ObjectKey::Expression(hcl::Expression::String(s)) => s.clone(),
                    _ => return Err(PLAIN.to_owned()),
                };
                if out.insert(key.clone(), value_of(value)?).is_some() {
                    return Err(format!("sets \"{key}\" twice"));
                }
            }
            Value::Object(out)
        }
        _ => return Err(PLAIN.to_owned()),
    })
}
