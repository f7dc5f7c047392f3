//! A device as the operator describes it, checked.

use super::AuditError;
use super::limits::MAX_OPTION_BYTES;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a device's options come from. Dangerous ones are taken from the local file only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `sys/audit/<path>`
    Api,
    /// The server's configuration file.
    File,
    /// The barrier, where a checked configuration was stored.
    Stored,
}

/// In the place of a path: the daemon's standard output.
pub(super) const STDOUT: &str = "stdout";
/// In the place of a path: nowhere. Such a device is listed and hashes, and never counts.
pub(super) const DISCARD: &str = "discard";

/// When a record is synced to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// Within a second after the write.
    Second,
    /// Before the request goes on.
    Always,
}

/// A checked device description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceConfig {
    /// Ends in `/`: `file/`.
    pub name: String,
    pub description: String,
    pub file_path: PathBuf,
    pub sync: SyncMode,
    pub hmac_accessor: bool,
    pub hmac_paths: bool,
    pub elide_list_responses: bool,
    pub log_raw: bool,
    /// From the server's configuration file: the API cannot take it away.
    pub from_file: bool,
    options: BTreeMap<String, String>,
    unreadable: Option<String>,
}

impl DeviceConfig {
    /// Checks a device of `type_name` at `name` with Vault's string options. Every refusal is an
    /// [`AuditError::Config`] that says what to write instead.
    pub fn parse(
        origin: Origin,
        name: &str,
        type_name: &str,
        description: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<Self, AuditError> {
        if type_name != "file" {
            return Err(refuse(format!(
                "unknown audit backend: unknown backend type: \"{}\" (only \"file\" is built)",
                shown(type_name)
            )));
        }
        let mut config = DeviceConfig {
            name: device_name(name)?,
            description: description.to_owned(),
            file_path: PathBuf::new(),
            sync: SyncMode::Second,
            hmac_accessor: true,
            hmac_paths: false,
            elide_list_responses: false,
            log_raw: false,
            from_file: origin == Origin::File,
            options: options.clone(),
            unreadable: None,
        };
        if description.len() > MAX_OPTION_BYTES {
            return Err(refuse("description is too long"));
        }
        for (key, value) in options {
            config.set(origin, key, value)?;
        }
        if config.file_path.as_os_str().is_empty() {
            return Err(refuse("option \"file_path\" is required"));
        }
        Ok(config)
    }

    /// A stored device whose record cannot be made out, or is refused now: it is in the set and
    /// takes nothing, so that requests are refused instead of going unrecorded. `name` ends in `/`.
    pub fn unreadable(name: String, why: String) -> Self {
        DeviceConfig {
            name,
            description: String::new(),
            file_path: PathBuf::new(),
            sync: SyncMode::Second,
            hmac_accessor: true,
            hmac_paths: true,
            elide_list_responses: true,
            log_raw: false,
            from_file: false,
            options: BTreeMap::new(),
            unreadable: Some(why),
        }
    }

    /// Why it can never be opened, if that is so.
    pub(super) fn unusable(&self) -> Option<&str> {
        self.unreadable.as_deref()
    }

    fn set(&mut self, origin: Origin, key: &str, value: &str) -> Result<(), AuditError> {
        if value.len() > MAX_OPTION_BYTES {
            return Err(refuse(format!("option \"{}\" is too long", shown(key))));
        }
        match key {
            // Vault's two spellings of one option.
            "file_path" | "path" => {
                let path = file_path(value)?;
                if !self.file_path.as_os_str().is_empty() && self.file_path != path {
                    return Err(refuse("options \"file_path\" and \"path\" name two files: give one"));
                }
                self.file_path = path;
            }
            "hmac_accessor" => self.hmac_accessor = boolean(key, value)?,
            "hmac_paths" => self.hmac_paths = boolean(key, value)?,
            "elide_list_responses" => self.elide_list_responses = boolean(key, value)?,
            "sync" => {
                self.sync = match value {
                    "second" => SyncMode::Second,
                    "always" => SyncMode::Always,
                    _ => return Err(refuse("option \"sync\" must be \"second\" or \"always\"")),
                }
            }
            "danger_log_raw" if origin != Origin::Api => self.log_raw = boolean(key, value)?,
            "log_raw" | "danger_log_raw" if boolean(key, value)? => {
                return Err(refuse(
                    "raw logging writes secrets in clear: it can be set only in the server's \
                     configuration file, as danger_log_raw",
                ));
            }
            "log_raw" | "danger_log_raw" => {}
            "mode" if matches!(value, "0600" | "600") => {}
            "mode" => return Err(refuse("option \"mode\": audit files are always 0600")),
            "format" if value == "json" => {}
            "format" => return Err(refuse("option \"format\": only \"json\" is built")),
            "prefix" => {
                return Err(refuse(
                    "option \"prefix\" does not exist here: it lets a log be made executable",
                ));
            }
            _ => return Err(refuse(format!("unknown option \"{}\" for a file audit device", shown(key)))),
        }
        Ok(())
    }

    /// The options as the operator gave them, for storage and `GET sys/audit`.
    pub fn options(&self) -> &BTreeMap<String, String> {
        &self.options
    }

    /// False for a device that keeps nothing: a record that only it was offered is on no record.
    pub(super) fn records(&self) -> bool {
        self.file_path != Path::new(DISCARD)
    }

    /// `file`
    pub fn type_name(&self) -> &'static str {
        "file"
    }
}

fn refuse(text: impl Into<String>) -> AuditError {
    AuditError::Config(text.into())
}

/// An operator's own word, cut and without anything that could disturb a terminal.
fn shown(word: &str) -> String {
    word.chars().take(64).map(|c| if c.is_ascii_graphic() && c != '"' { c } else { '?' }).collect()
}

fn boolean(key: &str, value: &str) -> Result<bool, AuditError> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(refuse(format!("option \"{key}\" must be true or false"))),
    }
}

fn device_name(name: &str) -> Result<String, AuditError> {
    let body = name.strip_suffix('/').unwrap_or(name);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if body.is_empty() || body.len() > 128 || !body.chars().all(plain) {
        return Err(refuse("device path must be letters, digits, '-', '_', '.' and '/', at most 128"));
    }
    if body.split('/').any(|s| s.is_empty() || s == "." || s == "..") {
        return Err(refuse("device path has an empty or relative segment"));
    }
    Ok(format!("{body}/"))
}

fn file_path(value: &str) -> Result<PathBuf, AuditError> {
    let path = Path::new(value);
    for word in [STDOUT, DISCARD] {
        if value.eq_ignore_ascii_case(word) {
            return Ok(PathBuf::from(word));
        }
    }
    if !path.is_absolute() {
        return Err(refuse(
            "option \"file_path\" must be the absolute path of a regular file, \"stdout\" or \"discard\"",
        ));
    }
    if value.bytes().any(|b| b.is_ascii_control()) || value.ends_with('/') {
        return Err(refuse("option \"file_path\" is not a file name"));
    }
    // Checked on the text: `components()` would silently drop a `.`.
    if value.split('/').skip(1).any(|s| s.is_empty() || s == "." || s == "..") {
        return Err(refuse("option \"file_path\" must not have empty, \".\" or \"..\" components"));
    }
    Ok(path.to_path_buf())
}
