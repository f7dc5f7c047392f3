//! Puts the page together.

use super::{Format, Metrics};
use crate::core::Hooks;
use crate::snapshots::Snapshots;
use crate::unsealed::Unsealed;
use std::sync::Arc;
use storage::SealedStore;
use vault_logical::{Clock, RawBody};
use vault_metrics::{Page, Times};

/// What knows every figure there is.
pub struct Collector {
    pub metrics: Arc<Metrics>,
    pub store: SealedStore,
    pub snapshots: Arc<Snapshots>,
    pub clock: Arc<dyn Clock>,
    pub hooks: Arc<dyn Hooks>,
}

impl Collector {
    /// The page as a body.
    pub async fn body(&self, format: Format, unsealed: Option<&Unsealed>) -> RawBody {
        let page = self.page(unsealed).await;
        format.write(&page, self.clock.now(), self.metrics.started.elapsed())
    }

    /// Everything, of now; less while sealed.
    pub async fn page(&self, unsealed: Option<&Unsealed>) -> Page {
        let mut page = Page::default();
        let m = &self.metrics;
        let flag = |on: bool| f64::from(u8::from(on));
        let initialised = self.store.status().initialized;
        page.gauge("vault.core.unsealed", "1 while the vault is unsealed.")
            .put(&[], flag(unsealed.is_some()));
        page.gauge("vault.core.active", "1 while this server serves requests.")
            .put(&[], flag(unsealed.is_some()));
        page.gauge("vaultd.initialized", "1 once the vault is initialised.").put(&[], flag(initialised));
        m.requests.put(&mut page);
        self.tokens(&mut page);
        self.storage(&mut page, unsealed).await;
        self.audit(&mut page, unsealed);
        m.calls.put(&mut page);
        self.snapshot_figures(&mut page);
        self.hooks.measure(&mut page);
        page
    }

    fn tokens(&self, page: &mut Page) {
        let m = &self.metrics;
        m.usage.put(page);
        for (name, help, counter) in [
            ("vault.token.creation", "Tokens made, by tokens and by logins.", &m.tokens_created),
            ("vaultd.tokens_removed_total", "Tokens that are gone, whatever ended them.", &m.tokens_removed),
            (
                "vaultd.tokens_expired_total",
                "Tokens that are gone because their time was up.",
                &m.tokens_expired,
            ),
        ] {
            page.counter(name, help).count(&[], counter.get());
        }
    }

    async fn storage(&self, page: &mut Page, unsealed: Option<&Unsealed>) {
        let s = self.store.meters();
        let barrier: [(&str, &str, &Times); 4] = [
            ("vault.barrier.get", "Records read and decrypted, in milliseconds.", &s.reads),
            ("vault.barrier.list", "Folders listed, in milliseconds.", &s.lists),
            ("vault.barrier.put", "Records written, in milliseconds until they were durable.", &s.puts),
            ("vault.barrier.delete", "Records deleted, in milliseconds until it was durable.", &s.deletes),
        ];
        for (name, help, times) in barrier {
            page.summary(name, help).times(&[], times.read());
        }
        let p = self.store.figures().await.physical;
        page.histogram(
            "vaultd.storage.round_duration_seconds",
            "Rounds of transactions, until they were durable and readable.",
        )
        .times(&[], s.rounds.read());
        page.histogram("vaultd.storage.sync_duration_seconds", "Rounds written to the journal, synced.")
            .times(&[], p.syncs);
        page.counter(
            "vaultd.storage.conflicts_total",
            "Transactions refused because what they read had changed.",
        )
        .count(&[], s.conflicts.get());
        for (name, help, value) in [
            ("vaultd.storage.journal_bytes", "Bytes of the journal on disk.", p.journal_bytes),
            ("vaultd.storage.journal_segments", "Files of the journal.", p.journal_segments),
            ("vaultd.storage.index_bytes", "Bytes of the index on disk.", p.index_bytes),
            (
                "vaultd.storage.failed",
                "1 once a write has failed: nothing is acknowledged any more.",
                u64::from(p.failed),
            ),
        ] {
            page.gauge(name, help).count(&[], value);
        }
        anchor(page, unsealed);
    }

    fn audit(&self, page: &mut Page, unsealed: Option<&Unsealed>) {
        let a = &self.metrics.audit;
        page.summary("vault.audit.log_request", "Requests put on record, in milliseconds.")
            .times(&[], a.requests.read());
        page.summary("vault.audit.log_response", "Answers put on record, in milliseconds.")
            .times(&[], a.responses.read());
        page.counter("vault.audit.log_request_failure", "Requests that no audit device took.")
            .count(&[], a.request_failures.get());
        page.counter("vault.audit.log_response_failure", "Answers that no audit device took.")
            .count(&[], a.response_failures.get());
        let devices = unsealed.map(|u| u.audit.status()).unwrap_or_default();
        let mut series = page.gauge("vaultd.audit.device_healthy", "1 while the device takes records.");
        for d in &devices {
            series.put(&[("device", &d.name)], f64::from(u8::from(d.healthy)));
        }
        let mut series = page.counter("vaultd.audit.device_records_total", "Lines in the device's log.");
        for d in &devices {
            series.count(&[("device", &d.name)], d.seq);
        }
        let mut series = page.counter(
            "vaultd.audit.device_missed_total",
            "Records that the device did not take since the unseal.",
        );
        for d in &devices {
            series.count(&[("device", &d.name)], d.missed);
        }
    }

    fn snapshot_figures(&self, page: &mut Page) {
        let f = self.snapshots.figures();
        let mut series = page.counter("vaultd.snapshots_total", "Snapshots tried, by outcome.");
        series.count(&[("outcome", "ok")], f.taken).count(&[("outcome", "failed")], f.failed);
        let mut series = page.gauge(
            "vaultd.snapshot.last_success_timestamp_seconds",
            "When the newest good snapshot was taken.",
        );
        if let Some(at) = f.last_success {
            series.put(&[], at as f64);
        }
        let interval = self.snapshots.interval().unwrap_or_default();
        page.gauge("vaultd.snapshot.interval_seconds", "How often one is to be taken; 0: never by itself.")
            .put(&[], interval.as_secs_f64());
        let now = self.clock.now();
        page.gauge("vaultd.snapshot.overdue", "1 when the newest one is older than two intervals.")
            .put(&[], f64::from(u8::from(self.snapshots.is_overdue(now))));
        page.gauge("vaultd.snapshot.bytes", "Size of the newest one of this process.").count(&[], f.bytes);
    }
}

/// Of this unsealed period.
fn anchor(page: &mut Page, unsealed: Option<&Unsealed>) {
    let f = unsealed.map(|u| u.store.anchor_figures()).unwrap_or_default();
    let mut series =
        page.counter("vaultd.anchor.writes_total", "Writes of the anchor since the unseal, by outcome.");
    series.count(&[("outcome", "ok")], f.written).count(&[("outcome", "failed")], f.failed);
    page.counter(
        "vaultd.anchor.waits_total",
        "Acknowledgements that waited for the anchor, since the unseal.",
    )
    .count(&[], f.waited);
    page.counter("vaultd.anchor.wait_seconds_total", "How long they waited, all together.")
        .put(&[], f.wait_total.as_secs_f64());
    page.gauge("vaultd.anchor.longest_wait_seconds", "How long the one waited that waited longest.")
        .put(&[], f.wait_max.as_secs_f64());
    let mut series =
        page.gauge("vaultd.barrier.writes_this_term", "Records sealed under the barrier key in force.");
    if let Some(u) = unsealed {
        series.count(&[], u.store.key_status().writes_this_term);
    }
}
