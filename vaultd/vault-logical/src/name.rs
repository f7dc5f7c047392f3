//! Names of things.

use crate::{Error, Result};
use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

/// The name of a thing in the one form under which it is decided on, stored and recorded.
///
/// A policy decides on a path as it came. If a handler then trimmed or folded a name out of that
/// path, it would read or change a thing that nobody decided about: `…/ADMIN` is not denied where
/// `…/admin` is. So what is stored by name takes a `PathName`, and a path gives one only when the
/// name stands there in its normal form already.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathName(String);

impl PathName {
    /// A name that came in a path. `normal` gives the one form of a name, or says why it is none.
    ///
    /// # Errors
    /// 400 for every other spelling of the name, and what `normal` refuses.
    pub fn in_path(raw: &str, normal: impl FnOnce(&str) -> Result<String>) -> Result<PathName> {
        let name = normal(raw)?;
        if name != raw {
            return Err(Error::invalid(format!(
                "the name in the path is not in its normal form: write \"{name}\""
            )));
        }
        Ok(PathName(name))
    }

    /// A name out of a body or a record, where any spelling means the same thing: no policy was
    /// asked about it as part of a path.
    ///
    /// # Errors
    /// What `normal` refuses.
    pub fn in_body(raw: &str, normal: impl FnOnce(&str) -> Result<String>) -> Result<PathName> {
        normal(raw).map(PathName)
    }
}

impl Deref for PathName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for PathName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PathName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lower(raw: &str) -> Result<String> {
        let name = raw.trim().to_lowercase();
        if name.is_empty() { Err(Error::invalid("empty")) } else { Ok(name) }
    }

    #[test]
    fn a_path_has_one_spelling_and_a_body_any() {
        assert_eq!(&*PathName::in_path("admin", lower).unwrap(), "admin");
        for other in ["Admin", "admin ", " admin", "ADMIN", "ädmin\u{a0}", ""] {
            assert!(PathName::in_path(other, lower).is_err(), "{other:?}");
        }
        assert_eq!(&*PathName::in_body(" Admin ", lower).unwrap(), "admin");
    }
}
