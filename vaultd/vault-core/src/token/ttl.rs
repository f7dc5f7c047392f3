//! How long a token lives: Vault's rules, in whole seconds.

use std::time::Duration;
use vault_logical::{Error, Result, Timestamp};

/// Effective TTLs where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TtlDefaults {
    pub default_ttl: Duration,
    pub max_ttl: Duration,
}

/// What was asked for. Zero means "not stated" throughout.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    /// Asked for by a renewal.
    pub increment: Duration,
    /// The token's own TTL.
    pub ttl: Duration,
    pub period: Duration,
    pub max_ttl: Duration,
    pub explicit_max_ttl: Duration,
}

/// The time to live from `now` of a token made at `created`, and warnings where less was given
/// than asked for.
///
/// # Errors
/// 400 when the token is past its maximum.
pub(super) fn effective(
    wanted: &Wanted,
    defaults: TtlDefaults,
    created: Timestamp,
    now: Timestamp,
) -> Result<(Duration, Vec<String>)> {
    let mut warnings = Vec::new();
    let mut max = defaults.max_ttl;
    for bound in [wanted.max_ttl, wanted.explicit_max_ttl] {
        if !bound.is_zero() {
            max = max.min(bound);
        }
    }
    let (mut ttl, last) = if wanted.period.is_zero() {
        let ttl = [wanted.increment, wanted.ttl, defaults.default_ttl]
            .into_iter()
            .find(|d| !d.is_zero())
            .unwrap_or(defaults.max_ttl);
        (ttl, Some(created.plus(max)))
    } else {
        if wanted.period > max {
            warnings.push(format!(
                "period of \"{}\" exceeded the effective max_ttl of \"{}\"; period value is capped accordingly",
                go_duration(wanted.period),
                go_duration(max)
            ));
        }
        let last = (!wanted.explicit_max_ttl.is_zero()).then(|| created.plus(wanted.explicit_max_ttl));
        (wanted.period.min(max), last)
    };
    if let Some(last) = last {
        let left = now.until(last);
        if left.is_zero() {
            return Err(Error::invalid("past the max TTL, cannot renew"));
        }
        if ttl > left {
            warnings.push(format!(
                "TTL of \"{}\" exceeded the effective max_ttl of \"{}\"; TTL value is capped accordingly",
                go_duration(ttl),
                go_duration(Duration::from_secs(left.as_secs()))
            ));
            ttl = left;
        }
    }
    Ok((ttl, warnings))
}

/// Rounds up to whole seconds, so that what is asked for in less does not mean "not stated".
pub(super) fn whole_seconds(d: Duration) -> u64 {
    d.as_secs().saturating_add(u64::from(d.subsec_nanos() > 0))
}

/// Whole seconds as Go prints them: `768h0m0s`, `1m30s`, `0s`.
pub(super) fn go_duration(d: Duration) -> String {
    let s = d.as_secs();
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: u64 = 3600;
    fn d(s: u64) -> Duration {
        Duration::from_secs(s)
    }
    fn at(s: u64) -> Timestamp {
        Timestamp::from_unix_secs(i64::try_from(s).unwrap())
    }
    const DEFAULTS: TtlDefaults = TtlDefaults {
        default_ttl: Duration::from_secs(768 * HOUR),
        max_ttl: Duration::from_secs(768 * HOUR),
    };

    #[test]
    fn durations_print_as_go_prints_them() {
        for (s, text) in [(0, "0s"), (59, "59s"), (90, "1m30s"), (3600, "1h0m0s"), (768 * HOUR, "768h0m0s")] {
            assert_eq!(go_duration(d(s)), text);
        }
    }

    #[test]
    fn capping_warns_as_vault_does() {
        let w = Wanted { ttl: d(1000 * HOUR), ..Wanted::default() };
        let (ttl, warnings) = effective(&w, DEFAULTS, at(100), at(100)).unwrap();
        assert_eq!(ttl, d(768 * HOUR));
        assert_eq!(
            warnings,
            [
                "TTL of \"1000h0m0s\" exceeded the effective max_ttl of \"768h0m0s\"; TTL value is capped accordingly"
            ]
        );
        let w = Wanted { period: d(1000 * HOUR), ..Wanted::default() };
        let (ttl, warnings) = effective(&w, DEFAULTS, at(100), at(100)).unwrap();
        assert_eq!(ttl, d(768 * HOUR));
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("period of \"1000h0m0s\" exceeded"));
    }

    #[test]
    fn a_renewal_cannot_pass_the_maximum() {
        let w = Wanted { increment: d(50), explicit_max_ttl: d(100), ..Wanted::default() };
        assert_eq!(effective(&w, DEFAULTS, at(0), at(40)).unwrap(), (d(50), vec![]));
        assert_eq!(effective(&w, DEFAULTS, at(0), at(80)).unwrap().0, d(20));
        assert!(effective(&w, DEFAULTS, at(0), at(100)).is_err());
    }

    #[test]
    fn a_period_has_no_maximum_but_an_explicit_one() {
        let far = at(10_000 * HOUR);
        let w = Wanted { period: d(60), increment: d(5), ..Wanted::default() };
        assert_eq!(effective(&w, DEFAULTS, at(0), far).unwrap().0, d(60));
        let w = Wanted { explicit_max_ttl: d(100), ..w };
        assert_eq!(effective(&w, DEFAULTS, at(0), at(70)).unwrap().0, d(30));
        assert!(effective(&w, DEFAULTS, at(0), far).is_err());
    }

    proptest! {
        /// Nothing that is not periodic outlives creation plus the smallest maximum, and nothing
        /// at all outlives its explicit maximum.
        #[test]
        fn never_past_a_maximum(
            inc in 0u64..5000, ttl in 0u64..5000, period in 0u64..500, max in 0u64..3000,
            explicit in 0u64..3000, age in 0u64..4000, sys in 1u64..3000,
        ) {
            let w = Wanted {
                increment: d(inc), ttl: d(ttl), period: d(period), max_ttl: d(max), explicit_max_ttl: d(explicit),
            };
            let defaults = TtlDefaults { default_ttl: d(sys.min(700)), max_ttl: d(sys) };
            if let Ok((got, _)) = effective(&w, defaults, at(1000), at(1000 + age)) {
                prop_assert!(!got.is_zero());
                if explicit > 0 {
                    prop_assert!(age + got.as_secs() <= explicit);
                }
                if period == 0 {
                    prop_assert!(age + got.as_secs() <= sys);
                    prop_assert!(max == 0 || age + got.as_secs() <= max);
                } else {
                    prop_assert!(got.as_secs() <= period);
                }
            }
        }
    }
}
