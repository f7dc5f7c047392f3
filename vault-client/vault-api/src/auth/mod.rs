//! Login methods. `/auth`.

pub mod jwt;
pub mod token;
