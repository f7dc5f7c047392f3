//! The vault without its network: seal, request pipeline, tokens, policies, audit, mounts, sys.

pub mod audit;
pub mod exchange;
pub mod limits;
pub mod policy;
pub mod token;
