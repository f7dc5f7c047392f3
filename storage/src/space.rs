//! Where a record lives: its namespace and its partition of the store.

use uuid::Uuid;

/// A part of the store with a tally of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Partition {
    /// The core's own records: mounts, policies, tokens, leases.
    Core,
    /// One mount's records, by the mount's uuid: a remount rewrites nothing.
    Mount(Uuid),
}

/// A partition of one namespace.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Space {
    /// Nil for the root namespace.
    pub namespace: Uuid,
    /// Which part of the namespace.
    pub partition: Partition,
}

/// Bytes of [`Space::to_bytes`].
pub const SPACE_BYTES: usize = 33;

impl Space {
    /// The core's records in the root namespace.
    #[must_use]
    pub const fn core() -> Space {
        Space { namespace: Uuid::nil(), partition: Partition::Core }
    }

    /// A mount's records in the root namespace.
    #[must_use]
    pub const fn mount(uuid: Uuid) -> Space {
        Space { namespace: Uuid::nil(), partition: Partition::Mount(uuid) }
    }

    /// Namespace (16), kind of partition (1), its uuid (16, nil for the core): as authenticated with each record.
    #[must_use]
    pub fn to_bytes(self) -> [u8; SPACE_BYTES] {
        let mut out = [0; SPACE_BYTES];
        let (kind, uuid) = match self.partition {
            Partition::Core => (0, Uuid::nil()),
            Partition::Mount(uuid) => (1, uuid),
        };
        let parts = self.namespace.as_bytes().iter().chain(std::iter::once(&kind)).chain(uuid.as_bytes());
        for (to, from) in out.iter_mut().zip(parts) {
            *to = *from;
        }
        out
    }

    /// The inverse of [`Space::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8; SPACE_BYTES]) -> Option<Space> {
        let (namespace, rest) = bytes.split_first_chunk::<16>()?;
        let (kind, uuid) = rest.split_first()?;
        let uuid = Uuid::from_slice(uuid).ok()?;
        let partition = match kind {
            0 if uuid.is_nil() => Partition::Core,
            1 => Partition::Mount(uuid),
            _ => return None,
        };
        Some(Space { namespace: Uuid::from_bytes(*namespace), partition })
    }
}

impl std::fmt::Display for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.partition {
            Partition::Core => f.write_str("core")?,
            Partition::Mount(uuid) => write!(f, "mount {uuid}")?,
        }
        if !self.namespace.is_nil() {
            write!(f, " of namespace {}", self.namespace)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip_and_odd_ones_are_refused() {
        let mut spaces = vec![Space::core(), Space::mount(Uuid::from_u128(7)), Space::mount(Uuid::nil())];
        spaces.push(Space { namespace: Uuid::from_u128(9), partition: Partition::Core });
        for space in spaces {
            assert_eq!(Space::from_bytes(&space.to_bytes()), Some(space));
        }
        let mut odd = Space::core().to_bytes();
        odd[16] = 2;
        assert_eq!(Space::from_bytes(&odd), None);
        odd[16] = 0;
        odd[20] = 1;
        assert_eq!(Space::from_bytes(&odd), None);
    }
}
