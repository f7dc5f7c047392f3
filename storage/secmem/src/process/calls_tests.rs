//! The filter is for a whole process and for good: a child of the test puts it on, and makes every
//! call there is.

use super::*;
use nix::errno::Errno;
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;

/// Above every call that any kernel has.
const LAST: i64 = 1023;
/// Marks a call of the x32 form.
const X32: i64 = 0x4000_0000;

/// The kernel's own trampolines of uprobes on x86-64: not subject to filters, and SIGILL for
/// whoever else makes them.
const PROBES: [i64; 2] = [335, 336];

/// One call with these arguments, the rest zero.
fn call(number: i64, args: [u64; 3]) -> Result<i64, Errno> {
    // SAFETY: the filter answers these calls, or they fail for their arguments; should it not, this
    // is a process that nobody needs.
    #[allow(unsafe_code)]
    let answer = unsafe { libc::syscall(number, args[0], args[1], args[2], 0_u64, 0_u64, 0_u64) };
    Errno::result(answer)
}

#[test]
fn every_call_that_is_not_on_the_list_is_answered_with_an_error() {
    crate::process::tests::in_child("process::calls::tests::child_tries_every_call");
}

#[test]
#[ignore = "puts a filter on the process; run by every_call_that_is_not_on_the_list_is_answered_with_an_error"]
fn child_tries_every_call() {
    // The controls: these work before.
    assert!(call(libc::SYS_kill, [std::process::id().into(), 0, 0]).is_ok());
    restrict().unwrap();
    let mut conditional_calls = Rules::new();
    conditional(&mut conditional_calls).unwrap();
    let mut tried = 0;
    for number in 0..=LAST {
        if PROBES.contains(&number)
            || ALLOWED.contains(&number)
            || ALLOWED_OLD.contains(&number)
            || conditional_calls.contains_key(&number)
        {
            continue;
        }
        let want = if ABSENT.contains(&number) { Errno::ENOSYS } else { Errno::EPERM };
        assert_eq!(call(number, [0; 3]), Err(want), "call {number}");
        tried += 1;
    }
    assert!(tried > 500, "{tried}");
    if cfg!(target_arch = "x86_64") {
        // Not one of them under its x32 number, whatever the kernel makes of those.
        for number in (0..=600).filter(|n| !PROBES.contains(n)) {
            assert_eq!(call(number | X32, [0; 3]), Err(Errno::EPERM), "x32 call {number}");
        }
    }
    let own = u64::from(std::process::id());
    let number = |n: i32| u64::from(n.unsigned_abs());
    let rwx = number(libc::PROT_WRITE | libc::PROT_EXEC);
    for (what, call_number, args) in [
        ("a process", libc::SYS_clone, [number(libc::SIGCHLD), 0, 0]),
        ("vfork", libc::SYS_clone, [number(libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD), 0, 0]),
        ("a thread elsewhere", libc::SYS_clone, [number(libc::CLONE_THREAD | libc::CLONE_NEWUSER), 0, 0]),
        ("init's threads", libc::SYS_tgkill, [1, 1, 0]),
        ("init's limits", libc::SYS_prlimit64, [1, 0, 0]),
        ("netlink", libc::SYS_socket, [number(libc::AF_NETLINK), number(libc::SOCK_DGRAM), 0]),
        ("vsock", libc::SYS_socket, [number(libc::AF_VSOCK), number(libc::SOCK_STREAM), 0]),
        ("packets", libc::SYS_socket, [number(libc::AF_PACKET), number(libc::SOCK_DGRAM), 0]),
        ("the kernel's ciphers", libc::SYS_socket, [38, 5, 0]),
        (
            "raw IPv4",
            libc::SYS_socket,
            [number(libc::AF_INET), number(libc::SOCK_RAW | libc::SOCK_CLOEXEC), 1],
        ),
        ("raw IPv6", libc::SYS_socket, [number(libc::AF_INET6), number(libc::SOCK_RAW), 58]),
        ("new code", libc::SYS_mmap, [0, 4096, rwx]),
        ("code made later", libc::SYS_mprotect, [0, 4096, number(libc::PROT_EXEC)]),
        ("typing into the terminal", libc::SYS_ioctl, [0, libc::TIOCSTI, 0]),
        ("dumpable", libc::SYS_prctl, [number(libc::PR_SET_DUMPABLE), 1, 0]),
        ("traceable", libc::SYS_prctl, [number(libc::PR_SET_PTRACER), u64::MAX, 0]),
        ("capabilities", libc::SYS_prctl, [number(libc::PR_CAP_AMBIENT), 2, 0]),
    ] {
        assert_eq!(call(call_number, args), Err(Errno::EPERM), "{what}");
    }
    assert!(call(libc::SYS_tgkill, [own, own, 0]).is_ok(), "a thread of its own");
    what_a_server_does();
}

fn what_a_server_does() {
    std::thread::Builder::new().name("thread".into()).spawn(|| ()).unwrap().join().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let mut open = std::fs::File::create(&file).unwrap();
    open.write_all(b"x").and_then(|()| open.sync_all()).unwrap();
    std::fs::rename(&file, dir.path().join("other")).unwrap();
    for denied in [
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)),
        std::os::unix::fs::chown(dir.path(), None, None),
        std::process::Command::new("/bin/true").status().map(drop),
        nix::sys::signal::kill(nix::unistd::getppid(), None).map_err(Into::into),
    ] {
        assert_eq!(denied.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();
    client.set_nonblocking(true).unwrap();
    listener.accept().unwrap();
    UdpSocket::bind("127.0.0.1:0").unwrap();
    UnixDatagram::pair().unwrap();
    ("localhost", 1).to_socket_addrs().unwrap();
    std::thread::available_parallelism().unwrap();
    for mode in [None, Some(crate::Protection::MemfdSecret), Some(crate::Protection::Mlock)] {
        crate::Arena::open(mode).unwrap().random(32).unwrap().with(|_| ()).unwrap();
    }
}
