//! Requests to the API: of which kind of mount, which operation, to what end, and how long they took.

use crate::exchange::{Reply, ReplyBody, Verb};
use std::time::Duration;
use vault_logical::{ErrorKind, Operation};
use vault_metrics::{Gauge, Page, Times};

/// Kinds of mounts; the last two are what no mount was found for, and types that are not built in.
const MOUNTS: [&str; 9] = ["system", "token", "kv", "cubbyhole", "totp", "gateway", "jwt", "none", "other"];
const NONE: usize = 7;
const OTHER: usize = 8;

const OPERATIONS: [&str; 7] = ["create", "read", "update", "patch", "delete", "list", "help"];

/// How a request ends.
const OUTCOMES: [&str; 7] = ["ok", "denied", "invalid", "not_found", "limited", "unavailable", "error"];

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    mount: usize,
    operation: usize,
    /// Without a token, of a login method.
    login: bool,
}

impl Asked {
    /// Of a mount of this type; empty: of none.
    pub fn of(mount_type: &str, verb: Verb, operation: Operation, login: bool) -> Asked {
        let mount = match mount_type {
            "" => NONE,
            t => MOUNTS.iter().take(NONE).position(|m| *m == t).unwrap_or(OTHER),
        };
        Asked { mount, operation: index(verb, operation), login }
    }

    /// Of a path that needs no token and no unsealed vault.
    pub fn open(verb: Verb) -> Asked {
        Asked { mount: 0, operation: index(verb, Operation::Update), login: false }
    }

    /// Of a vault that is sealed.
    pub fn sealed(verb: Verb) -> Asked {
        Asked { mount: NONE, ..Asked::open(verb) }
    }
}

fn index(verb: Verb, operation: Operation) -> usize {
    match (verb, operation) {
        (Verb::Help, _) => 6,
        (Verb::List, _) => 5,
        (Verb::Delete, _) => 4,
        (Verb::Patch, _) => 3,
        (Verb::Write, Operation::Create) => 0,
        (Verb::Write, _) => 2,
        (Verb::Read, _) => 1,
    }
}

fn outcome(reply: &Reply) -> usize {
    let status = match &reply.body {
        ReplyBody::Error(e) => return of_error(e.kind()),
        ReplyBody::Envelope { response, .. } if response.not_found => return 3,
        ReplyBody::Envelope { .. } | ReplyBody::Download(_) => return 0,
        ReplyBody::Bare { status, .. } => *status,
    };
    match status {
        // Health says by its status how the vault is: that is no failure of the request.
        0..400 | 500.. => 0,
        _ => 2,
    }
}

fn of_error(kind: ErrorKind) -> usize {
    match kind {
        ErrorKind::PermissionDenied | ErrorKind::Unauthenticated => 1,
        ErrorKind::NotFound | ErrorKind::UnsupportedPath => 3,
        ErrorKind::RateLimited => 4,
        ErrorKind::Sealed | ErrorKind::Unavailable | ErrorKind::StorageFull => 5,
        ErrorKind::Internal | ErrorKind::Unanchored | ErrorKind::Upstream => 6,
        _ => 2,
    }
}

type Table = [[[Times; OUTCOMES.len()]; OPERATIONS.len()]; MOUNTS.len()];

/// Counts requests.
#[derive(Default)]
pub struct Requests {
    pub in_flight: Gauge,
    /// As Vault counts them: logins apart.
    handled: Times,
    logins: Times,
    table: Box<Table>,
}

impl Requests {
    /// A request was answered.
    pub fn answered(&self, asked: Asked, reply: &Reply, took: Duration) {
        let all = if asked.login { &self.logins } else { &self.handled };
        all.took(took);
        let operations = self.table.get(asked.mount).and_then(|m| m.get(asked.operation));
        if let Some(cell) = operations.and_then(|o| o.get(outcome(reply))) {
            cell.took(took);
        }
    }

    pub fn put(&self, page: &mut Page) {
        page.gauge("vault.core.in_flight_requests", "Requests to the API that are being served.")
            .put(&[], self.in_flight.get() as f64);
        page.summary("vault.core.handle_request", "Requests to the API but for logins, in milliseconds.")
            .times(&[], self.handled.read());
        page.summary("vault.core.handle_login_request", "Logins, in milliseconds.")
            .times(&[], self.logins.read());
        let mut series = page.histogram(
            "vaultd.request_duration_seconds",
            "Requests to the API by the type of their mount, their operation and their outcome.",
        );
        for (mount, operations) in MOUNTS.iter().zip(self.table.iter()) {
            for (operation, outcomes) in OPERATIONS.iter().zip(operations) {
                for (outcome, times) in OUTCOMES.iter().zip(outcomes) {
                    let read = times.read();
                    if read.count > 0 {
                        let labels =
                            [("mount_type", *mount), ("operation", *operation), ("outcome", *outcome)];
                        series.times(&labels, read);
                    }
                }
            }
        }
    }
}
