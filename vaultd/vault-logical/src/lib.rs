//! The contract between the vault core and what is mounted in it.
//!
//! An engine sees a [`Request`], a [`View`] of its own storage prefix and a
//! [`Clock`]; it never sees the core, the store, a socket or a TLS session.
//! Everything an engine may do to the world is in this crate, so what is not
//! here an engine cannot do.

mod caller;
mod clock;
pub mod der;
mod dispatch;
mod egress;
mod engine;
mod error;
pub mod field;
mod gate;
pub mod header;
pub mod limits;
mod name;
mod operation;
pub mod path;
pub mod provider_key;
mod request;
mod response;
mod view;

pub use caller::{Caller, Connection, TokenKind, Transport};
pub use clock::{Clock, SystemClock, Timestamp};
pub use dispatch::{
    AllowRule, Binding, CREDENTIAL_REJECTED, Call, CallerAuth, CallerAuthKind, CallerCredential, Completion,
    CredentialHandle, Dispatch, Grant, InvokeGuard, Outcome, Over, ProbeCall, ProbeOutcome, ProbeStep,
    RateLimit, RefusedCall, ServiceConfig,
};
pub use egress::{Egress, EgressRequest, EgressResponse};
pub use engine::{
    AuthMethod, Charge, Context, Descriptor, Engine, EngineKind, Factory, Mount, MountConfig, PathHelp,
    SecretReader,
};
pub use error::{Error, ErrorKind, Result, chain};
pub use gate::LogGate;
pub use name::PathName;
pub use operation::Operation;
pub use request::{Data, Request, RequestId};
pub use response::{Auth, RawBody, Response};
pub use view::{Entry, View, ViewExt};
