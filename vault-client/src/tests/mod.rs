//! The client against a real TLS server in this process.

mod background;
mod engines;
mod server;
mod transport;
mod typed;
