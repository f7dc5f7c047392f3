//! The gateway behind a listener: its own, or below `/v1/gateway/proxy/` on the API's.

use crate::codec::Api;
use crate::codec::answer::Answer;
use crate::listener::Handler;
use crate::server::GATEWAY_MOUNT;
use async_trait::async_trait;
use http::{Request, Response};
use std::sync::Arc;
use vault_gateway::Gateway;
use vault_logical::Connection;

/// The gateway's own listener: `ANY /<service>/<path>`.
pub struct DataPlane {
    pub gateway: Arc<Gateway>,
}

#[async_trait]
impl Handler for DataPlane {
    async fn handle(
        &self,
        request: Request<hyper::body::Incoming>,
        connection: &Connection,
    ) -> Response<Answer> {
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
