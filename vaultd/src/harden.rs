//! The process's own sandbox, put on before any thread starts: no dumps, locked memory, the file
//! system cut down to what the config names (Landlock), and only the system calls that a vault has
//! business with (seccomp).

use crate::config::Config;
use crate::listener::Bind;
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetStatus,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use secmem::process::Report;
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The newest Landlock rights asked for; an older kernel enforces what it knows.
const LANDLOCK_ABI: ABI = ABI::V5;

/// Files of the system that name resolution, roots and time zones need.
const SYSTEM_READ: &[&str] = &[
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/usr/lib",
    "/usr/lib64",
    "/lib",
    "/lib64",
    "/proc",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/dev/null",
    "/dev/urandom",
];

/// Why the process does not start.
#[derive(Debug, thiserror::Error)]
pub enum HardenError {
    #[error(transparent)]
    Process(#[from] secmem::HardenError),
    #[error("cannot create {}: {source}", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    #[error("{} belongs to user {owner}, and this is user {own}: `chown` it, or start as its owner", path.display())]
    Foreign { path: PathBuf, owner: u32, own: u32 },
    #[error("{} is open to others (mode {mode:04o}): `chmod 0700` it", path.display())]
    Open { path: PathBuf, mode: u32 },
}

/// What is in force.
pub struct Hardened {
    pub report: Report,
    /// What could not be put on, for the log and seal-status.
    pub warnings: Vec<String>,
}

/// Puts the sandbox on. Call once, before any thread starts.
///
/// # Errors
/// Memory cannot be locked although the config demands it, or a directory cannot be made. A
/// kernel without Landlock or seccomp is a warning.
pub fn apply(config: &Config) -> Result<Hardened, HardenError> {
    let report = secmem::process::harden(config.memory_lock)?;
    raise_descriptors();
    make_directories(config)?;
    let mut warnings = report.warnings.clone();
    match restrict_files(config) {
        Ok(RulesetStatus::NotEnforced) => {
            warnings.push("the kernel has no Landlock: the file system is not restricted".to_owned());
        }
        Ok(_) => {}
        Err(e) => warnings.push(format!("the file system is not restricted: {e}")),
    }
    if let Err(e) = secmem::process::calls::restrict() {
        warnings.push(format!("system calls are not restricted: {e}"));
    }
    Ok(Hardened { report, warnings })
}

fn raise_descriptors() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Directories the daemon writes to; made before the sandbox, because rules name what exists.
fn written(config: &Config) -> Vec<PathBuf> {
    let snapshots = config.snapshot.as_ref().map(|s| &s.path);
    config.storage.path.iter().chain(&config.state_dir).chain(snapshots).cloned().collect()
}

fn make_directories(config: &Config) -> Result<(), HardenError> {
    for path in written(config) {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&path).map_err(|source| HardenError::Directory { path: path.clone(), source })?;
        check_private(&path)?;
    }
    Ok(())
}

/// Whoever else could write there could put another store in its place, or read along.
///
/// # Errors
/// It is no directory, belongs to somebody else, or is open to others.
pub fn check_private(path: &Path) -> Result<(), HardenError> {
    let about =
        std::fs::metadata(path).map_err(|source| HardenError::Directory { path: path.to_owned(), source })?;
    if !about.is_dir() {
        return Err(HardenError::NotADirectory(path.to_owned()));
    }
    let own = nix::unistd::geteuid().as_raw();
    if about.uid() != own {
        return Err(HardenError::Foreign { path: path.to_owned(), owner: about.uid(), own });
    }
    let mode = about.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(HardenError::Open { path: path.to_owned(), mode });
    }
    Ok(())
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn restrict_files(config: &Config) -> Result<RulesetStatus, landlock::RulesetError> {
    let all = AccessFs::from_all(LANDLOCK_ABI);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = all & !AccessFs::Execute;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .create()?
        .no_new_privs(true);
    for path in SYSTEM_READ {
        rules = rule(rules, Path::new(path), read)?;
    }
    for path in written(config) {
        rules = rule(rules, &path, write)?;
        // Making a name durable syncs the directory it stands in.
        rules = rule(rules, &parent(&path), AccessFs::ReadDir.into())?;
    }
    let audit_files =
        config.audit.iter().filter_map(|a| a.options.get("file_path")).filter(|f| f.starts_with('/'));
    let audit = config.audit_dirs.iter().cloned().chain(audit_files.map(|f| parent(Path::new(f))));
    let head = config.audit_head.iter().map(|h| parent(&h.file));
    for path in audit.chain(head) {
        rules = rule(rules, &path, write)?;
    }
    for listener in config.listeners.iter().chain(&config.gateway) {
        if let Bind::Unix { path, .. } = &listener.bind {
            rules = rule(rules, &parent(path), AccessFs::MakeSock | AccessFs::RemoveFile)?;
        }
        let files = listener.tls.iter().flat_map(|t| [Some(&t.cert), Some(&t.key), t.client_ca.as_ref()]);
        for file in files.flatten() {
            // Renewal replaces the files: the directory counts.
            rules = rule(rules, &parent(file), read)?;
        }
    }
    for source in &config.sources {
        let place = if source.is_dir() { source.clone() } else { parent(source) };
        rules = rule(rules, &place, read)?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// Grants `access` below `path`; a path that is not there needs no rule.
fn rule(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, landlock::RulesetError> {
    let Ok(fd) = PathFd::new(path) else { return Ok(rules) };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(LANDLOCK_ABI) };
    if access.is_empty() {
        return Ok(rules);
    }
    rules.add_rule(PathBeneath::new(fd, access))
}

#[cfg(test)]
#[path = "harden_tests.rs"]
mod tests;
