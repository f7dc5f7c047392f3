//! The process's file descriptors, divided before anything is opened: so many for clients of the
//! API, of the gateway, for calls to upstreams; the rest stays for storage, audit, the anchor and
//! the operator's socket, which no flood of the others can take.

use crate::config::Config;
use crate::limits::{
    DESCRIPTORS_PER_WORKER, MAX_CONNECTIONS, MAX_UNIX_CONNECTIONS, MAX_UPSTREAM_SOCKETS, MIN_SHARE,
    RESERVED_DESCRIPTORS,
};
use crate::listener::{Cap, Caps};
use nix::sys::resource::{Resource, getrlimit};
use vault_gateway::CallCaps;

/// What the process may open for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    pub caps: Caps,
    pub calls: CallCaps,
}

/// The limit does not even cover what the daemon itself needs.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{have} file descriptors are too few: at least {need} are needed (ulimit -n, LimitNOFILE)")]
pub struct TooFew {
    pub have: usize,
    pub need: usize,
}

impl Descriptors {
    /// For this process, whose soft limit is in force already.
    ///
    /// # Errors
    /// The limit is too low to serve anybody.
    pub fn of_process(config: &Config) -> Result<Self, TooFew> {
        let have = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        let crews = if config.gateway.is_some() { 2 } else { 1 };
        let listeners = config.listeners.len() + usize::from(config.gateway.is_some());
        let have = usize::try_from(have).unwrap_or(usize::MAX);
        Self::divide(have, config.workers.max(1) * crews, listeners, config.gateway.is_some())
    }

    fn divide(have: usize, threads: usize, listeners: usize, gateway: bool) -> Result<Self, TooFew> {
        let own = RESERVED_DESCRIPTORS
            + MAX_UNIX_CONNECTIONS
            + threads * DESCRIPTORS_PER_WORKER
            + listeners * threads;
        // A share each for the API, the gateway and the upstreams.
        let need = own + 3 * MIN_SHARE;
        if have < need {
            return Err(TooFew { have, need });
        }
        let free = have - own;
        let sockets = (free / 3).min(MAX_UPSTREAM_SOCKETS);
        let tcp = (free - sockets).min(MAX_CONNECTIONS);
        let door = |total: usize| Cap { total, per_source: total / 2 };
        let (api, gate) = if gateway { (tcp - tcp / 2, tcp / 2) } else { (tcp, 0) };
        let caps = Caps { api: door(api), gateway: door(gate), unix: MAX_UNIX_CONNECTIONS };
        // A fifth of the connections may lie idle while every call has one.
        let total = sockets - sockets / 5;
        let calls = CallCaps { total, per_service: total / 2, per_caller: total / 4, sockets };
        Ok(Descriptors { caps, calls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the limit: all shares together leave what the daemon itself needs, and nobody
        /// has all of anything.
        #[test]
        fn the_shares_never_exceed_the_limit(have in 0usize..200_000, threads in 1usize..128, listeners in 1usize..17, gateway: bool) {
            let Ok(d) = Descriptors::divide(have, threads, listeners, gateway) else {
                prop_assert!(have < 8192, "refused with {have}");
                return Ok(());
            };
            let Caps { api, gateway: gate, unix } = d.caps;
            let given = api.total + gate.total + unix + d.calls.sockets;
            let own = RESERVED_DESCRIPTORS + threads * DESCRIPTORS_PER_WORKER + listeners * threads;
            prop_assert!(given + own <= have);
            prop_assert!(api.total >= MIN_SHARE && d.calls.sockets >= MIN_SHARE);
            prop_assert_eq!(gate.total > 0, gateway);
            prop_assert!(api.per_source < api.total);
            prop_assert!(0 < d.calls.per_caller && d.calls.per_caller < d.calls.per_service);
            prop_assert!(d.calls.per_service < d.calls.total && d.calls.total < d.calls.sockets);
        }
    }

    #[test]
    fn an_ordinary_limit_serves_and_a_tiny_one_says_what_it_takes() {
        let d = Descriptors::divide(1024, 4, 2, true).expect("1024");
        assert!(d.calls.total >= 100 && d.caps.api.total >= 100, "{d:?}");
        let few = Descriptors::divide(64, 2, 1, false).expect_err("64");
        assert!(few.to_string().contains("LimitNOFILE") && few.need > 64, "{few}");
    }
}
