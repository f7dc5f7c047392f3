//! What a request wants done, independent of the HTTP verb that said it.

use std::fmt;

/// The operation of a request. POST and PUT become [`Operation::Create`] or
/// [`Operation::Update`] by the engine's existence check, as in Vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Create,
    Read,
    Update,
    Patch,
    Delete,
    List,
    /// A call through the gateway. Implied by no other capability.
    Invoke,
}

impl Operation {
    /// The operation's name as the audit log and Vault's clients spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "create",
            Operation::Read => "read",
            Operation::Update => "update",
            Operation::Patch => "patch",
            Operation::Delete => "delete",
            Operation::List => "list",
            Operation::Invoke => "invoke",
        }
    }

    /// True for operations that may change state.
    pub fn writes(self) -> bool {
        !matches!(self, Operation::Read | Operation::List)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
