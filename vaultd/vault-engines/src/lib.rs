//! vault-engines
