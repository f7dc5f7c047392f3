//! `kv`: the key-value engine, versions 1 and 2 (mount option `version`, default `1`).
//!
//! <https://developer.hashicorp.com/vault/api-docs/secret/kv>

mod data;
mod merge;
mod metadata;
pub(crate) mod record;
mod settings;
mod v1;
mod v2;
mod versions;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use vault_logical::{Engine, EngineKind, Error, Factory, Result};

pub(crate) const FACTORY: Factory = Factory {
    type_name: "kv",
    kind: EngineKind::Secret,
    make: |mount, _| {
        Ok(match version(&mount.options)? {
            Version::One => Arc::new(v1::KvV1) as Arc<dyn Engine>,
            Version::Two => Arc::new(v2::KvV2),
        })
    },
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

fn version(options: &BTreeMap<String, String>) -> Result<Version> {
    match options.get("version").map(String::as_str) {
        None | Some("" | "1") => Ok(Version::One),
        Some("2") => Ok(Version::Two),
        Some(_) => Err(Error::invalid("option \"version\" must be \"1\" or \"2\"")),
    }
}

/// The version of a mount is fixed when it is enabled: the two store their records apart.
fn check_options(options: &BTreeMap<String, String>, mine: Version) -> Result<()> {
    if options.contains_key("version") && version(options)? != mine {
        return Err(Error::invalid("the version of an existing kv mount cannot be changed"));
    }
    Ok(())
}
