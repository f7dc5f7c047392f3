//! Keeps a token alive in the background.

use crate::client::Client;
use crate::error::{Error, Kind};
use crate::limits::{RENEW_WAIT_MAX, RENEW_WAIT_MIN};
use crate::retry::spread;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Where a renewed token stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenState {
    /// Not asked yet.
    Unknown,
    /// Valid; renewed (or looked up) a moment ago, with so much time to live.
    Valid {
        /// From that moment.
        ttl: Duration,
    },
    /// Valid for ever: nothing to renew.
    Permanent,
    /// Valid for so long, and cannot be renewed any further: log in again.
    Final {
        /// From the moment this was found out.
        ttl: Duration,
    },
    /// The server does not know it, or its time is over: log in again.
    Gone,
}

/// A running renewal. Dropping it stops the renewal, not the token.
#[derive(Debug)]
pub struct Renewal {
    state: watch::Receiver<TokenState>,
    task: JoinHandle<()>,
}

impl Renewal {
    /// The latest state.
    pub fn state(&self) -> TokenState {
        self.state.borrow().clone()
    }

    /// Waits for the next change of state. `None` once there will be no more.
    pub async fn changed(&mut self) -> Option<TokenState> {
        self.state.changed().await.ok()?;
        Some(self.state.borrow_and_update().clone())
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// Renews this client's token when two thirds of its time are over, until it cannot be renewed
    /// any more. Needs a tokio runtime.
    pub fn keep_token_alive(&self) -> Renewal {
        let (sender, state) = watch::channel(TokenState::Unknown);
        let task = tokio::spawn(run(self.clone(), sender));
        Renewal { state, task }
    }
}

async fn run(client: Client, sender: watch::Sender<TokenState>) {
    let mut expires: Option<Instant> = None;
    let mut failures = 0u32;
    let mut renewable = None;
    loop {
        let step = match renewable {
            None => look_up(&client).await,
            Some(_) => renew(&client).await,
        };
        let wait = match step {
            Ok(Found::Permanent) => return drop(sender.send(TokenState::Permanent)),
            Ok(Found::Final(ttl)) => return drop(sender.send(TokenState::Final { ttl })),
            Ok(Found::Renewable(ttl)) => {
                // A renewal that gained nothing has reached the maximum.
                let gained = expires.is_none_or(|e| Instant::now() + ttl > e + RENEW_WAIT_MIN / 2);
                if renewable.is_some() && !gained {
                    return drop(sender.send(TokenState::Final { ttl }));
                }
                (failures, renewable, expires) = (0, Some(()), Some(Instant::now() + ttl));
                let _ = sender.send(TokenState::Valid { ttl });
                spread(ttl * 2 / 3).clamp(RENEW_WAIT_MIN, RENEW_WAIT_MAX)
            }
            Err(e) if e.kind() == Kind::PermissionDenied => return drop(sender.send(TokenState::Gone)),
            Err(e) => {
                tracing::warn!(kind = ?e.kind(), "token renewal failed");
                if expires.is_some_and(|end| Instant::now() >= end) {
                    return drop(sender.send(TokenState::Gone));
                }
                failures += 1;
                let wait = RENEW_WAIT_MIN.saturating_mul(1 << failures.min(5));
                let left = expires.map_or(wait, |end| end.saturating_duration_since(Instant::now()));
                spread(wait.min(left)).max(RENEW_WAIT_MIN)
            }
        };
        tokio::time::sleep(wait).await;
    }
}

enum Found {
    Permanent,
    Final(Duration),
    Renewable(Duration),
}

async fn look_up(client: &Client) -> Result<Found, Error> {
    let t = client.tokens().lookup_self().await?;
    let ttl = Duration::from_secs(t.ttl);
    Ok(match (t.expire_time.is_some() || t.ttl > 0, t.renewable) {
        (false, _) => Found::Permanent,
        (true, false) => Found::Final(ttl),
        (true, true) => Found::Renewable(ttl),
    })
}

async fn renew(client: &Client) -> Result<Found, Error> {
    let auth = client.tokens().renew_self(None).await?;
    let ttl = Duration::from_secs(auth.lease_duration);
    Ok(if auth.renewable { Found::Renewable(ttl) } else { Found::Final(ttl) })
}
