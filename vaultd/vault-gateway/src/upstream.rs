//! Connections to upstreams: resolved once, every address checked, pinned to what was checked,
//! pooled by service, credential and TLS configuration.

use crate::body::BoxError;
use crate::error::Code;
use crate::limits::{
    CONNECT_DEADLINE, MAX_ADDRESSES, MAX_IDLE_PER_POOL, MAX_POOLS, MAX_RESPONSE_HEAD, UPSTREAM_IDLE,
};
use bytes::Bytes;
use http::Uri;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use vault_logical::ServiceConfig;

pub type UpstreamBody = UnsyncBoxBody<Bytes, BoxError>;
pub type UpstreamClient = Client<Connector, UpstreamBody>;

/// What tells two pools apart: a connection made for one credential is never used for another.
#[derive(Clone, PartialEq, Eq, Hash)]
struct PoolKey {
    mount: String,
    service: String,
    epoch: (u64, u64),
}

type Pools = Mutex<HashMap<PoolKey, (UpstreamClient, u64)>>;

/// Every upstream's pool of connections.
pub struct Upstreams {
    system_roots: Arc<RootCertStore>,
    pools: Arc<Pools>,
    sockets: Arc<Semaphore>,
    made: std::sync::atomic::AtomicU64,
}

impl Upstreams {
    /// At most `sockets` connections at once, in use or idle.
    pub fn new(system_roots: Arc<RootCertStore>, sockets: usize) -> Self {
        let sockets = Arc::new(Semaphore::new(sockets.min(Semaphore::MAX_PERMITS)));
        Upstreams { system_roots, pools: Arc::default(), sockets, made: Default::default() }
    }

    /// The client for a service in its present configuration.
    pub fn client(
        &self,
        mount: &str,
        name: &str,
        epoch: (u64, u64),
        service: &ServiceConfig,
    ) -> Result<UpstreamClient, Code> {
        let key = PoolKey { mount: mount.into(), service: name.into(), epoch };
        let mut pools = self.pools.lock();
        if let Some((client, _)) = pools.get(&key) {
            return Ok(client.clone());
        }
        // An older configuration of the same service is never used again.
        pools.retain(|k, _| k.mount != key.mount || k.service != key.service);
        if pools.len() >= MAX_POOLS
            && let Some(oldest) = pools.iter().min_by_key(|(_, (_, made))| *made).map(|(k, _)| k.clone())
        {
            pools.remove(&oldest);
        }
        let client = self.build(service)?;
        let made = self.made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        pools.insert(key, (client.clone(), made));
        Ok(client)
    }

    /// Connections that could be made now.
    #[cfg(test)]
    pub fn free(&self) -> usize {
        self.sockets.available_permits()
    }

    /// Drops every pool and with it every idle connection.
    pub fn close(&self) {
        self.pools.lock().clear();
    }

    fn build(&self, service: &ServiceConfig) -> Result<UpstreamClient, Code> {
        let roots = match &service.ca_cert {
            None => self.system_roots.clone(),
            Some(pem) => {
                let mut own = RootCertStore::empty();
                for cert in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    own.add(cert.map_err(|_| Code::UpstreamInvalid)?).map_err(|_| Code::UpstreamInvalid)?;
                }
                Arc::new(own)
            }
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| Code::Internal)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let connector = Connector {
            tls: Arc::new(tls),
            allow_private: service.allow_private,
            sockets: self.sockets.clone(),
            pools: Arc::downgrade(&self.pools),
        };
        Ok(Client::builder(TokioExecutor::new())
            .pool_idle_timeout(UPSTREAM_IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_max_idle_per_host(MAX_IDLE_PER_POOL)
            .http1_max_buf_size(MAX_RESPONSE_HEAD)
            .http2_header_table_size(0)
            .retry_canceled_requests(false)
            .set_host(true)
            .build(connector))
    }
}

/// Connects to the host of a URI after checking what its name resolves to.
#[derive(Clone)]
pub struct Connector {
    tls: Arc<ClientConfig>,
    allow_private: bool,
    sockets: Arc<Semaphore>,
    pools: Weak<Pools>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name resolves to an address that is not public.
    #[error("upstream address refused")]
    Refused,
    #[error("upstream unreachable: {0}")]
    Unreachable(String),
    #[error("upstream did not answer in time")]
    Timeout,
}

impl tower_service::Service<Uri> for Connector {
    type Response = UpstreamStream;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<UpstreamStream, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            tokio::time::timeout(CONNECT_DEADLINE, this.connect(uri))
                .await
                .map_err(|_| ConnectError::Timeout)?
        })
    }
}

impl Connector {
    /// Public addresses; others only where the service says so. `localhost`, which is the only name
    /// that may be called without TLS, leads to loopback whatever the resolver says.
    fn permits(&self, host: &str, secure: bool, ip: IpAddr) -> bool {
        if host.eq_ignore_ascii_case("localhost") || (!secure && host.parse::<IpAddr>().is_err()) {
            return self.allow_private && ip.to_canonical().is_loopback();
        }
        self.allow_private || is_public(ip)
    }

    /// A place for one more connection. When idle ones hold them all, these are closed.
    async fn place(&self) -> Result<OwnedSemaphorePermit, ConnectError> {
        if let Ok(place) = self.sockets.clone().try_acquire_owned() {
            return Ok(place);
        }
        if let Some(pools) = self.pools.upgrade() {
            let idle = std::mem::take(&mut *pools.lock());
            drop(idle);
        }
        let gone = |_| ConnectError::Unreachable("no place for another connection".into());
        self.sockets.clone().acquire_owned().await.map_err(gone)
    }

    async fn connect(self, uri: Uri) -> Result<UpstreamStream, ConnectError> {
        let unreachable = |e: &dyn std::fmt::Display| ConnectError::Unreachable(e.to_string());
        let host = uri
            .host()
            .ok_or(ConnectError::Refused)?
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_string();
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), port))
            .await
            .map_err(|e| unreachable(&e))?
            .take(MAX_ADDRESSES)
            .collect();
        // One bad answer spoils all: a name that mixes them is being used to get inside.
        if !found.iter().all(|a| self.permits(&host, secure, a.ip())) {
            return Err(ConnectError::Refused);
        }
        let place = self.place().await?;
        let mut last = ConnectError::Unreachable("no address".into());
        for address in found {
            match TcpStream::connect(address).await {
                Ok(tcp) => {
                    let _ = tcp.set_nodelay(true);
                    if !secure {
                        return Ok(UpstreamStream::Plain { io: TokioIo::new(tcp), _place: place });
                    }
                    let name = ServerName::try_from(host.clone()).map_err(|e| unreachable(&e))?;
                    let tls = TlsConnector::from(self.tls.clone());
                    let stream = tls.connect(name, tcp).await.map_err(|e| unreachable(&e))?;
                    return Ok(UpstreamStream::Tls { io: Box::new(TokioIo::new(stream)), _place: place });
                }
                Err(e) => last = unreachable(&e),
            }
        }
        Err(last)
    }
}

/// A connection to an upstream, and its place among all of them.
pub enum UpstreamStream {
    Plain { io: TokioIo<TcpStream>, _place: OwnedSemaphorePermit },
    Tls { io: Box<TokioIo<TlsStream<TcpStream>>>, _place: OwnedSemaphorePermit },
}

impl Connection for UpstreamStream {
    fn connected(&self) -> Connected {
        match self {
            UpstreamStream::Tls { io, .. } if io.inner().get_ref().1.alpn_protocol() == Some(b"h2") => {
                Connected::new().negotiated_h2()
            }
            _ => Connected::new(),
        }
    }
}

impl hyper::rt::Read for UpstreamStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            UpstreamStream::Plain { io: s, .. } => Pin::new(s).poll_read(cx, buf),
            UpstreamStream::Tls { io: s, .. } => Pin::new(&mut **s).poll_read(cx, buf),
        }
    }
}

impl hyper::rt::Write for UpstreamStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            UpstreamStream::Plain { io: s, .. } => Pin::new(s).poll_write(cx, buf),
            UpstreamStream::Tls { io: s, .. } => Pin::new(&mut **s).poll_write(cx, buf),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            UpstreamStream::Plain { io: s, .. } => Pin::new(s).poll_flush(cx),
            UpstreamStream::Tls { io: s, .. } => Pin::new(&mut **s).poll_flush(cx),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            UpstreamStream::Plain { io: s, .. } => Pin::new(s).poll_shutdown(cx),
            UpstreamStream::Tls { io: s, .. } => Pin::new(&mut **s).poll_shutdown(cx),
        }
    }
}

/// True for addresses of the public internet: the IANA special-purpose registries
/// (RFC 6890 and successors) name what is not, and an IPv6 form of an IPv4 address is judged as that.
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_broadcast()
        || ip.is_documentation()
        || ip.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (b == 18 || b == 19))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    let embedded = |hi: u16, lo: u16| is_public_v4(Ipv4Addr::from(u32::from(hi) << 16 | u32::from(lo)));
    match s {
        // NAT64, 6to4: judged by the address inside.
        [0x64, 0xff9b, 0, 0, 0, 0, hi, lo] => embedded(hi, lo),
        [0x64, 0xff9b, ..] => false,
        [0x2002, hi, lo, ..] => embedded(hi, lo),
        // Teredo, benchmarking, ORCHID, documentation.
        [0x2001, b, ..] if b < 0x200 => false,
        [0x2001, 0xdb8, ..] | [0x3fff, ..] => false,
        // Global unicast is 2000::/3; everything else is something special.
        [a, ..] => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a resolver says of `localhost` counts for nothing.
    #[test]
    fn localhost_is_loopback_and_a_literal_is_itself() {
        let upstreams = Upstreams::new(Arc::new(RootCertStore::empty()), 1);
        let connector = |allow_private| Connector {
            tls: Arc::new(
                ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                    .with_safe_default_protocol_versions()
                    .unwrap()
                    .with_root_certificates(RootCertStore::empty())
                    .with_no_client_auth(),
            ),
            allow_private,
            sockets: upstreams.sockets.clone(),
            pools: Weak::new(),
        };
        for (host, secure, ip, allow_private, want) in [
            ("localhost", false, "127.0.0.1", true, true),
            ("localhost", false, "::1", true, true),
            ("localhost", false, "10.0.0.1", true, false),
            ("localhost", false, "8.8.8.8", true, false),
            ("LOCALHOST", true, "8.8.8.8", true, false),
            ("localhost", false, "127.0.0.1", false, false),
            ("10.0.0.1", false, "10.0.0.1", true, true),
            ("other", false, "10.0.0.1", true, false),
            ("other", true, "10.0.0.1", true, true),
            ("other", true, "10.0.0.1", false, false),
            ("other", true, "8.8.8.8", false, true),
        ] {
            let got = connector(allow_private).permits(host, secure, ip.parse().unwrap());
            assert_eq!(got, want, "{host} {ip} secure={secure} allow_private={allow_private}");
        }
    }

    #[test]
    fn only_public_addresses() {
        for private in [
            "127.0.0.1",
            "127.8.9.1",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::",
            "2001::1",
            "2001:db8::1",
            "100::1",
            "::7f00:1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
