//! Calls out of the daemon for engines (key sets of identity providers): plain GETs with checked
//! addresses, own deadlines, no redirects, and a cap on what comes back.

use crate::config::Network;
use crate::limits::{EGRESS_CONNECT_DEADLINE, EGRESS_DEADLINE, MAX_EGRESS_ADDRESSES, MAX_EGRESS_CALLS};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONNECTION, HOST, HeaderValue, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use vault_gateway::is_public;
use vault_logical::limits::MAX_EGRESS_BODY;
use vault_logical::{Egress, EgressRequest, EgressResponse, Error, ErrorKind, Result};

/// The system's trusted roots; unreadable ones are left out.
pub fn system_roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(roots)
}

/// Egress over HTTP/1.1.
pub struct HttpEgress {
    roots: Arc<RootCertStore>,
    allow: Vec<Network>,
    slots: Semaphore,
}

/// A URL, taken apart.
struct Target {
    secure: bool,
    host: String,
    port: u16,
    authority: String,
    path: String,
}

fn failed(what: &'static str) -> Error {
    Error::new(ErrorKind::Upstream, what)
}

impl HttpEgress {
    /// `allow`: networks that are not public but may be called.
    pub fn new(roots: Arc<RootCertStore>, allow: Vec<Network>) -> Self {
        HttpEgress { roots, allow, slots: Semaphore::new(MAX_EGRESS_CALLS) }
    }

    async fn fetch(&self, request: EgressRequest) -> Result<EgressResponse> {
        let target = Target::parse(&request.url)?;
        let connected = timeout(EGRESS_CONNECT_DEADLINE, self.connect(&target)).await;
        let tcp = connected.map_err(|_| failed("the server could not be reached in time"))??;
        if !target.secure {
            return exchange(tcp, &target).await;
        }
        let name = ServerName::try_from(target.host.clone())
            .map_err(|_| Error::invalid("the URL's host is not a name or an address"))?;
        let connector = TlsConnector::from(self.client_config(request.ca_pem.as_deref())?);
        let handshake = timeout(EGRESS_CONNECT_DEADLINE, connector.connect(name, tcp)).await;
        let stream = handshake
            .map_err(|_| failed("the TLS handshake took too long"))?
            .map_err(|e| failed("the TLS handshake failed").with_source(e))?;
        exchange(stream, &target).await
    }

    async fn connect(&self, target: &Target) -> Result<TcpStream> {
        let found: Vec<SocketAddr> = tokio::net::lookup_host((target.host.as_str(), target.port))
            .await
            .map_err(|e| failed("the server's name could not be resolved").with_source(e))?
            .take(MAX_EGRESS_ADDRESSES)
            .collect();
        // One address that is not allowed spoils all: a name that mixes them is used to get inside.
        if !found.iter().all(|a| self.permits(a.ip(), target.secure)) {
            return Err(Error::invalid("the URL leads to an address that is not public"));
        }
        let mut last = failed("the server's name has no address");
        for address in found {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(e) => last = failed("the server could not be reached").with_source(e),
            }
        }
        Err(last)
    }

    /// Public addresses, and those of `egress_allow`; without TLS only loopback ones of these.
    fn permits(&self, ip: IpAddr, secure: bool) -> bool {
        let ip = ip.to_canonical();
        let allowed = self.allow.iter().any(|n| n.contains(ip));
        match secure {
            true => allowed || is_public(ip),
            false => allowed && ip.is_loopback(),
        }
    }

    fn client_config(&self, ca_pem: Option<&str>) -> Result<Arc<ClientConfig>> {
        let config = vault_gateway::client_config(&self.roots, ca_pem)
            .map_err(|e| Error::invalid("the CA certificate cannot be used").with_source(e))?;
        Ok(Arc::new(config))
    }
}

#[async_trait]
impl Egress for HttpEgress {
    async fn get(&self, request: EgressRequest) -> Result<EgressResponse> {
        let busy = || Error::new(ErrorKind::Unavailable, "too many calls to other servers at once");
        let _slot = self.slots.try_acquire().map_err(|_| busy())?;
        let answer = timeout(EGRESS_DEADLINE, self.fetch(request)).await;
        answer.map_err(|_| failed("the server did not answer in time"))?
    }
}

impl Network {
    /// True when `ip` lies in this network. An IPv4 address never lies in an IPv6 network.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                same_prefix(u32::from(net).into(), u32::from(ip).into(), self.prefix, 32)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => same_prefix(net.into(), ip.into(), self.prefix, 128),
            _ => false,
        }
    }
}

fn same_prefix(a: u128, b: u128, prefix: u8, width: u8) -> bool {
    let rest = u32::from(width.saturating_sub(prefix));
    // A shift by the full width (prefix 0 of IPv6) leaves nothing to compare.
    (a ^ b).checked_shr(rest).unwrap_or(0) == 0
}

impl Target {
    fn parse(url: &str) -> Result<Target> {
        let bad = |what: &'static str| Error::invalid(what);
        let uri: Uri = url.parse().map_err(|_| bad("the URL is not valid"))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad("the URL must begin with https://")),
        };
        let authority = uri.authority().ok_or_else(|| bad("the URL has no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("the URL must not hold a user name"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Target { secure, host, port, authority: authority.to_string(), path })
    }
}

async fn exchange<S>(stream: S, target: &Target) -> Result<EgressResponse>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |e: hyper::Error| failed("the server's answer could not be read").with_source(e);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let host = HeaderValue::from_str(&target.authority)
        .map_err(|_| Error::invalid("the URL's host is not valid"))?;
    let request = Request::get(target.path.as_str())
        .header(HOST, host)
        .header(ACCEPT, "application/json")
        .header(ACCEPT_ENCODING, "identity")
        .header(USER_AGENT, concat!("vaultd/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(Error::internal)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_EGRESS_BODY)
            .collect()
            .await
            .map_err(|_| failed("the server's answer is too large or was cut"))?;
        Ok(EgressResponse { status, body: body.to_bytes().to_vec() })
    };
    // The connection only makes progress while it is polled; it ends with this call.
    tokio::pin!(connection);
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended.map_err(broken)?;
            answer.await
        }
    }
}

#[cfg(test)]
#[path = "egress_tests.rs"]
mod tests;
