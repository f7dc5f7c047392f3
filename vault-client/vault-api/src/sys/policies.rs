//! Policies and what they allow. `/system/policies`, `/system/capabilities`.

use crate::sensitive::expose_option;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// `GET sys/policies/acl/:name`. `/system/policies`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct AclPolicy {
    /// Lower-case.
    pub name: String,
    /// The document.
    pub policy: String,
}

/// `PUT sys/policies/acl/:name`. `/system/policies`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PolicyText {
    /// The document, HCL or JSON.
    pub policy: String,
}

/// `POST sys/capabilities`, `-self`, `-accessor`. `/system/capabilities`. The answer's `data` has
/// one list a path, and `capabilities` for the first.
#[derive(Debug, Default, Serialize)]
pub struct CapabilitiesRequest {
    /// The paths to ask about.
    pub paths: Vec<String>,
    /// For `sys/capabilities`.
    #[serde(serialize_with = "expose_option", skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretString>,
    /// For `sys/capabilities-accessor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accessor: Option<String>,
}
