//! Worker threads: a single-threaded runtime each, with its share of every listener.

use super::Handler;
use super::connection::{self, Service};
use super::registry::{Epoch, Registry};
use super::socket::{BoundSockets, ListenError};
use crate::config::Timeouts;
use crate::limits as l;
use crate::tls::ServerTls;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use vault_logical::{Connection, Transport};

/// Stack a worker wipes below itself when the vault seals.
const WORKER_WIPE_BYTES: usize = 256 * 1024;

/// A bound listener and what serves it.
pub struct Listener {
    pub sockets: BoundSockets,
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
    Tcp { socket: std::net::TcpListener, tls: Option<Arc<ServerTls>>, service: Service },
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
        let mut shares: Vec<Vec<Share>> = (0..workers).map(|_| Vec::new()).collect();
        for Listener { sockets, tls, handler, timeouts } in listeners {
            let service = Service { handler, timeouts };
            match sockets {
                BoundSockets::Tcp { sockets, .. } => {
                    for (n, socket) in sockets.into_iter().enumerate() {
                        let share = Share::Tcp { socket, tls: tls.clone(), service: service.clone() };
                        // More sockets than workers: the extra ones go round, never unserved.
                        if let Some(slot) = shares.get_mut(n % workers) {
                            slot.push(share);
                        }
                    }
                }
                BoundSockets::Unix { path, socket } => {
                    server.unix_paths.push(path);
                    if let Some(slot) = shares.first_mut() {
                        slot.push(Share::Unix { socket, service });
                    }
                }
            }
        }
        for (n, share) in shares.into_iter().enumerate() {
            let (registry, finish) = (server.registry.clone(), server.finish.subscribe());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(l::MAX_BLOCKING_THREADS)
                .build()
                .map_err(ListenError::Worker)?;
            let thread = std::thread::Builder::new()
                .name(format!("http-{n}"))
                .spawn(move || runtime.block_on(run(share, registry, finish)))
                .map_err(ListenError::Worker)?;
            server.threads.push(thread);
        }
        Ok(server)
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
            Share::Tcp { socket, tls, service } => match TcpListener::from_std(socket) {
                Ok(socket) => drop(tokio::spawn(accept_tcp(socket, tls, service, registry.clone()))),
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

async fn accept_tcp(socket: TcpListener, tls: Option<Arc<ServerTls>>, service: Service, registry: Registry) {
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
        let Some(admitted) = registry.admit(Some(remote.ip())) else { continue };
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
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(l::ACCEPT_PAUSE).await;
            continue;
        };
        let Some(admitted) = registry.admit(None) else { continue };
        let peer = Connection { transport: Transport::Unix, remote: None };
        tokio::spawn(connection::serve_http1(stream, admitted, peer, service.clone()));
    }
}
