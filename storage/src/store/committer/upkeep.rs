//! The anchor's upkeep: at most one write a second while rounds go on, on another thread so that none waits for it.

use crate::Error;
use crate::anchor::{Anchor, AnchorFile, Phase};
use crate::limits::ANCHOR_INTERVAL;
use std::future::pending;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

pub struct Upkeep {
    file: AnchorFile,
    /// What the anchor says of the vault's making.
    pub phase: Phase,
    /// The file says less than the store holds.
    behind: bool,
    next: Instant,
    /// True once written.
    writing: Option<JoinHandle<bool>>,
}

impl Upkeep {
    pub fn new(file: AnchorFile, phase: Phase) -> Upkeep {
        Upkeep { file, phase, behind: false, next: Instant::now(), writing: None }
    }

    /// A round was applied.
    pub fn behind(&mut self) {
        self.behind = true;
    }

    /// Waits for the next thing to do: true when the anchor is to be written. May be dropped at any time.
    pub async fn due(&mut self) -> bool {
        match &mut self.writing {
            Some(writing) => {
                let written = writing.await.unwrap_or(false);
                self.ended(written);
                false
            }
            None if self.behind => {
                sleep_until(self.next).await;
                true
            }
            None => pending().await,
        }
    }

    /// Starts a write. The store is ahead of the anchor meanwhile, never behind.
    pub fn write_behind(&mut self, anchor: Result<Anchor, Error>) {
        let file = self.file.clone();
        self.behind = false;
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let written = anchor.and_then(|anchor| file.write(&anchor));
            if let Err(e) = &written {
                tracing::error!(error = %e, "cannot write the anchor: a rollback of the store may go unnoticed");
            }
            written.is_ok()
        }));
    }

    /// Waits for a write that is under way.
    pub async fn settle(&mut self) {
        if let Some(writing) = self.writing.take() {
            let written = writing.await.unwrap_or(false);
            self.ended(written);
        }
    }

    /// Writes the anchor and waits for it.
    pub async fn write(&mut self, anchor: Result<Anchor, Error>) -> Result<(), Error> {
        self.settle().await;
        self.file.write(&anchor?)?;
        self.ended(true);
        self.behind = false;
        Ok(())
    }

    fn ended(&mut self, written: bool) {
        self.writing = None;
        self.behind |= !written;
        self.next = Instant::now() + ANCHOR_INTERVAL;
    }
}
