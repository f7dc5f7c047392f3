//! Listening sockets, bound before anything else runs.

use crate::limits::LISTEN_BACKLOG;
use nix::sys::stat::{Mode, fchmod, umask};
use parking_lot::Mutex;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The mask belongs to the process.
static UMASK: Mutex<()> = Mutex::new(());

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    Tcp(SocketAddr),
    /// A unix socket for the operator, with its file mode.
    Unix {
        path: PathBuf,
        mode: u32,
    },
}

/// Why a listener cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {address}: {source}{}", hint(source))]
    Tcp { address: SocketAddr, source: io::Error },
    #[error("cannot listen on unix socket {}: {source}", path.display())]
    Unix { path: PathBuf, source: io::Error },
    #[error("cannot start a worker thread: {0}")]
    Worker(io::Error),
}

/// What to do about it, where that is known.
fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            "; another process listens there (`ss -ltnp` names it): stop it, or choose another port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; no interface of this machine has that address (`ip addr` lists them)"
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        _ => "",
    }
}

/// The sockets of one listener: one per worker for TCP, one in all for unix.
pub enum BoundSockets {
    Tcp { address: SocketAddr, sockets: Vec<std::net::TcpListener> },
    Unix { path: PathBuf, socket: std::os::unix::net::UnixListener },
}

impl BoundSockets {
    /// Binds `workers` sockets. Port 0 takes a free port, the same for all.
    pub fn bind(bind: &Bind, workers: usize) -> Result<Self, ListenError> {
        match bind {
            Bind::Tcp(address) => {
                let (address, sockets) = bind_tcp(*address, workers)
                    .map_err(|source| ListenError::Tcp { address: *address, source })?;
                Ok(BoundSockets::Tcp { address, sockets })
            }
            Bind::Unix { path, mode } => {
                let socket = bind_unix(path, *mode)
                    .map_err(|source| ListenError::Unix { path: path.clone(), source })?;
                Ok(BoundSockets::Unix { path: path.clone(), socket })
            }
        }
    }

    /// The TCP address in use, with the port that was taken for port 0.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            BoundSockets::Tcp { address, .. } => Some(*address),
            BoundSockets::Unix { .. } => None,
        }
    }
}

fn bind_tcp(address: SocketAddr, workers: usize) -> io::Result<(SocketAddr, Vec<std::net::TcpListener>)> {
    // First alone: with SO_REUSEPORT from the start, a second daemon on the same port would
    // silently take half of the connections.
    let probe = tcp_socket(address, false)?;
    let address = probe.local_addr()?.as_socket().unwrap_or(address);
    drop(probe);
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers.max(1) {
        let socket = tcp_socket(address, true)?;
        socket.listen(LISTEN_BACKLOG)?;
        sockets.push(socket.into());
    }
    Ok((address, sockets))
}

fn tcp_socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<std::os::unix::net::UnixListener> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Made with its mode, so that it holds from the first moment; the sandbox lets nobody change one
    // by name. The mask takes only bits of group and others: what other threads make meanwhile
    // states a mode of its own that has none of them.
    fchmod(&socket, Mode::from_bits_truncate(mode))?;
    {
        let _one_at_a_time = UMASK.lock();
        let before = umask(Mode::from_bits_truncate(!mode & 0o077));
        let bound = SockAddr::unix(path).and_then(|at| socket.bind(&at));
        umask(before);
        bound?;
    }
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// Removes the socket file of a daemon that is gone; a live one, or any other file, is an error.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the path is in use and not a socket"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        Err(_) => fs::remove_file(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_port_is_taken_once_and_by_all_workers() {
        let any = Bind::Tcp("127.0.0.1:0".parse().expect("address"));
        let bound = BoundSockets::bind(&any, 3).expect("bind");
        let address = bound.address().expect("tcp");
        let BoundSockets::Tcp { sockets, .. } = &bound else { panic!("tcp") };
        assert_eq!(sockets.len(), 3);
        assert!(sockets.iter().all(|s| s.local_addr().ok() == Some(address)));
        let second = BoundSockets::bind(&Bind::Tcp(address), 1);
        assert!(matches!(second, Err(ListenError::Tcp { .. })), "a second daemon must not share the port");
    }

    #[test]
    fn unix_sockets_are_private_and_only_stale_ones_are_replaced() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("vaultd.sock");
        let bind = Bind::Unix { path: path.clone(), mode: 0o600 };
        let bound = BoundSockets::bind(&bind, 2).expect("bind");
        assert_eq!(fs::metadata(&path).expect("socket").permissions().mode() & 0o777, 0o600);
        assert!(BoundSockets::bind(&bind, 1).is_err(), "somebody listens there");
        drop(bound);
        assert!(BoundSockets::bind(&bind, 1).is_ok(), "a stale socket is replaced");
        let file = dir.path().join("file");
        fs::write(&file, "data").expect("write");
        assert!(BoundSockets::bind(&Bind::Unix { path: file.clone(), mode: 0o600 }, 1).is_err());
        assert_eq!(fs::read(&file).expect("kept"), b"data");
    }
}
