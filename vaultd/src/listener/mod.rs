//! Sockets: accepting, TLS, HTTP/1.1 and HTTP/2 connections, their bounds and their end.
//!
//! One single-threaded runtime per core, each with sockets of its own on the same port
//! (`SO_REUSEPORT`), so that a request never changes threads between socket and answer.

mod connection;
mod followed;
mod frames;
mod heads;
mod registry;
mod socket;
mod worker;

use crate::codec::answer::Answer;
use async_trait::async_trait;
use http::{Request, Response};
use vault_logical::Connection;

pub use registry::{Cap, Caps, Connected, Door, Registry};
pub use socket::{Bind, BoundSockets, ListenError};
pub use worker::{Listener, Server};

/// What serves the requests of a listener: the API, or the gateway's data plane.
#[async_trait]
pub trait Handler: Send + Sync {
    async fn handle(
        &self,
        request: Request<hyper::body::Incoming>,
        connection: &Connection,
    ) -> Response<Answer>;
}

#[cfg(test)]
mod tests;
