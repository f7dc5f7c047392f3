//! How a connection to an upstream is made: resolved once, every address checked, pinned to what
//! was checked.

use super::Pools;
use crate::limits::{CONNECT_DEADLINE, MAX_ADDRESSES};
use crate::stand_in::{Replacing, StandIn};
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Connects to the host of a URI after checking what its name resolves to.
#[derive(Clone)]
pub struct Connector {
    pub(super) tls: Arc<ClientConfig>,
    pub(super) allow_private: bool,
    pub(super) sockets: Arc<Semaphore>,
    pub(super) pools: Weak<Pools>,
    /// What the head holds instead of the key.
    pub(super) stand_in: Option<Arc<StandIn>>,
    /// Set when the upstream turns out not to speak HTTP/2.
    pub(super) only_http1: Arc<AtomicBool>,
}

/// Why there is no connection, by the step that failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the upstream names no host")]
    NoHost,
    #[error("the name {0} could not be resolved")]
    Resolve(String, #[source] std::io::Error),
    #[error("the name {0} has no address")]
    NoAddress(String),
    /// The name resolves to an address that is not public.
    #[error("address refused: {0} resolves to {1}, which is not public, without \"allow_private\"")]
    Refused(String, IpAddr),
    #[error("no TCP connection to {0}")]
    Tcp(SocketAddr, #[source] std::io::Error),
    #[error("no room for another connection to an upstream")]
    NoPlace,
    #[error("the TLS handshake failed")]
    Tls(#[source] std::io::Error),
    #[error("not done within {CONNECT_DEADLINE:?}: {0}")]
    Timeout(&'static str),
}

impl ConnectError {
    /// The step that failed: `resolve`, `address`, `connect` or `tls`.
    pub fn phase(&self) -> &'static str {
        match self {
            ConnectError::NoHost | ConnectError::Resolve(..) | ConnectError::NoAddress(_) => RESOLVE,
            ConnectError::Refused(..) => "address",
            ConnectError::Tcp(..) | ConnectError::NoPlace => TCP,
            ConnectError::Tls(_) => TLS,
            ConnectError::Timeout(phase) => phase,
        }
    }
}

const RESOLVE: &str = "resolve";
const TCP: &str = "connect";
const TLS: &str = "tls";

impl tower_service::Service<Uri> for Connector {
    type Response = Replacing<UpstreamStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (stand_in, only_http1) = (this.stand_in.clone(), this.only_http1.clone());
            let stream = this.connect(&Place::of(&uri)?).await?;
            if !stream.is_h2() {
                only_http1.store(true, Ordering::Relaxed);
            }
            Ok(Replacing::new(stream, stand_in))
        })
    }
}

/// Where an upstream is, by name.
pub struct Place {
    host: String,
    port: u16,
    secure: bool,
}

impl Place {
    pub fn of(uri: &Uri) -> Result<Place, ConnectError> {
        let host = uri.host().ok_or(ConnectError::NoHost)?;
        let secure = uri.scheme_str() == Some("https");
        Ok(Place {
            host: host.trim_start_matches('[').trim_end_matches(']').to_string(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            secure,
        })
    }

    /// True for `https`.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// `host:port`, an IPv6 address in brackets.
    pub fn authority(&self) -> String {
        let bracket = self.host.contains(':');
        if bracket {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// `scheme://host:port`
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.authority())
    }
}

/// A TCP connection and its room among all of them.
pub struct Dialled {
    tcp: TcpStream,
    room: OwnedSemaphorePermit,
}

impl Dialled {
    /// Without TLS.
    pub fn plain(self) -> UpstreamStream {
        UpstreamStream::Plain { io: TokioIo::new(self.tcp), _place: self.room }
    }

    /// Where it leads to.
    pub fn peer(&self) -> String {
        self.tcp.peer_addr().map_or_else(|_| "connected".into(), |a| a.to_string())
    }
}

/// One step of a connection, within what is left of the time for all of them.
async fn in_time<T>(
    until: Instant,
    phase: &'static str,
    step: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    tokio::time::timeout_at(until, step).await.map_err(|_| ConnectError::Timeout(phase))?
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
    async fn room(&self) -> Result<OwnedSemaphorePermit, ConnectError> {
        if let Ok(place) = self.sockets.clone().try_acquire_owned() {
            return Ok(place);
        }
        if let Some(pools) = self.pools.upgrade() {
            let idle = std::mem::take(&mut *pools.lock());
            drop(idle);
        }
        self.sockets.clone().acquire_owned().await.map_err(|_| ConnectError::NoPlace)
    }

    async fn connect(self, place: &Place) -> Result<UpstreamStream, ConnectError> {
        let until = Instant::now() + CONNECT_DEADLINE;
        let found = self.resolve(place, until).await?;
        self.check(place, &found)?;
        let dialled = self.tcp(place, &found, until).await?;
        if place.secure { self.tls(place, dialled, until).await } else { Ok(dialled.plain()) }
    }

    /// The addresses of the name, the first [`MAX_ADDRESSES`].
    pub async fn resolve(&self, place: &Place, until: Instant) -> Result<Vec<SocketAddr>, ConnectError> {
        let look = async {
            let found = tokio::net::lookup_host((place.host.as_str(), place.port)).await;
            let found = found.map_err(|e| ConnectError::Resolve(place.host.clone(), e))?;
            Ok(found.take(MAX_ADDRESSES).collect())
        };
        in_time(until, RESOLVE, look).await
    }

    /// One bad answer spoils all: a name that mixes them is being used to get inside.
    pub fn check(&self, place: &Place, found: &[SocketAddr]) -> Result<(), ConnectError> {
        match found.iter().find(|a| !self.permits(&place.host, place.secure, a.ip())) {
            Some(bad) => Err(ConnectError::Refused(place.host.clone(), bad.ip())),
            None => Ok(()),
        }
    }

    /// To the first of the checked addresses that answers.
    pub async fn tcp(
        &self,
        place: &Place,
        found: &[SocketAddr],
        until: Instant,
    ) -> Result<Dialled, ConnectError> {
        let dial = async {
            let room = self.room().await?;
            let mut last = ConnectError::NoAddress(place.host.clone());
            for address in found {
                match TcpStream::connect(address).await {
                    Ok(tcp) => {
                        let _ = tcp.set_nodelay(true);
                        return Ok(Dialled { tcp, room });
                    }
                    Err(e) => last = ConnectError::Tcp(*address, e),
                }
            }
            Err(last)
        };
        in_time(until, TCP, dial).await
    }

    /// The handshake, for the name that was asked for.
    pub async fn tls(
        &self,
        place: &Place,
        dialled: Dialled,
        until: Instant,
    ) -> Result<UpstreamStream, ConnectError> {
        let Dialled { tcp, room } = dialled;
        let handshake = async {
            let name = ServerName::try_from(place.host.clone()).map_err(|_| ConnectError::NoHost)?;
            let stream = TlsConnector::from(self.tls.clone()).connect(name, tcp).await;
            let stream = stream.map_err(ConnectError::Tls)?;
            Ok(UpstreamStream::Tls { io: Box::new(TokioIo::new(stream)), _place: room })
        };
        in_time(until, TLS, handshake).await
    }
}

/// A connection to an upstream, and its place among all of them.
pub enum UpstreamStream {
    Plain { io: TokioIo<TcpStream>, _place: OwnedSemaphorePermit },
    Tls { io: Box<TokioIo<TlsStream<TcpStream>>>, _place: OwnedSemaphorePermit },
}

impl UpstreamStream {
    /// True when the handshake agreed on HTTP/2.
    pub fn is_h2(&self) -> bool {
        matches!(self, UpstreamStream::Tls { io, .. } if io.inner().get_ref().1.alpn_protocol() == Some(b"h2"))
    }
}

impl Connection for Replacing<UpstreamStream> {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.inner().is_h2() {
            return connected.negotiated_h2();
        }
        if self.is_bare() {
            // The key itself is in the head: the connection ends with the call, and its buffers with it.
            connected.poison();
        }
        connected
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
    use super::super::Upstreams;
    use super::*;
    use rustls::RootCertStore;

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
            stand_in: None,
            only_http1: Arc::default(),
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

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_and_named() {
        let upstreams = Upstreams::new(Arc::new(RootCertStore::empty()), 1);
        let service = crate::head::tests::service();
        let connector = upstreams.connector(&service).unwrap();
        let refused = connector.connect(&Place::of(&"https://localhost:1".parse().unwrap()).unwrap()).await;
        let e = refused.err().unwrap();
        assert!(matches!(e, ConnectError::Refused(..)) && e.phase() == "address");
        assert!(e.to_string().contains("localhost resolves to"), "{e}");
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
