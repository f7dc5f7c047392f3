//! Worker threads: a single-threaded runtime each, with its share of the listeners.
//!
//! The API and the gateway have workers of their own, so that a burst of gateway calls is
//! scheduled beside the API's requests, not before them; and the operator's socket has a thread
//! that serves nothing else.

use super::Handler;
use super::connection::{self, Service};
use super::registry::{Door, Epoch, Registry};
use super::socket::{BoundSockets, ListenError};
use crate::config::Timeouts;
use crate::limits as l;
use crate::tls::ServerTls;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use storage::descriptors;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::watch;
use vault_logical::{Connection, Transport};

/// Stack a worker wipes below itself when the vault seals.
const WORKER_WIPE_BYTES: usize = 256 * 1024;

/// A bound listener and what serves it.
pub struct Listener {
    pub sockets: BoundSockets,
    /// Whose places its TCP connections take, and whose threads serve them.
    pub door: Door,
    /// `None`: plain HTTP.
    pub tls: Option<Arc<ServerTls>>,
    pub handler: Arc<dyn Handler>,
    pub timeouts: Timeouts,
}

/// Running listeners.
pub struct Server {
    registry: Registry,
    finish: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
    addresses: Vec<SocketAddr>,
    unix_paths: Vec<PathBuf>,
}

/// One worker's share of one listener.
enum Share {
    Tcp { socket: std::net::TcpListener, door: Door, tls: Option<Arc<ServerTls>>, service: Service },
    Unix { socket: std::os::unix::net::UnixListener, service: Service },
}

impl Server {
    /// Starts `workers` threads that serve `listeners`.
    pub fn start(
        listeners: Vec<Listener>,
        registry: Registry,
        workers: usize,
    ) -> Result<Server, ListenError> {
        let workers = workers.clamp(1, l::MAX_WORKERS);
        let addresses = listeners.iter().filter_map(|x| x.sockets.address()).collect();
        let (finish, _) = watch::channel(false);
        let mut server = Server { registry, finish, threads: Vec::new(), addresses, unix_paths: Vec::new() };
        let crew = || -> Vec<Vec<Share>> { (0..workers).map(|_| Vec::new()).collect() };
        let (mut api, mut gateway, mut operator) = (crew(), crew(), Vec::new());
        for Listener { sockets, door, tls, handler, timeouts } in listeners {
            let service = Service { handler, timeouts };
            match sockets {
                BoundSockets::Tcp { sockets, .. } => {
                    let crew = if door == Door::Gateway { &mut gateway } else { &mut api };
                    for (n, socket) in sockets.into_iter().enumerate() {
                        let share = Share::Tcp { socket, door, tls: tls.clone(), service: service.clone() };
                        // More sockets than workers: the extra ones go round, never unserved.
                        if let Some(slot) = crew.get_mut(n % workers) {
                            slot.push(share);
                        }
                    }
                }
                BoundSockets::Unix { path, socket } => {
                    server.unix_paths.push(path);
                    operator.push(Share::Unix { socket, service });
                }
            }
        }
        for (n, share) in api.into_iter().enumerate() {
            server.employ(format!("http-{n}"), share)?;
        }
        for (n, share) in gateway.into_iter().enumerate() {
            server.employ(format!("gateway-{n}"), share)?;
        }
        server.employ("operator".to_owned(), operator)?;
        Ok(server)
    }

    /// Starts a worker; none is needed where nothing is to be served.
    fn employ(&mut self, name: String, share: Vec<Share>) -> Result<(), ListenError> {
        if share.is_empty() {
            return Ok(());
        }
        let (registry, finish) = (self.registry.clone(), self.finish.subscribe());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(l::MAX_BLOCKING_THREADS)
            .build()
            .map_err(ListenError::Worker)?;
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || runtime.block_on(run(share, registry, finish)))
            .map_err(ListenError::Worker)?;
        self.threads.push(thread);
        Ok(())
    }

    /// TCP addresses in use, in the order of the listeners.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Stops: no new connections, requests in flight may finish within `drain`, then the
    /// threads end. `true` when nothing had to be cut.
    pub async fn stop(self, drain: Duration) -> bool {
        self.registry.stop();
        let clean = self.registry.drained(drain).await;
        self.finish.send_replace(true);
        for thread in self.threads {
            // Ends at once: the runtimes only drop what is left.
            if thread.join().is_err() {
                tracing::error!("a worker thread ended in a panic");
            }
        }
        for path in &self.unix_paths {
            let _ = std::fs::remove_file(path);
        }
        clean
    }
}

async fn run(shares: Vec<Share>, registry: Registry, mut finish: watch::Receiver<bool>) {
    for share in shares {
        match share {
            Share::Tcp { socket, door, tls, service } => match TcpListener::from_std(socket) {
                Ok(socket) => drop(tokio::spawn(accept_tcp(socket, door, tls, service, registry.clone()))),
                Err(e) => tracing::error!(error = %e, "a listening socket cannot be used"),
            },
            Share::Unix { socket, service } => match UnixListener::from_std(socket) {
                Ok(socket) => drop(tokio::spawn(accept_unix(socket, service, registry.clone()))),
                Err(e) => tracing::error!(error = %e, "a listening socket cannot be used"),
            },
        }
    }
    let mut epoch = registry.epoch();
    loop {
        tokio::select! {
            _ = finish.wait_for(|end| *end) => return,
            changed = epoch.changed() => {
                if changed.is_err() {
                    return;
                }
                // Request handling ran on this stack.
                secmem::stack::wipe_below(WORKER_WIPE_BYTES);
            }
        }
    }
}

/// Ends when the daemon stops accepting.
async fn stopping(epoch: &mut watch::Receiver<Epoch>) {
    let _ = epoch.wait_for(|e| e.stopping).await;
}

async fn accept_tcp(
    socket: TcpListener,
    door: Door,
    tls: Option<Arc<ServerTls>>,
    service: Service,
    registry: Registry,
) {
    let mut epoch = registry.epoch();
    loop {
        let accepted = tokio::select! {
            () = stopping(&mut epoch) => return,
            accepted = socket.accept() => accepted,
        };
        let Ok((stream, remote)) = accepted else {
            tokio::time::sleep(l::ACCEPT_PAUSE).await;
            continue;
        };
        // At a cap the socket is dropped: a clean close.
        let Some(admitted) = registry.admit(door, Some(remote.ip())) else { continue };
        let _ = stream.set_nodelay(true);
        let service = service.clone();
        match &tls {
            Some(tls) => {
                let peer = Connection { transport: Transport::Tls, remote: Some(remote) };
                tokio::spawn(connection::serve_tls(stream, tls.acceptor(), admitted, peer, service));
            }
            None => {
                let peer = Connection { transport: Transport::Plain, remote: Some(remote) };
                tokio::spawn(connection::serve_http1(stream, admitted, peer, service));
            }
        }
    }
}

async fn accept_unix(socket: UnixListener, service: Service, registry: Registry) {
    let mut epoch = registry.epoch();
    loop {
        let accepted = tokio::select! {
            () = stopping(&mut epoch) => return,
            accepted = socket.accept() => accepted,
        };
        let (stream, lent) = match accepted {
            Ok((stream, _)) => (stream, Vec::new()),
            // The operator gets in even where there are none left: some are held back for it.
            Err(e) if descriptors::exhausted(&e) => match accept_with_reserve(&socket).await {
                Some(accepted) => accepted,
                None => continue,
            },
            Err(_) => {
                tokio::time::sleep(l::ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(admitted) = registry.admit(Door::Unix, None) else { continue };
        let peer = Connection { transport: Transport::Unix, remote: None };
        let served = connection::serve_http1(stream, admitted, peer, service.clone());
        tokio::spawn(async move {
            served.await;
            // Taken back into the reserve once the connection's own is free again.
            drop(lent);
        });
    }
}

/// Accepts with descriptors out of the reserve. Another thread may take one that was given up, so
/// several are tried.
async fn accept_with_reserve(socket: &UnixListener) -> Option<(UnixStream, Vec<descriptors::Lent>)> {
    let mut lent = Vec::new();
    for _ in 0..l::ACCEPT_TRIES {
        lent.push(descriptors::lend());
        match tokio::time::timeout(l::ACCEPT_PAUSE, socket.accept()).await {
            Ok(Ok((stream, _))) => return Some((stream, lent)),
            // Whoever wanted in has gone.
            Err(_) => return None,
            Ok(Err(_)) => {}
        }
    }
    None
}
