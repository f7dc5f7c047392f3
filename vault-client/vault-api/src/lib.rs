//! vault-api
