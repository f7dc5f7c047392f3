//! What a config says against what is on this machine: for `check-config`, before a restart finds
//! out.

use super::reader::of_kind;
use super::source::{RawConfig, Section};
use super::spelling::nearest;
use super::{AuditConfig, Config, Problem};
use crate::certificate;
use crate::harden::check_private;
use crate::tls::{self, TlsError, TlsFiles};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use vault_logical::{Clock, SystemClock};

/// Reads a config and everything it names.
///
/// # Errors
/// All that is wrong, each with its file and line.
pub fn check(paths: &[PathBuf]) -> Result<Config, Vec<Problem>> {
    let raw = RawConfig::read(paths)?;
    let mut config = super::build::build(&raw)?;
    config.sources = paths.to_vec();
    let mut found = World { raw: &raw, problems: Vec::new() };
    // Each block that was accepted has made one listener, in their order.
    let sections = of_kind(&raw, "listener").chain(of_kind(&raw, "gateway"));
    for (section, listener) in sections.zip(config.listeners.iter().chain(&config.gateway)) {
        if let Some(files) = &listener.tls {
            found.tls(section, files);
        }
    }
    if let Some(section) = of_kind(&raw, "storage").next() {
        config.storage.path.iter().for_each(|dir| found.private(section, "path", dir));
    }
    if let Some(section) = raw.root.first() {
        config.state_dir.iter().for_each(|dir| found.private(section, "state_dir", dir));
    }
    for (section, device) in of_kind(&raw, "audit").zip(&config.audit) {
        found.audit(section, device);
    }
    if found.problems.is_empty() { Ok(config) } else { Err(found.problems) }
}

struct World<'a> {
    raw: &'a RawConfig,
    problems: Vec<Problem>,
}

impl World<'_> {
    fn problem(&mut self, section: &Section, key: &str, what: String) {
        let problem = Problem::new(&section.file, what).at(self.raw.place_of(section, key));
        self.problems.push(problem);
    }

    fn tls(&mut self, section: &Section, files: &TlsFiles) {
        let named = [("tls_cert_file", Some(&files.cert)), ("tls_key_file", Some(&files.key))];
        let all = named.into_iter().chain([("tls_client_ca_file", files.client_ca.as_ref())]);
        let mut absent = false;
        for (key, path) in all {
            let Some(path) = path else { continue };
            if let Err(e) = fs::metadata(path) {
                absent = true;
                let meant = if e.kind() == ErrorKind::NotFound { neighbour(path) } else { String::new() };
                self.problem(section, key, format!("{}: {e}{meant}", path.display()));
            }
        }
        if absent {
            return;
        }
        if let Err(e) = tls::check(files) {
            let key = match &e {
                TlsError::Pem { path, .. } | TlsError::Read { path, .. } if *path == files.cert => {
                    "tls_cert_file"
                }
                TlsError::ClientAuth(_) => "tls_client_ca_file",
                TlsError::Pem { path, .. } if Some(path) == files.client_ca.as_ref() => "tls_client_ca_file",
                _ => "tls_key_file",
            };
            self.problem(section, key, e.to_string());
        }
        if let Ok(about) = fs::metadata(&files.key)
            && about.mode() & 0o007 != 0
        {
            let what = format!(
                "{} can be read by others (mode {:04o}): `chmod o= {0}`",
                files.key.display(),
                about.mode() & 0o7777
            );
            self.problem(section, "tls_key_file", what);
        }
        self.certificate(section, &files.cert);
    }

    fn certificate(&mut self, section: &Section, path: &Path) {
        let Ok(chain) = tls::certificates(path) else { return };
        let now = SystemClock.now();
        for (n, der) in chain.iter().enumerate() {
            let which = if n == 0 { String::new() } else { format!("certificate {} of ", n + 1) };
            let name = format!("{which}{}", path.display());
            let Some(facts) = certificate::read(der) else {
                self.problem(section, "tls_cert_file", format!("{name} cannot be read"));
                continue;
            };
            if now >= facts.not_after {
                let what = format!("{name} expired on {}", facts.not_after.rfc3339());
                self.problem(section, "tls_cert_file", what);
            }
            if now < facts.not_before {
                let what = format!("{name} is not valid before {}", facts.not_before.rfc3339());
                self.problem(section, "tls_cert_file", what);
            }
            if n == 0 && facts.names.is_empty() && facts.addresses.is_empty() {
                let what = format!("{name} has no subjectAltName: clients accept it for no name");
                self.problem(section, "tls_cert_file", what);
            }
        }
    }

    /// A directory that the daemon makes, or finds as it would have made it.
    fn private(&mut self, section: &Section, key: &str, dir: &Path) {
        if dir.exists()
            && let Err(e) = check_private(dir)
        {
            self.problem(section, key, e.to_string());
        }
    }

    fn audit(&mut self, section: &Section, device: &AuditConfig) {
        // A stream ("stdout") lies in no directory.
        let file = device.options.get("file_path").map(Path::new).filter(|f| f.is_absolute());
        let Some(dir) = file.and_then(Path::parent) else { return };
        let key = if section.values.contains_key("file_path") { "file_path" } else { "path" };
        match fs::metadata(dir) {
            Ok(about) if about.is_dir() => {}
            Ok(_) => self.problem(section, key, format!("{} is not a directory", dir.display())),
            Err(e) => {
                let meant = if e.kind() == ErrorKind::NotFound { neighbour(dir) } else { String::new() };
                self.problem(section, key, format!("the audit directory {}: {e}{meant}", dir.display()));
            }
        }
    }
}

/// `; did you mean …?`, of what lies beside a path that is not there.
fn neighbour(path: &Path) -> String {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return String::new();
    };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let Ok(entries) = fs::read_dir(dir) else { return String::new() };
    let names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    match nearest(name, names.iter().map(String::as_str)) {
        Some(found) => format!("; did you mean {}?", path.with_file_name(found).display()),
        None => String::new(),
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
