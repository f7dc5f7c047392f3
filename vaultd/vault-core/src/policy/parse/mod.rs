//! From policy text to rules: HCL and JSON become one [`document`], which is then read strictly.

mod document;
mod hcl;
mod json;
mod lexer;
mod rules;

use super::Rule;
use crate::limits::MAX_POLICY_BYTES;
use document::Fault;
use vault_logical::Error;

/// Parses a policy document into its rules, in order of appearance.
pub(super) fn rules(text: &str) -> Result<Vec<Rule>, Error> {
    if text.len() > MAX_POLICY_BYTES {
        return Err(Error::invalid(format!("policy is longer than {MAX_POLICY_BYTES} bytes")));
    }
    // No HCL document begins with a brace.
    let document =
        if text.trim_start().starts_with('{') { json::document(text) } else { hcl::document(text) };
    document.and_then(|d| rules::read(&d)).map_err(|fault| explain(text, &fault))
}

fn explain(text: &str, fault: &Fault) -> Error {
    let position = fault.at.and_then(|at| text.get(..at)).map(|before| {
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
        format!("line {line}, column {column}: ")
    });
    Error::invalid(format!("failed to parse policy: {}{}", position.unwrap_or_default(), fault.message))
}
