//! Limited tokens: exactly as many requests as they have uses.

use super::*;
use serde_json::json;

async fn limited(b: &Bench, uses: u64) -> SecretString {
    b.child(&b.root, json!({"num_uses": uses, "policies": ["app"]})).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_200_parallel_calls_exactly_as_many_succeed_as_there_are_uses() {
    for uses in [1, 7] {
        let b = Arc::new(Bench::new().await);
        let token = limited(&b, uses).await;
        let entry = b.entry(&token).await.unwrap();
        let mut calls = Vec::new();
        for _ in 0..200 {
            let (b, entry) = (b.clone(), entry.clone());
            calls.push(tokio::spawn(async move { b.tokens.charge_use(&entry).await.unwrap() }));
        }
        let mut outcomes = Vec::new();
        for c in calls {
            outcomes.push(c.await.unwrap());
        }
        let last = outcomes.iter().filter(|o| **o == UseOutcome::Last).count();
        let exhausted = outcomes.iter().filter(|o| **o == UseOutcome::Exhausted).count();
        assert_eq!((last, exhausted), (1, 200 - uses as usize), "{uses} uses");
    }
}

/// Two token stores that share no lock, as on two nodes: the transaction alone must hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_nodes_take_no_use_twice() {
    let b = Bench::new().await;
    let token = limited(&b, 200).await;
    let other = b.restarted();
    let entries =
        [b.entry(&token).await.unwrap(), other.lookup(token.expose_secret()).await.unwrap().unwrap()];
    let mut calls = Vec::new();
    for i in 0..600 {
        let tokens = if i % 2 == 0 { b.tokens.clone() } else { other.clone() };
        let entry = entries[i % 2].clone();
        calls.push(tokio::spawn(async move {
            // On a busy machine a turn may not come in time: no use was taken, and it is asked again.
            loop {
                if let Ok(outcome) = tokens.charge_use(&entry).await {
                    return outcome;
                }
            }
        }));
    }
    let mut left = Vec::new();
    for c in calls {
        match c.await.unwrap() {
            UseOutcome::Left(n) => left.push(n),
            UseOutcome::Last => left.push(0),
            UseOutcome::Unlimited | UseOutcome::Exhausted => {}
        }
    }
    left.sort_unstable();
    assert_eq!(left, (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_use_is_durable_before_the_request_runs() {
    let b = Bench::new().await;
    let token = limited(&b, 2).await;
    let entry = b.entry(&token).await.unwrap();
    assert_eq!(b.tokens.charge_use(&entry).await.unwrap(), UseOutcome::Left(1));
    let after = b.restarted();
    let entry = after.lookup(token.expose_secret()).await.unwrap().unwrap();
    assert_eq!(after.charge_use(&entry).await.unwrap(), UseOutcome::Last);
    assert_eq!(after.charge_use(&entry).await.unwrap(), UseOutcome::Exhausted);
}

#[tokio::test]
async fn the_last_use_ends_the_token_and_its_children_after_the_request() {
    let b = Bench::new().await;
    let token = limited(&b, 1).await;
    let entry = b.entry(&token).await.unwrap();
    assert_eq!(b.tokens.charge_use(&entry).await.unwrap(), UseOutcome::Last);
    // The request itself can still look at the token; nobody else finds it.
    let seen = b.call(&token, "lookup-self", json!({})).await.unwrap().0.data.unwrap();
    assert_eq!(seen["num_uses"], json!(0));
    assert_eq!(b.describe(&token).await.unwrap_err().message(), "bad token");
    b.tokens.end_last_use(&entry).await.unwrap();
    assert!(!b.lives(&token).await);
}

#[tokio::test]
async fn a_crash_during_the_last_use_leaves_no_token() {
    let b = Bench::new().await;
    let before = b.records().await;
    let token = limited(&b, 1).await;
    let entry = b.entry(&token).await.unwrap();
    assert_eq!(b.tokens.charge_use(&entry).await.unwrap(), UseOutcome::Last);
    // A sweep in between must not disturb the request that is still under way.
    b.sweep().await;
    assert!(b.lives(&token).await);
    b.clock.advance(crate::limits::LAST_USE_GRACE + Duration::from_secs(1));
    b.sweep().await;
    assert!(!b.lives(&token).await);
    assert_eq!(b.records().await, before);
}

#[tokio::test]
async fn a_limited_token_cannot_escape_its_limit_through_children() {
    let b = Bench::new().await;
    let token = limited(&b, 5).await;
    for path in ["create", "create-orphan"] {
        assert_eq!(
            message(b.call(&token, path, json!({})).await),
            "restricted use token cannot generate child tokens"
        );
    }
}

#[tokio::test]
async fn lookups_show_what_is_left() {
    let b = Bench::new().await;
    let token = limited(&b, 3).await;
    let entry = b.entry(&token).await.unwrap();
    assert_eq!(b.tokens.charge_use(&entry).await.unwrap(), UseOutcome::Left(2));
    assert_eq!(b.describe(&token).await.unwrap()["num_uses"], json!(2));
    assert_eq!(b.tokens.charge_use(&b.entry(&b.root).await.unwrap()).await.unwrap(), UseOutcome::Unlimited);
}
