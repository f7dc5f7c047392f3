//! The data plane of the gateway: a caller's request in, the provider's key injected, the
//! provider's answer out. It reaches the vault only through [`vault_logical::Dispatch`], and it
//! holds a key only as a handle into locked memory, except in the one header that it sends.

mod body;
mod caller;
mod error;
mod head;
pub mod limits;
mod passes;
mod path;
mod pin;
mod probe;
mod rate;
mod redact;
mod report;
mod serve;
mod slots;
mod stand_in;
mod upstream;

pub use body::{BoxError, GatewayBody};
pub use error::{Code, GatewayError};
pub use pin::client_config;
pub use serve::{Figures, Gateway, Settings};
pub use slots::CallCaps;
pub use upstream::is_public;
