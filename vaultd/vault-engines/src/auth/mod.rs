//! Auth methods.

pub(crate) mod jwt;
