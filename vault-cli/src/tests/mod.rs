//! Whole command lines against a server that answers by table.

mod kv;
mod operator;
mod sys;
mod token;
mod world;
