//! How much there is in the vault: counted from time to time, never for a scrape.

use crate::limits::MAX_USAGE_COUNT;
use crate::token::ACCESSORS;
use crate::unsealed::Unsealed;
use storage::{Partition, Space};
use uuid::Uuid;
use vault_metrics::{Gauge, Page};

/// The last count; -1 before there is one.
pub struct Usage {
    tokens: Gauge,
    secrets: Gauge,
}

impl Default for Usage {
    fn default() -> Self {
        let (tokens, secrets) = (Gauge::default(), Gauge::default());
        tokens.set(-1);
        secrets.set(-1);
        Usage { tokens, secrets }
    }
}

impl Usage {
    /// Counts anew. What the store refuses (it is being sealed) leaves the last count.
    pub async fn count(&self, core: &Unsealed) {
        let space = Space { namespace: Uuid::nil(), partition: Partition::Core };
        if let Ok(n) = core.store.count(space, ACCESSORS, MAX_USAGE_COUNT).await {
            self.tokens.set(i64::try_from(n).unwrap_or(i64::MAX));
        }
        let mut secrets = 0_u64;
        for m in core.mounts.all().iter().filter(|m| m.mount.type_name == "kv") {
            // Where each version of KV has one record for each secret.
            for dir in ["meta/", "data/"] {
                match core.store.count(m.space, dir, MAX_USAGE_COUNT).await {
                    Ok(n) => secrets = secrets.saturating_add(n),
                    Err(_) => return,
                }
            }
        }
        self.secrets.set(i64::try_from(secrets).unwrap_or(i64::MAX));
    }

    pub fn put(&self, page: &mut Page) {
        let mut put = |name, help, gauge: &Gauge| {
            let mut series = page.gauge(name, help);
            if gauge.get() >= 0 {
                series.put(&[], gauge.get() as f64);
            }
        };
        put("vault.token.count", "Tokens, as of the last count.", &self.tokens);
        put("vault.secret.kv.count", "Secrets in KV, as of the last count.", &self.secrets);
    }
}
