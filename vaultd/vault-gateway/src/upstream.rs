//! Connections to upstreams, pooled by service, credential and TLS configuration.

mod connect;

pub use connect::{ConnectError, Connector, Place, UpstreamStream, is_public};

use crate::body::BoxError;
use crate::error::{Code, GatewayError};
use crate::limits::{MAX_IDLE_PER_POOL, MAX_POOLS, MAX_RESPONSE_HEAD, UPSTREAM_IDLE};
use crate::pin::{self, TrustError};
use crate::stand_in::StandIn;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioTimer;
use parking_lot::Mutex;
use rustls::RootCertStore;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::{Semaphore, watch};
use vault_logical::{CredentialHandle, ServiceConfig};

pub type UpstreamBody = UnsyncBoxBody<Bytes, BoxError>;
pub type UpstreamClient = Client<Connector, UpstreamBody>;

/// How to reach an upstream.
pub struct Way {
    pub client: UpstreamClient,
    /// What the head must hold instead of the key; without one the key itself.
    pub stand_in: Option<Arc<StandIn>>,
}

/// What tells two pools apart: a connection made for one credential is never used for another.
#[derive(Clone, PartialEq, Eq, Hash)]
struct PoolKey {
    mount: String,
    service: String,
    epoch: (u64, u64),
}

/// The connections of one service with one key: `any` until the upstream turns out to speak
/// HTTP/1.1 only, or for good.
struct Pool {
    upstream: String,
    /// The key is in the head: HTTP/2, and the one call by which HTTP/1.1 is found out, whose
    /// connection is closed after it.
    any: UpstreamClient,
    only_http1: Arc<AtomicBool>,
    /// A stand-in is in the head, and idle connections do not hold the key.
    http1: Option<(UpstreamClient, Arc<StandIn>)>,
    made: u64,
}

/// What there is of a pool.
struct Found {
    any: UpstreamClient,
    only_http1: bool,
    http1: Option<(UpstreamClient, Arc<StandIn>)>,
}

type Pools = Mutex<HashMap<PoolKey, Pool>>;

/// Runs what moves a pool's connections until the vault seals: then their buffers, which may hold
/// the key, go at once, even where an upstream has stopped reading or a caller stopped sending.
#[derive(Clone)]
struct UntilClosed(watch::Receiver<u64>);

impl<F> hyper::rt::Executor<F> for UntilClosed
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, task: F) {
        let mut closing = self.0.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = task => {}
                _ = closing.changed() => {}
            }
        });
    }
}

/// Every upstream's pool of connections.
pub struct Upstreams {
    system_roots: Arc<RootCertStore>,
    pools: Arc<Pools>,
    sockets: Arc<Semaphore>,
    made: AtomicU64,
    closing: watch::Sender<u64>,
}

impl Upstreams {
    /// At most `sockets` connections at once, in use or idle.
    pub fn new(system_roots: Arc<RootCertStore>, sockets: usize) -> Self {
        let sockets = Arc::new(Semaphore::new(sockets.min(Semaphore::MAX_PERMITS)));
        Upstreams {
            system_roots,
            pools: Arc::default(),
            sockets,
            made: Default::default(),
            closing: watch::Sender::new(0),
        }
    }

    /// The way to a service's upstream in its present configuration, for a call with `credential`.
    pub fn way(
        &self,
        mount: &str,
        name: &str,
        epoch: (u64, u64),
        service: &ServiceConfig,
        credential: &CredentialHandle,
    ) -> Result<Way, GatewayError> {
        let key = PoolKey { mount: mount.into(), service: name.into(), epoch };
        let found = self.pool(&key, service).map_err(untrusted)?;
        if !found.only_http1 {
            return Ok(Way { client: found.any, stand_in: None });
        }
        if let Some((client, stand_in)) = found.http1
            && stand_in.is_for(credential)
        {
            return Ok(Way { client, stand_in: Some(stand_in) });
        }
        let stand_in = StandIn::new(credential).map_err(|_| Code::Internal)?;
        let client = self.build(service, Some(stand_in.clone()), Arc::default()).map_err(untrusted)?;
        if let Some(pool) = self.pools.lock().get_mut(&key) {
            pool.http1 = Some((client.clone(), stand_in.clone()));
        }
        Ok(Way { client, stand_in: Some(stand_in) })
    }

    fn pool(&self, key: &PoolKey, service: &ServiceConfig) -> Result<Found, TrustError> {
        let mut pools = self.pools.lock();
        if let Some(pool) = pools.get(key) {
            let only_http1 = pool.only_http1.load(Ordering::Relaxed);
            return Ok(Found { any: pool.any.clone(), only_http1, http1: pool.http1.clone() });
        }
        // What the upstream speaks is no part of the configuration.
        let of_service = |k: &PoolKey| k.mount == key.mount && k.service == key.service;
        let plain = service.upstream.starts_with("http://");
        let known = pools.iter().any(|(k, pool)| {
            of_service(k) && pool.upstream == service.upstream && pool.only_http1.load(Ordering::Relaxed)
        });
        // An older configuration of the same service is never used again.
        pools.retain(|k, _| !of_service(k));
        if pools.len() >= MAX_POOLS
            && let Some(oldest) = pools.iter().min_by_key(|(_, pool)| pool.made).map(|(k, _)| k.clone())
        {
            pools.remove(&oldest);
        }
        // Without TLS nothing can be agreed on.
        let only_http1 = Arc::new(AtomicBool::new(plain || known));
        let any = self.build(service, None, only_http1.clone())?;
        let made = self.made.fetch_add(1, Ordering::Relaxed);
        let upstream = service.upstream.clone();
        pools.insert(key.clone(), Pool { upstream, any: any.clone(), only_http1, http1: None, made });
        Ok(Found { any, only_http1: plain || known, http1: None })
    }

    /// Services that have a pool.
    pub fn count(&self) -> usize {
        self.pools.lock().len()
    }

    /// Connections that could be made now.
    pub fn free(&self) -> usize {
        self.sockets.available_permits()
    }

    /// Drops every pool and every connection, idle or not.
    pub fn close(&self) {
        self.closing.send_modify(|n| *n += 1);
        self.pools.lock().clear();
    }

    fn build(
        &self,
        service: &ServiceConfig,
        stand_in: Option<Arc<StandIn>>,
        only_http1: Arc<AtomicBool>,
    ) -> Result<UpstreamClient, TrustError> {
        Ok(Client::builder(UntilClosed(self.closing.subscribe()))
            .pool_idle_timeout(UPSTREAM_IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_max_idle_per_host(MAX_IDLE_PER_POOL)
            .http1_max_buf_size(MAX_RESPONSE_HEAD)
            .http2_header_table_size(0)
            .retry_canceled_requests(false)
            .set_host(true)
            .build(self.connecting(service, stand_in, only_http1)?))
    }

    /// What connects to a service's upstream and to no other.
    pub fn connector(&self, service: &ServiceConfig) -> Result<Connector, TrustError> {
        self.connecting(service, None, Arc::default())
    }

    fn connecting(
        &self,
        service: &ServiceConfig,
        stand_in: Option<Arc<StandIn>>,
        only_http1: Arc<AtomicBool>,
    ) -> Result<Connector, TrustError> {
        let mut tls = pin::client_config(&self.system_roots, service.ca_cert.as_deref())?;
        // A stand-in can be replaced in text only, not in HTTP/2's compressed heads.
        tls.alpn_protocols = match &stand_in {
            None => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Some(_) => vec![b"http/1.1".to_vec()],
        };
        Ok(Connector {
            tls: Arc::new(tls),
            allow_private: service.allow_private,
            sockets: self.sockets.clone(),
            pools: Arc::downgrade(&self.pools),
            stand_in,
            only_http1,
        })
    }
}

fn untrusted(e: TrustError) -> GatewayError {
    GatewayError::caused(Code::UpstreamInvalid, "ca_cert", e)
}
