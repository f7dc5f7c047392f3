//! Reading typed values out of sections, and collecting what is wrong with them.

use super::Problem;
use super::fields::{self, Effect, Field};
use super::source::{RawConfig, Section};
use super::spelling::did_you_mean;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use vault_logical::{Data, field};

/// Collects problems, warnings and dangers while a config is read.
pub(super) struct Findings<'a> {
    pub raw: &'a RawConfig,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
    pub dangers: Vec<String>,
}

/// One section with its table.
pub(super) struct Reader<'a, 'f> {
    pub section: &'a Section,
    pub findings: &'f mut Findings<'a>,
}

impl<'a> Findings<'a> {
    pub(super) fn problem(&mut self, section: &Section, key: &str, what: &str) {
        let line = self.raw.place_of(section, key);
        let message = format!("\"{}\" {what}", path_of(section, key));
        self.problems.push(Problem::new(&section.file, message).at(line));
    }
}

impl Reader<'_, '_> {
    pub(super) fn value<T>(
        &mut self,
        key: &str,
        read: fn(&Data, &str) -> vault_logical::Result<Option<T>>,
    ) -> Option<T> {
        match read(&self.section.values, key) {
            Ok(value) => value,
            Err(e) => {
                // "field \"x\" must be …": keep what it must be.
                let what = e.message().split_once("\" ").map_or("is not valid", |(_, what)| what).to_owned();
                self.findings.problem(self.section, key, &what);
                None
            }
        }
    }
    pub(super) fn string(&mut self, key: &str) -> Option<String> {
        self.value(key, field::string).filter(|s| !s.is_empty())
    }
    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.string(key).map(PathBuf::from)
    }
    pub(super) fn boolean(&mut self, key: &str) -> bool {
        self.value(key, field::boolean).unwrap_or(false)
    }
    pub(super) fn duration(&mut self, key: &str) -> Option<Duration> {
        self.value(key, field::duration).filter(|d| !d.is_zero())
    }
    pub(super) fn problem(&mut self, key: &str, what: &str) {
        self.findings.problem(self.section, key, what);
    }
    /// A deadline that may be shortened, not lengthened.
    pub(super) fn deadline(&mut self, key: &str, longest: Duration) -> Duration {
        let asked = self.duration(key).unwrap_or(longest);
        if asked > longest {
            let note = format!("\"{}\" is capped at {}s", path_of(self.section, key), longest.as_secs());
            let line = self.findings.raw.line_of(&self.section.file, key);
            self.findings.warnings.push(Problem::new(&self.section.file, note).at(line));
        }
        asked.min(longest)
    }
    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)], default: T) -> T {
        let Some(word) = self.string(key) else { return default };
        match choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(&word)) {
            Some((_, value)) => *value,
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                let meant = did_you_mean(&word, names.iter().copied());
                self.problem(key, &format!("must be one of {}{meant}", names.join(", ")));
                default
            }
        }
    }
}

pub(super) fn of_kind<'a>(raw: &'a RawConfig, kind: &str) -> impl Iterator<Item = &'a Section> {
    raw.blocks.iter().filter(move |s| s.kind == kind)
}

pub(super) fn check_keys(section: &Section, findings: &mut Findings<'_>) {
    let stanza = fields::stanza(&section.kind);
    if let Some(stanza) = stanza.filter(|s| !s.shown) {
        let note = format!("block \"{}\" has no effect here", stanza.kind);
        findings
            .warnings
            .push(Problem::new(&section.file, note).at(findings.raw.line_of(&section.file, stanza.kind)));
        return;
    }
    let known: &[Field] = stanza.map_or(fields::ROOT, |s| fields::fields_of(s, &section.labels));
    for (key, value) in &section.values {
        match known.iter().find(|f| f.key == key) {
            None => {
                let names = known.iter().map(|f| f.key);
                findings.problem(section, key, &format!("is not a known key{}", did_you_mean(key, names)));
            }
            Some(Field { effect: Effect::Ignored(why), .. }) => {
                let line = findings.raw.line_of(&section.file, key);
                let note = format!("\"{}\" has no effect: {why}", path_of(section, key));
                findings.warnings.push(Problem::new(&section.file, note).at(line));
            }
            Some(Field { effect: Effect::Danger, .. }) if is_set(value) => {
                findings.dangers.push(path_of(section, key));
            }
            Some(_) => {}
        }
    }
}

/// True for a danger that is switched on, however it is spelled.
fn is_set(value: &Value) -> bool {
    let data = Data::from_iter([("v".to_owned(), value.clone())]);
    field::boolean(&data, "v").ok().flatten().unwrap_or(false)
}

fn path_of(section: &Section, key: &str) -> String {
    match section.name() {
        name if name.is_empty() => key.to_owned(),
        name => format!("{name}.{key}"),
    }
}
