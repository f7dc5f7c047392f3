//! Policies: what a token may do.
//!
//! A [`Policy`] is one parsed document (HCL or JSON); an [`Acl`] is the compiled union of the
//! policies of one token and answers [`Acl::check`] without allocating. The language is Vault's
//! (<https://developer.hashicorp.com/vault/docs/concepts/policies>) plus the capability `invoke`.
//! What is not built (parameter constraints, wrapping bounds, control groups, templates) is
//! refused when a policy is written, never ignored.

mod acl;
mod capability;
mod name;
mod parse;
mod pattern;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

pub use acl::{Acl, Decision, Query};
pub use name::{ROOT, normalise_name};

use capability::Caps;
use pattern::Pattern;
use vault_logical::Error;

/// What every token may do unless its creator says otherwise. Operators may edit it.
pub const DEFAULT_POLICY: &str = include_str!("default.hcl");

/// One rule of a policy: a path and what it gives there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    pattern: Pattern,
    caps: Caps,
}

/// One parsed policy document.
#[derive(Clone, Debug)]
pub struct Policy {
    pub name: String,
    rules: Vec<Rule>,
}

impl Policy {
    /// Parses a policy document: JSON when its first character is `{`, HCL otherwise.
    ///
    /// # Errors
    /// 400 with the line and column (HCL, and JSON syntax) or the rule's path (JSON), and what is
    /// wrong there. Unknown attributes and everything that is not built are errors.
    pub fn parse(name: &str, text: &str) -> Result<Policy, Error> {
        let name = normalise_name(name)?;
        if name == ROOT {
            return Err(Error::invalid("the root policy has no text and cannot be changed"));
        }
        Ok(Policy { rules: parse::rules(text)?, name })
    }

    /// Number of rules in the document.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// True for a document without rules: it grants nothing.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}
