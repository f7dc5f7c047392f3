//! Capabilities as a set of bits.

use std::ops::{BitOr, BitOrAssign};
use vault_logical::Operation;

/// A set of capabilities. `invoke` takes one bit for each HTTP method, so that a rule's `methods`
/// merge like capabilities do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Caps(u32);

/// The methods an `invoke` rule may name, in the order of their bits.
pub(super) const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const INVOKE_SHIFT: u32 = 16;
/// The bit after the named methods: any other method, or none stated.
const INVOKE_OTHER: Caps = Caps(1 << (INVOKE_SHIFT + METHODS.len() as u32));

impl Caps {
    pub const NONE: Caps = Caps(0);
    pub const CREATE: Caps = Caps(1);
    pub const READ: Caps = Caps(1 << 1);
    pub const UPDATE: Caps = Caps(1 << 2);
    pub const PATCH: Caps = Caps(1 << 3);
    pub const DELETE: Caps = Caps(1 << 4);
    pub const LIST: Caps = Caps(1 << 5);
    pub const SCAN: Caps = Caps(1 << 6);
    pub const SUDO: Caps = Caps(1 << 7);
    pub const DENY: Caps = Caps(1 << 8);
    /// `invoke` with every method.
    pub const INVOKE: Caps = Caps(0xff << INVOKE_SHIFT);

    /// Every capability by its name in a policy, sorted by name.
    pub const NAMED: [(&'static str, Caps); 10] = [
        ("create", Caps::CREATE),
        ("delete", Caps::DELETE),
        ("deny", Caps::DENY),
        ("invoke", Caps::INVOKE),
        ("list", Caps::LIST),
        ("patch", Caps::PATCH),
        ("read", Caps::READ),
        ("scan", Caps::SCAN),
        ("sudo", Caps::SUDO),
        ("update", Caps::UPDATE),
    ];

    /// The capability of this name in a policy.
    pub fn named(name: &str) -> Option<Caps> {
        Self::NAMED.iter().find(|(n, _)| *n == name).map(|(_, c)| *c)
    }

    /// What the old `policy = "…"` words stand for. `invoke` is in none of them.
    pub fn legacy(word: &str) -> Option<Caps> {
        let read = Caps::READ | Caps::LIST;
        let write = read | Caps::CREATE | Caps::UPDATE | Caps::DELETE;
        match word {
            "deny" => Some(Caps::DENY),
            "read" => Some(read),
            "write" => Some(write),
            "sudo" => Some(write | Caps::SUDO),
            _ => None,
        }
    }

    /// `invoke` with one method; `None` and unlisted methods need a rule without `methods`.
    pub fn invoke(method: Option<&str>) -> Caps {
        method
            .and_then(|m| METHODS.iter().position(|known| *known == m))
            .map_or(INVOKE_OTHER, |i| Caps(1 << (INVOKE_SHIFT + i as u32)))
    }

    /// What an operation needs.
    pub fn needed(operation: Operation, method: Option<&str>) -> Caps {
        match operation {
            Operation::Create => Caps::CREATE,
            Operation::Read => Caps::READ,
            Operation::Update => Caps::UPDATE,
            Operation::Patch => Caps::PATCH,
            Operation::Delete => Caps::DELETE,
            Operation::List => Caps::LIST,
            Operation::Invoke => Caps::invoke(method),
        }
    }

    /// True when every bit of `needed` is here, and there is one.
    pub fn contains(self, needed: Caps) -> bool {
        needed.0 != 0 && self.0 & needed.0 == needed.0
    }

    /// True when any bit is shared.
    pub fn intersects(self, other: Caps) -> bool {
        self.0 & other.0 != 0
    }

    pub fn without(self, other: Caps) -> Caps {
        Caps(self.0 & !other.0)
    }

    pub fn is_deny(self) -> bool {
        self.intersects(Caps::DENY)
    }

    /// Each single bit of the set.
    pub fn bits(self) -> impl Iterator<Item = Caps> {
        (0..u32::BITS).map(|i| Caps(1 << i)).filter(move |c| self.intersects(*c))
    }
}

impl BitOr for Caps {
    type Output = Caps;
    fn bitor(self, rhs: Caps) -> Caps {
        Caps(self.0 | rhs.0)
    }
}

impl BitOrAssign for Caps {
    fn bitor_assign(&mut self, rhs: Caps) {
        self.0 |= rhs.0;
    }
}
