//! The gateway behind a listener: its own, or below `/v1/gateway/proxy/` on the API's.

use crate::codec::Api;
use crate::codec::answer::Answer;
use crate::config::MetricsAccess;
use crate::listener::Handler;
use crate::server::GATEWAY_MOUNT;
use async_trait::async_trait;
use http::{Method, Request, Response, Uri};
use std::sync::Arc;
use vault_gateway::Gateway;
use vault_logical::Connection;

/// The server's own answers on the gateway's listener, and what they are in the API: for a load
/// balancer and for Prometheus. No service has a name that begins with a dot.
const OWN: [(&str, &str); 2] =
    [("/.vaultd/health", "/v1/sys/health"), ("/.vaultd/metrics", "/v1/sys/metrics")];

/// The gateway's own listener: `ANY /<service>/<path>`.
pub struct DataPlane {
    pub gateway: Arc<Gateway>,
    /// Answers [`OWN`] and nothing else.
    pub api: Api,
    /// Anything but `Open`: there are none.
    pub metrics: MetricsAccess,
}

impl DataPlane {
    /// What `uri` is in the API, where it is one of the server's own.
    fn own(&self, uri: &Uri) -> Option<Uri> {
        let (_, api) = OWN.iter().find(|(path, _)| *path == uri.path())?;
        if api.ends_with("metrics") && self.metrics != MetricsAccess::Open {
            return None;
        }
        uri.query().map_or_else(|| api.parse(), |q| format!("{api}?{q}").parse()).ok()
    }
}

#[async_trait]
impl Handler for DataPlane {
    async fn handle(
        &self,
        mut request: Request<hyper::body::Incoming>,
        connection: &Connection,
    ) -> Response<Answer> {
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        if let Some(api) = self.own(request.uri()).filter(|_| read) {
            *request.uri_mut() = api;
            return self.api.serve(request, connection).await;
        }
        self.gateway.serve(request, "", connection).await.map(Answer::Stream)
    }
}

/// The API's listener: the API, but for the data plane's paths.
pub struct ApiOrGateway {
    pub api: Api,
    pub gateway: Arc<Gateway>,
}

#[async_trait]
impl Handler for ApiOrGateway {
    async fn handle(
        &self,
        request: Request<hyper::body::Incoming>,
        connection: &Connection,
    ) -> Response<Answer> {
        let prefix = format!("/v1/{GATEWAY_MOUNT}proxy");
        let below = request.uri().path().strip_prefix(&prefix).is_some_and(|rest| rest.starts_with('/'));
        if below {
            return self.gateway.serve(request, &prefix, connection).await.map(Answer::Stream);
        }
        self.api.serve(request, connection).await
    }
}
