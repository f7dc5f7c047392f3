//! What store and anchor say together, without keys.
//!
//! | anchor | store | |
//! |---|---|---|
//! | none | empty | uninitialised |
//! | `initialising` | empty, or never unsealed | uninitialised: init starts over |
//! | `initialising` | has been unsealed | sealed; rollback |
//! | none, damaged | there | sealed; rollback |
//! | `initialised` | same id, as new or newer | sealed |
//! | `initialised` | same id, older or different | sealed; rollback |
//! | any | another id | refused |
//! | `initialised`, damaged | empty | refused |

use super::SealConfig;
use crate::Error;
use crate::anchor::{Anchor, AnchorFile, Found, Phase};
use crate::head::{ClearHead, boot};
use crate::physical::Physical;

/// Where the vault stands while it is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Uninitialised,
    /// Initialised; `rollback` says why it must not be opened without acceptance.
    Sealed {
        rollback: Option<String>,
    },
}

impl Standing {
    pub fn is_initialised(&self) -> bool {
        matches!(self, Standing::Sealed { .. })
    }

    pub fn rollback(&self) -> Option<&str> {
        match self {
            Standing::Sealed { rollback } => rollback.as_deref(),
            Standing::Uninitialised => None,
        }
    }
}

/// Reads both. An error means that they do not belong together or cannot be read.
pub async fn examine(
    physical: &dyn Physical,
    file: &AnchorFile,
) -> Result<(Standing, Option<SealConfig>), Error> {
    let found = file.read()?;
    let path = file.path();
    let path = path.display();
    if physical.scan(&[], None, 1).await?.is_empty() {
        return match found {
            Found::Nothing => Ok((Standing::Uninitialised, None)),
            Found::Anchor(a) if a.phase == Phase::Initialising => Ok((Standing::Uninitialised, None)),
            Found::Anchor(a) => Err(Error::Mismatch(format!(
                "the store is empty, but {path} says that vault {} was kept in it: restore the store, or remove that file to start a new vault",
                a.store_id
            ))),
            Found::Damaged => Err(Error::Mismatch(format!(
                "the store is empty, but there is a damaged anchor at {path}: restore the store, or remove that file to start a new vault"
            ))),
        };
    }
    let (config, head) = (physical.get(&boot::config()).await?, physical.get(&boot::head()).await?);
    let begun = matches!(&found, Found::Anchor(a) if a.phase == Phase::Initialising);
    let (config, head) = match (config, head) {
        (Some(config), Some(head)) => (config.value, head.value),
        // What an interrupted init left while it was clearing the store.
        _ if begun => return Ok((Standing::Uninitialised, None)),
        _ => {
            return Err(Error::Integrity(
                "the store has records but no seal configuration or no head".into(),
            ));
        }
    };
    let config = SealConfig::decode(&config)?;
    let head = ClearHead::read(&head).ok_or_else(|| Error::Integrity("the head is damaged".into()))?;
    let rollback = match found {
        Found::Nothing => Some(format!("the anchor {path} is missing: the store may be an old copy")),
        Found::Damaged => Some(format!("the anchor {path} is damaged: the store may be an old copy")),
        Found::Anchor(anchor) => {
            if anchor.store_id != config.store_id()? {
                return Err(Error::Mismatch(format!(
                    "the store holds vault {}, but {path} belongs to vault {}: one of the two is in the wrong place",
                    config.store_id()?,
                    anchor.store_id
                )));
            }
            match judge(&anchor, &head) {
                None => return Ok((Standing::Uninitialised, None)),
                Some(rollback) => rollback,
            }
        }
    };
    Ok((Standing::Sealed { rollback }, Some(config)))
}

/// An anchor against the head of its own store; `None`: the vault is still being made.
fn judge(anchor: &Anchor, head: &ClearHead) -> Option<Option<String>> {
    match anchor.phase {
        Phase::Initialising if !head.opened => None,
        Phase::Initialising => Some(Some(
            "the anchor is from before the vault was initialised, but the vault has been in use".into(),
        )),
        Phase::Initialised => Some(anchor.rollback(head)),
    }
}
