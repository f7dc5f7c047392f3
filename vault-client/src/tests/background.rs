//! Renewal and cache.

use super::server::{Server, json};
use crate::{Cache, Kind, TokenState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Longest wait for anything in these tests.
const BOUND: Duration = Duration::from_secs(20);

async fn next(renewal: &mut crate::Renewal) -> Option<TokenState> {
    tokio::time::timeout(BOUND, renewal.changed()).await.expect("a state in time")
}

#[tokio::test]
async fn a_token_is_renewed_until_it_cannot_be() {
    let server = Server::start(&["h2"], |s, _| {
        static RENEWALS: AtomicUsize = AtomicUsize::new(0);
        Some(if s.target.ends_with("lookup-self") {
            json(200, r#"{"data":{"ttl":1,"renewable":true,"expire_time":"x"}}"#)
        } else {
            // The second renewal is the last that gains time; then the token has reached its end.
            match RENEWALS.fetch_add(1, Ordering::SeqCst) {
                0 => json(200, r#"{"auth":{"client_token":"hvs.t","lease_duration":2,"renewable":true}}"#),
                _ => json(200, r#"{"auth":{"client_token":"hvs.t","lease_duration":0,"renewable":true}}"#),
            }
        })
    })
    .await;
    let mut renewal = server.client().keep_token_alive();
    assert_eq!(next(&mut renewal).await, Some(TokenState::Valid { ttl: Duration::from_secs(1) }));
    assert_eq!(next(&mut renewal).await, Some(TokenState::Valid { ttl: Duration::from_secs(2) }));
    assert_eq!(next(&mut renewal).await, Some(TokenState::Final { ttl: Duration::ZERO }));
    assert_eq!(next(&mut renewal).await, None);
    assert_eq!(renewal.state(), TokenState::Final { ttl: Duration::ZERO });
}

#[tokio::test]
async fn tokens_without_end_unknown_and_fixed_ones_are_told() {
    for (status, body, want) in [
        (200, r#"{"data":{"ttl":0,"renewable":false,"expire_time":null}}"#, TokenState::Permanent),
        (
            200,
            r#"{"data":{"ttl":9,"renewable":false,"expire_time":"x"}}"#,
            TokenState::Final { ttl: Duration::from_secs(9) },
        ),
        (403, r#"{"errors":["permission denied"]}"#, TokenState::Gone),
    ] {
        let server = Server::fixed(status, body).await;
        let mut renewal = server.client().keep_token_alive();
        assert_eq!(next(&mut renewal).await, Some(want));
        assert_eq!(next(&mut renewal).await, None);
    }
}

#[tokio::test]
async fn a_server_that_is_away_for_a_while_is_asked_again() {
    let server = Server::start(&["h2"], |_, n| {
        Some(match n {
            0 => json(500, ""),
            _ => json(200, r#"{"data":{"ttl":0}}"#),
        })
    })
    .await;
    let mut renewal = server.client().keep_token_alive();
    assert_eq!(next(&mut renewal).await, Some(TokenState::Permanent));
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_cache_asks_once_while_an_answer_is_good() {
    let server = Server::start(&["h2"], |s, n| {
        Some(match s.target.as_str() {
            "/v1/none" => json(404, r#"{"errors":[]}"#),
            "/v1/fails" => json(403, r#"{"errors":["permission denied"]}"#),
            "/v1/leased" => json(200, &format!(r#"{{"lease_duration":1,"data":{{"n":{n}}}}}"#)),
            _ => json(200, r#"{"data":{"k":"v"}}"#),
        })
    })
    .await;
    let count = |path: &str| server.requests().iter().filter(|s| s.target == format!("/v1/{path}")).count();
    let cache = Arc::new(Cache::new(server.client()).capacity(3).max_age(Duration::from_secs(60)));

    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get("a").await.unwrap().unwrap().text("k").map(str::to_owned) })
        })
        .collect();
    for t in tasks {
        assert_eq!(t.await.unwrap().as_deref(), Some("v"));
    }
    assert_eq!(count("a"), 1, "twenty readers, one question");

    for _ in 0..2 {
        assert!(cache.get("none").await.unwrap().is_none());
        assert_eq!(cache.get("fails").await.unwrap_err().kind(), Kind::PermissionDenied);
    }
    assert_eq!((count("none"), count("fails")), (2, 2), "absence and errors are not kept");

    for path in ["b", "c", "d", "e"] {
        cache.get(path).await.unwrap();
        assert!(cache.len() <= 3);
    }
    cache.get("e").await.unwrap();
    cache.get("a").await.unwrap();
    assert_eq!((count("e"), count("a")), (1, 2), "the one longest unused went");
    cache.invalidate("a");
    cache.get("a").await.unwrap();
    assert_eq!(count("a"), 3);
    cache.clear();
    assert!(cache.is_empty());
}

#[tokio::test]
async fn a_cached_answer_ends_with_its_lease() {
    let server = Server::start(&["h2"], |_, n| {
        Some(json(200, &format!(r#"{{"lease_duration":1,"data":{{"n":"{n}"}}}}"#)))
    })
    .await;
    let cache = Cache::new(server.client());
    let first = cache.get("x").await.unwrap().unwrap();
    assert_eq!(cache.get("x").await.unwrap().unwrap().text("n"), first.text("n"));
    let begin = tokio::time::Instant::now();
    while cache.get("x").await.unwrap().unwrap().text("n") == first.text("n") {
        assert!(begin.elapsed() < BOUND, "the lease never ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.requests().len(), 2);
}
