//! A request as an engine receives it: authenticated, authorised and audited.

use crate::{Caller, Connection, Operation};
use std::sync::Arc;

/// Fields of a request or response: JSON object, keys sorted.
pub type Data = serde_json::Map<String, serde_json::Value>;

/// The UUID in `request_id`.
pub type RequestId = uuid::Uuid;

/// One call to one mount.
pub struct Request {
    pub id: RequestId,
    pub operation: Operation,
    /// Path below the mount, canonical, no leading slash; LIST paths end in `/` or are empty.
    pub path: String,
    /// Body fields and, for GET/LIST/DELETE, query parameters.
    pub data: Data,
    /// `None` on unauthenticated paths.
    pub caller: Option<Arc<Caller>>,
    pub connection: Connection,
    /// Set for PATCH with `application/merge-patch+json`.
    pub merge_patch: bool,
}

impl std::fmt::Debug for Request {
    // Field values are secrets: names only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("id", &self.id)
            .field("operation", &self.operation)
            .field("path", &self.path)
            .field("data", &self.data.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
