//! The system calls that a server of ours has business with. Everything else is answered with an
//! error: EPERM, or ENOSYS where a library has a fallback that it takes only then.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::collections::BTreeMap;

/// Why the filter is not in place.
#[derive(Debug, thiserror::Error)]
pub enum CallsError {
    #[error("the filter cannot be built: {0}")]
    Build(#[from] seccompiler::BackendError),
    #[error("the kernel does not take it: {0}")]
    Install(#[from] seccompiler::Error),
}

/// Calls that are allowed whatever their arguments.
const ALLOWED: &[i64] = &[
    // Memory. What makes it executable is below.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_msync,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    libc::SYS_mlockall,
    libc::SYS_munlockall,
    libc::SYS_memfd_secret,
    libc::SYS_membarrier,
    // Threads of this process. Making them is below.
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
    // Signals that arrive.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    // Time, read and waited for.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    // Files: which ones is Landlock's to say.
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_ftruncate,
    libc::SYS_truncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_syncfs,
    libc::SYS_copy_file_range,
    libc::SYS_flock,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_umask,
    // Of an open file only: audit files are kept private. By name nothing changes its mode or owner.
    libc::SYS_fchmod,
    // Connections. Which kinds of sockets is below.
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_eventfd2,
    // What the process may know of itself and the machine.
    libc::SYS_getrandom,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_uname,
    libc::SYS_sysinfo,
];

/// The older forms of some of them, which not every architecture has.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OLD: &[i64] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_getrlimit,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_OLD: &[i64] = &[];

/// Calls that libraries try first and do without when there is none.
const ABSENT: &[i64] = &[
    // Its arguments lie in memory, where no filter sees them: `clone` is what remains.
    libc::SYS_clone3,
    libc::SYS_openat2,
    libc::SYS_futex_waitv,
    452, // fchmodat2
];

/// Requests of `ioctl`: non-blocking, bytes waiting, close on exec, "is this a terminal".
const IOCTLS: &[u64] = &[libc::FIONBIO, libc::FIONREAD, libc::FIOCLEX, libc::TCGETS];
/// Options of `prctl`: names of threads and mappings, and questions.
const PRCTLS: &[i32] =
    &[libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_GET_DUMPABLE, libc::PR_GET_NO_NEW_PRIVS, PR_SET_VMA];
const PR_SET_VMA: i32 = 0x5356_4d41;
/// The part of a socket's type that is not flags.
const TYPE_MASK: u64 = 0xf;
/// Flags of `clone` that make something else than a thread.
const NEW_NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWCGROUP;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn number(n: i32) -> u64 {
    u64::from(n.unsigned_abs())
}

/// True when all of these hold: (argument, how it is compared, with what).
fn when(conditions: &[(u8, Op, u64)]) -> Result<SeccompRule, seccompiler::BackendError> {
    let built = conditions.iter().map(|(arg, op, value)| {
        // A whole register where the kernel looks at one; what it takes as `int` is compared as such.
        SeccompCondition::new(*arg, Len::Dword, op.clone(), *value)
    });
    SeccompRule::new(built.collect::<Result<_, _>>()?)
}

/// What is allowed with some arguments only.
fn conditional(rules: &mut Rules) -> Result<(), seccompiler::BackendError> {
    let write = number(libc::PROT_WRITE);
    let exec = number(libc::PROT_EXEC);
    // New code: never writable and executable at once, nor made executable later.
    rules.insert(
        libc::SYS_mmap,
        vec![when(&[(2, Op::MaskedEq(write), 0)])?, when(&[(2, Op::MaskedEq(exec), 0)])?],
    );
    rules.insert(libc::SYS_mprotect, vec![when(&[(2, Op::MaskedEq(exec), 0)])?]);
    // Threads, not processes.
    let thread = number(libc::CLONE_THREAD);
    rules.insert(libc::SYS_clone, vec![when(&[(0, Op::MaskedEq(thread | number(NEW_NAMESPACES)), thread)])?]);
    // A signal to a thread of its own: how `abort` ends it.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![when(&[(0, Op::Eq, own)])?]);
    // Its own limits.
    rules.insert(libc::SYS_prlimit64, vec![when(&[(0, Op::Eq, 0)])?, when(&[(0, Op::Eq, own)])?]);
    let mut sockets = Vec::new();
    for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
            sockets.push(when(&[(0, Op::Eq, number(family)), (1, Op::MaskedEq(TYPE_MASK), number(kind))])?);
        }
    }
    rules.insert(libc::SYS_socket, sockets);
    rules.insert(libc::SYS_socketpair, vec![when(&[(0, Op::Eq, number(libc::AF_UNIX))])?]);
    let requests = IOCTLS.iter().map(|r| when(&[(1, Op::Eq, *r)]));
    rules.insert(libc::SYS_ioctl, requests.collect::<Result<_, _>>()?);
    let mut options =
        PRCTLS.iter().map(|o| when(&[(0, Op::Eq, number(*o))])).collect::<Result<Vec<_>, _>>()?;
    options.push(when(&[(0, Op::Eq, number(libc::PR_SET_DUMPABLE)), (1, Op::Eq, 0)])?);
    rules.insert(libc::SYS_prctl, options);
    Ok(())
}

fn filter(rules: Rules, otherwise: SeccompAction, matching: SeccompAction) -> Result<BpfProgram, CallsError> {
    let architecture = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, otherwise, matching, architecture)?.try_into()?)
}

/// Leaves this thread, and those it starts, the calls above. For good; call before any thread
/// starts. Calls of another form of the same machine (x32) are none of them.
///
/// # Errors
/// The kernel has no filters, or no business with this architecture is known.
pub fn restrict() -> Result<(), CallsError> {
    let errno = |e: i32| SeccompAction::Errno(e.unsigned_abs());
    // Two filters: of two errors the kernel gives the one of the filter that came last, and of an
    // error and a permission the error. So the second must permit what the first calls absent.
    let absent: Rules = ABSENT.iter().map(|n| (*n, Vec::new())).collect();
    let first = filter(absent.clone(), SeccompAction::Allow, errno(libc::ENOSYS))?;
    let mut rules: Rules = ALLOWED.iter().chain(ALLOWED_OLD).map(|n| (*n, Vec::new())).collect();
    conditional(&mut rules)?;
    rules.extend(absent);
    let second = filter(rules, errno(libc::EPERM), SeccompAction::Allow)?;
    seccompiler::apply_filter(&first)?;
    seccompiler::apply_filter(&second)?;
    Ok(())
}

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;
