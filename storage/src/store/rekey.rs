//! New shares: made first, shown and checked by whoever asks, then put in force by one atomic write.

use super::Store;
use super::committer::change::Change;
use crate::barrier::KEY_BYTES;
use crate::seal::{SealConfig, combine};
use crate::{Error, shamir};
use secmem::{Key, SecretBytes, ct};

/// New shares over a new unseal key, not in force before [`Store::commit_rekey`]. Dropped, it never was.
pub struct RekeyProposal {
    shares: Vec<SecretBytes>,
    threshold: u8,
    unseal: Key,
}

impl RekeyProposal {
    /// The new shares, to be handed out.
    #[must_use]
    pub fn shares(&self) -> &[SecretBytes] {
        &self.shares
    }

    /// How many of them will be needed.
    #[must_use]
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    /// Whether these are shares of this proposal, enough to open the vault once it is in force.
    #[must_use]
    pub fn check_shares(&self, store: &Store, shares: &[SecretBytes]) -> bool {
        shares.len() >= usize::from(self.threshold) && store.combine_to(shares, &self.unseal)
    }
}

impl Store {
    /// Makes new shares. Nothing is written: the old ones stay in force.
    pub fn propose_rekey(&self, shares: u8, threshold: u8) -> Result<RekeyProposal, Error> {
        shamir::check_counts(shares, threshold)?;
        self.shared().check_open()?;
        let unseal = self.shared().scope.random(KEY_BYTES)?;
        let shares = unseal.attempt(|key| shamir::split(key, shares, threshold))??;
        Ok(RekeyProposal { shares, threshold, unseal })
    }

    /// Puts the new shares in force: whatever happens meanwhile, exactly the old or exactly the new ones open the vault.
    pub async fn commit_rekey(&self, p: RekeyProposal) -> Result<(), Error> {
        let cipher = self.shared().keyring.load().cipher;
        let config = SealConfig::new(self.store_id(), cipher, p.threshold, &p.shares)?;
        self.change(Change::Rekey { config, unseal: p.unseal }).await
    }

    /// Whether these shares open this vault.
    #[must_use]
    pub fn check_shares(&self, shares: &[SecretBytes]) -> bool {
        let threshold = self.shared().config.read().as_ref().map(|config| config.threshold);
        let unseal = self.shared().master.lock().unseal.clone();
        threshold.is_some_and(|t| shares.len() >= usize::from(t)) && self.combine_to(shares, &unseal)
    }

    /// Whether the shares combine to `key`, compared inside the arena.
    fn combine_to(&self, shares: &[SecretBytes], key: &Key) -> bool {
        let Ok(Some(candidate)) = combine(&self.shared().scope, shares) else { return false };
        let equal = candidate.attempt(|a| key.attempt(|b| ct::eq(a, b)));
        matches!(equal, Ok(Ok(true)))
    }
}
