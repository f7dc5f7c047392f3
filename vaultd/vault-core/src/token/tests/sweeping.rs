//! The sweeper: what it removes, in what steps, and after a crash between any two of them.

use super::*;
use crate::limits::{SWEEP_LAG, SWEEP_TOKENS};
use serde_json::json;

const LATE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn expired_tokens_leave_nothing_behind() {
    let b = Bench::new().await;
    let before = b.records().await;
    let mut family = Vec::new();
    for i in 0..40 {
        let t = b.child(&b.root, json!({"ttl": 10 + i, "num_uses": i % 2, "policies": ["a"]})).await;
        let mut txn = b.store.begin();
        let cubbyhole = b.entry(&t).await.unwrap().caller.cubbyhole.clone().unwrap();
        put(&mut txn, b.cubbyhole, &format!("{cubbyhole}/a")).await;
        put(&mut txn, b.cubbyhole, &format!("{cubbyhole}/deep/er/b")).await;
        txn.commit().await.unwrap();
        if i % 2 == 0 {
            b.child(&t, json!({"ttl": "9h"})).await;
        }
        family.push(t);
    }
    assert_eq!(b.sweep().await, SweepReport::default());
    b.clock.advance(Duration::from_secs(60) + SWEEP_LAG + LATE);
    let report = b.sweep().await;
    assert_eq!((report.expired, report.removed, report.failed), (40, 20, 0));
    assert_eq!(b.records().await, before);
    assert!(walk(&b.store, b.cubbyhole, "").await.is_empty());
}

#[tokio::test]
async fn no_minute_is_passed_over() {
    let b = Bench::new().await;
    let before = b.records().await;
    for minute in (1..40).chain([60, 61, 100, 200, 216]) {
        b.child(&b.root, json!({"ttl": minute * 60, "policies": ["a"]})).await;
    }
    b.clock.advance(HOUR * 4);
    assert_eq!(b.sweep().await.expired, 44);
    assert_eq!(b.records().await, before);
}

#[tokio::test]
async fn a_renewed_token_is_moved_on_and_found_again() {
    let b = Bench::new().await;
    let before = b.records().await;
    let token = b.child(&b.root, json!({"ttl": "10m", "policies": ["a"]})).await;
    b.clock.advance(Duration::from_secs(500));
    b.call(&token, "renew-self", json!({"increment": "1h"})).await.unwrap();
    b.clock.advance(Duration::from_secs(100) + SWEEP_LAG + LATE);
    let report = b.sweep().await;
    assert_eq!((report.expired, report.moved), (0, 1));
    assert!(b.lives(&token).await);
    b.clock.advance(HOUR);
    assert_eq!(b.sweep().await.expired, 1);
    assert_eq!(b.records().await, before);
}

#[tokio::test]
async fn a_token_renewed_to_a_shorter_life_is_removed_then() {
    let b = Bench::new().await;
    let before = b.records().await;
    let token = b.child(&b.root, json!({"ttl": "700h", "policies": ["a"]})).await;
    b.call(&token, "renew-self", json!({"increment": "1m"})).await.unwrap();
    b.clock.advance(Duration::from_secs(60) + SWEEP_LAG + LATE);
    assert_eq!(b.sweep().await.expired, 1);
    assert_eq!(b.records().await, before);
}

#[tokio::test]
async fn nothing_is_missed_when_the_daemon_was_away_or_the_clock_was_set_back() {
    let b = Bench::new().await;
    let before = b.records().await;
    b.child(&b.root, json!({"ttl": "10m", "policies": ["a"]})).await;
    b.clock.advance(HOUR * 24 * 40);
    assert_eq!(b.sweep().await.expired, 1);
    // Two hours back: a token made now expires in minutes that were swept already.
    b.clock.0.fetch_sub(7200 * 1_000_000_000, Ordering::SeqCst);
    b.child(&b.root, json!({"ttl": "10m", "policies": ["a"]})).await;
    b.sweep().await;
    b.clock.advance(Duration::from_secs(600) + SWEEP_LAG + LATE);
    assert_eq!(b.sweep().await.expired, 1);
    assert_eq!(b.records().await, before);
}

#[tokio::test]
async fn a_big_family_is_removed_in_bounded_steps_that_survive_a_restart_between_them() {
    let b = Bench::new().await;
    let before = b.records().await;
    let top = b.child(&b.root, json!({"policies": ["a"]})).await;
    let mut all = Vec::new();
    for _ in 0..30 {
        let child = b.child(&top, json!({})).await;
        for _ in 0..6 {
            all.push(b.child(&child, json!({})).await);
        }
        all.push(child);
    }
    b.call(&b.root, "revoke", json!({"token": top.expose_secret()})).await.unwrap();
    let mut steps = 0;
    loop {
        // A new store each time: only what is on record can carry the work on. Whatever the
        // state in between, no member of the family lives.
        let tokens = b.restarted();
        let report = tokens.sweep_within(b.now(), 1).await.unwrap();
        if report == SweepReport::default() {
            break;
        }
        for t in all.iter().step_by(17) {
            assert!(tokens.lookup(t.expose_secret()).await.unwrap().is_none());
        }
        steps += 1;
        assert!(steps < 500, "the jobs do not come to an end");
    }
    assert!(steps > 30, "{steps} steps are not bounded ones");
    assert_eq!(b.records().await, before);
}

#[tokio::test]
async fn one_sweep_is_bounded_and_says_that_there_is_more() {
    let b = Bench::new().await;
    for _ in 0..(5 * SWEEP_TOKENS) {
        b.child(&b.root, json!({"ttl": "5s", "policies": ["a"]})).await;
    }
    b.clock.advance(Duration::from_secs(60) + SWEEP_LAG + LATE);
    let first = b.tokens.sweep_within(b.now(), 2).await.unwrap();
    assert_eq!((first.more, first.expired), (true, 2 * SWEEP_TOKENS));
    b.sweep().await;
    assert_eq!(b.records().await.len(), 2);
}

#[tokio::test]
async fn a_damaged_record_does_not_stop_the_sweeper() {
    let b = Bench::new().await;
    let bad = b.child(&b.root, json!({"ttl": "5s", "policies": ["a"]})).await;
    let hash = b.entry(&bad).await.unwrap().hash;
    for _ in 0..30 {
        b.child(&b.root, json!({"ttl": "5s", "policies": ["a"]})).await;
    }
    let mut txn = b.store.begin();
    put(&mut txn, Space::core(), &super::record::lease_path(hash)).await;
    txn.commit().await.unwrap();
    b.clock.advance(Duration::from_secs(60) + SWEEP_LAG + LATE);
    let report = b.sweep().await;
    assert_eq!((report.expired, report.failed), (30, 1));
}
