//! Whole command lines against a server that answers by table.

mod gateway;
mod kv;
mod operator;
mod sys;
mod token;
mod totp;
mod world;
