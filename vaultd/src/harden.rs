//! The process's own sandbox, put on before any thread starts: no dumps, locked memory, the file
//! system cut down to what the config names (Landlock), and no system call that a vault has no
//! business with (seccomp).

use crate::config::Config;
use crate::listener::Bind;
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetStatus,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use secmem::process::Report;
use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
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
    if let Err(e) = restrict_calls() {
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
    config.storage.path.iter().chain(&config.state_dir).cloned().collect()
}

fn make_directories(config: &Config) -> Result<(), HardenError> {
    for path in written(config) {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&path).map_err(|source| HardenError::Directory { path, source })?;
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

/// System calls that answer EPERM, whatever their arguments.
const DENIED: &[i64] = &[
    // Other programs and other processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Other views of the file system.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_memfd_create,
    // The kernel itself.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_syslog,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_personality,
    libc::SYS_vhangup,
];

fn restrict_calls() -> Result<(), Box<dyn std::error::Error>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = DENIED.iter().map(|n| (*n, Vec::new())).collect();
    let when = |conditions: &[(u8, Op, u64)]| -> Result<SeccompRule, seccompiler::BackendError> {
        let built = conditions
            .iter()
            .map(|(arg, op, value)| SeccompCondition::new(*arg, Len::Dword, op.clone(), *value));
        SeccompRule::new(built.collect::<Result<_, _>>()?)
    };
    let flag = |f: i32| f.unsigned_abs().into();
    // Raw and packet sockets.
    let type_mask = Op::MaskedEq(0xf);
    rules.insert(
        libc::SYS_socket,
        vec![
            when(&[(0, Op::Eq, flag(libc::AF_PACKET))])?,
            when(&[(0, Op::Eq, flag(libc::AF_INET)), (1, type_mask.clone(), flag(libc::SOCK_RAW))])?,
            when(&[(0, Op::Eq, flag(libc::AF_INET6)), (1, type_mask, flag(libc::SOCK_RAW))])?,
        ],
    );
    // Becoming dumpable again.
    rules.insert(libc::SYS_prctl, vec![when(&[(0, Op::Eq, flag(libc::PR_SET_DUMPABLE)), (1, Op::Ne, 0)])?]);
    // New code: memory both writable and executable, or made executable later.
    let exec = flag(libc::PROT_EXEC);
    let both = flag(libc::PROT_EXEC | libc::PROT_WRITE);
    rules.insert(libc::SYS_mmap, vec![when(&[(2, Op::MaskedEq(both), both)])?]);
    rules.insert(libc::SYS_mprotect, vec![when(&[(2, Op::MaskedEq(exec), exec)])?]);
    rules.insert(libc::SYS_pkey_mprotect, vec![when(&[(2, Op::MaskedEq(exec), exec)])?]);
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, std::env::consts::ARCH.try_into()?)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok(())
}

#[cfg(test)]
#[path = "harden_tests.rs"]
mod tests;
