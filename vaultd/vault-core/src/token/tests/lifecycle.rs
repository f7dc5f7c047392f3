//! Expiry, renewal, parents and children.

use super::*;
use serde_json::json;

#[tokio::test]
async fn a_token_ends_exactly_at_its_ttl() {
    let b = Bench::new().await;
    let token = b.child(&b.root, json!({"ttl": "90s", "policies": ["app"]})).await;
    b.clock.advance(Duration::from_secs(90) - Duration::from_nanos(1));
    assert!(b.lives(&token).await);
    assert!(b.restarted().lookup(token.expose_secret()).await.unwrap().is_some());
    b.clock.advance(Duration::from_nanos(1));
    assert!(!b.lives(&token).await);
    assert!(b.restarted().lookup(token.expose_secret()).await.unwrap().is_none());
    assert_eq!(b.describe(&token).await.unwrap_err().message(), "bad token");
}

#[tokio::test]
async fn a_parent_that_expires_takes_its_children_with_it() {
    let b = Bench::new().await;
    let parent = b.child(&b.root, json!({"ttl": "1m", "policies": ["app"]})).await;
    let child = b.child(&parent, json!({"ttl": "1h"})).await;
    let grandchild = b.child(&child, json!({"ttl": "1h"})).await;
    b.clock.advance(Duration::from_secs(60));
    assert!(!b.lives(&child).await);
    assert!(!b.lives(&grandchild).await);
}

#[tokio::test]
async fn revoking_is_visible_at_once_for_every_descendant() {
    let b = Bench::new().await;
    let other = b.restarted();
    let mut family = vec![b.child(&b.root, json!({"policies": ["app"]})).await];
    for _ in 0..5 {
        family.push(b.child(family.last().unwrap(), json!({})).await);
    }
    for t in &family {
        assert!(b.lives(t).await && other.lookup(t.expose_secret()).await.unwrap().is_some());
    }
    b.call(&b.root, "revoke", json!({"token": family[1].expose_secret()})).await.unwrap();
    for (i, t) in family.iter().enumerate() {
        assert_eq!(b.lives(t).await, i == 0, "generation {i}");
        assert_eq!(other.lookup(t.expose_secret()).await.unwrap().is_some(), i == 0, "generation {i}");
    }
}

#[tokio::test]
async fn revoke_orphan_sets_the_children_free() {
    let b = Bench::new().await;
    let before = b.records().await;
    let parent = b.child(&b.root, json!({"policies": ["app"]})).await;
    let children = [b.child(&parent, json!({})).await, b.child(&parent, json!({})).await];
    let grandchild = b.child(&children[0], json!({})).await;
    assert!(b.lives(&grandchild).await);
    b.call(&b.root, "revoke-orphan", json!({"token": parent.expose_secret()})).await.unwrap();
    assert!(!b.lives(&parent).await);
    for t in children.iter().chain([&grandchild]) {
        assert!(b.lives(t).await);
        assert!(b.restarted().lookup(t.expose_secret()).await.unwrap().is_some());
        // Its writing requests must not depend on the parent's old record.
        b.call(t, "renew-self", json!({})).await.unwrap();
    }
    assert_eq!(b.describe(&children[0]).await.unwrap()["orphan"], json!(true));
    assert_eq!(b.describe(&grandchild).await.unwrap()["orphan"], json!(false));
    b.sweep().await;
    for t in children.iter().chain([&grandchild]) {
        assert!(b.lives(t).await);
    }
    for t in &children {
        b.call(&b.root, "revoke", json!({"token": t.expose_secret()})).await.unwrap();
    }
    assert!(!b.lives(&grandchild).await);
    b.sweep().await;
    b.clock.advance(crate::limits::JOB_DELAY);
    b.sweep().await;
    assert_eq!(b.records().await, before, "nothing is left of the family");
}

#[tokio::test]
async fn a_writing_request_is_refused_when_its_token_or_a_parent_was_revoked_meanwhile() {
    let b = Bench::new().await;
    let parent = b.child(&b.root, json!({"policies": ["app"]})).await;
    let child = b.child(&parent, json!({})).await;
    for victim in [&child, &parent] {
        let caller = b.entry(&child).await;
        let Some(caller) = caller else { continue };
        let mut txn = b.store.begin();
        b.tokens.pin(&mut txn, &caller);
        put(&mut txn, b.cubbyhole, "written").await;
        b.tokens.revoke(b.entry(victim).await.unwrap().hash).await.unwrap();
        assert!(!b.tokens.still_valid(&caller).await.unwrap());
        assert!(matches!(txn.commit().await, Err(storage::CommitError::Conflict)));
    }
    let parent = b.child(&b.root, json!({"policies": ["app"]})).await;
    let child = b.child(&parent, json!({})).await;
    let caller = b.entry(&child).await.unwrap();
    let mut txn = b.store.begin();
    b.tokens.pin(&mut txn, &caller);
    put(&mut txn, b.cubbyhole, "written").await;
    b.tokens.revoke(b.entry(&parent).await.unwrap().hash).await.unwrap();
    assert!(matches!(txn.commit().await, Err(storage::CommitError::Conflict)));
}

#[tokio::test]
async fn renewals_and_uses_do_not_disturb_writing_requests() {
    let b = Bench::new().await;
    let parent = b.child(&b.root, json!({"policies": ["app"]})).await;
    let child = b.child(&parent, json!({"num_uses": 9})).await;
    let caller = b.entry(&child).await.unwrap();
    let mut txn = b.store.begin();
    b.tokens.pin(&mut txn, &caller);
    put(&mut txn, b.cubbyhole, "written").await;
    b.call(&parent, "renew-self", json!({"increment": 60})).await.unwrap();
    b.call(&b.root, "renew", json!({"token": child.expose_secret()})).await.unwrap();
    assert_eq!(b.tokens.charge_use(&caller).await.unwrap(), UseOutcome::Left(8));
    txn.commit().await.unwrap();
}

#[tokio::test]
async fn a_child_of_a_token_that_is_revoked_meanwhile_is_never_born() {
    let b = Bench::new().await;
    let parent = b.child(&b.root, json!({"policies": ["app"]})).await;
    let before_child = b.records().await.len();
    let entry = b.entry(&parent).await.unwrap();
    let mut txn = b.store.begin();
    let new = NewToken {
        parent: Some(entry.clone()),
        policies: vec!["app".into()],
        ..NewToken::blank(Issuer::Core, "x")
    };
    let born = b.tokens.create(&mut txn, new).await.unwrap();
    b.tokens.revoke(entry.hash).await.unwrap();
    assert!(txn.commit().await.is_err());
    assert!(!b.lives(&born.client_token).await);
    assert!(b.records().await.len() < before_child);
}

#[tokio::test]
async fn renewing_extends_up_to_the_maximum_and_periodic_tokens_without_end() {
    let b = Bench::new().await;
    let plain = b.child(&b.root, json!({"ttl": "1h", "explicit_max_ttl": "3h", "policies": ["a"]})).await;
    let periodic = b.child(&b.root, json!({"period": "1h", "policies": ["a"]})).await;
    for hour in 1..=3u32 {
        b.clock.advance(HOUR - Duration::from_secs(1));
        let auth = b.call(&plain, "renew-self", json!({"increment": "1h"})).await.unwrap().1.unwrap();
        let expected = (3 * HOUR).saturating_sub((HOUR - Duration::from_secs(1)) * hour).min(HOUR);
        assert_eq!(auth.lease_duration, expected, "hour {hour}");
        let auth = b.call(&periodic, "renew-self", json!({"increment": "9h"})).await.unwrap().1.unwrap();
        assert_eq!(auth.lease_duration, HOUR);
    }
    b.clock.advance(Duration::from_secs(3));
    assert!(!b.lives(&plain).await);
    for _ in 0..1000 {
        b.clock.advance(HOUR - Duration::from_secs(4));
        b.call(&periodic, "renew-self", json!({})).await.unwrap();
    }
    let seen = b.describe(&periodic).await.unwrap();
    assert_eq!((&seen["period"], &seen["ttl"]), (&json!(3600), &json!(3600)));
    b.clock.advance(HOUR);
    assert!(!b.lives(&periodic).await);
}

#[tokio::test]
async fn what_is_not_renewable_is_refused() {
    let b = Bench::new().await;
    let fixed = b.child(&b.root, json!({"ttl": "1h", "renewable": false, "policies": ["a"]})).await;
    for t in [&fixed, &b.root] {
        assert_eq!(message(b.call(t, "renew-self", json!({})).await), "lease is not renewable");
    }
    assert_eq!(b.describe(&fixed).await.unwrap()["renewable"], json!(false));
}

#[tokio::test]
async fn a_revoked_token_is_not_read_back_into_the_cache_by_a_slow_reader() {
    let b = Bench::new().await;
    let token = b.child(&b.root, json!({"policies": ["a"]})).await;
    let entry = b.entry(&token).await.unwrap();
    // A reader that took its ticket and read before the revocation, and fills after it.
    let cache = &b.tokens.0.cache;
    cache.clear();
    let ticket = cache.ticket(entry.hash);
    b.tokens.revoke(entry.hash).await.unwrap();
    cache.fill(entry.hash, ticket, super::entry::Cached::Token(entry.clone()));
    assert!(!b.lives(&token).await);
}

#[tokio::test]
async fn the_cache_is_bounded_and_the_store_still_answers() {
    let b = Bench::new().await;
    let bound = crate::limits::TOKEN_CACHE_PER_SHARD * crate::limits::TOKEN_CACHE_SHARDS;
    let cache = super::cache::Cache::new();
    let entry = b.entry(&b.root).await.unwrap();
    for i in 0..bound + bound / 2 {
        let text = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(i.to_le_bytes()));
        let h = TokenHash::from_hex(&text).unwrap();
        cache.fill(h, cache.ticket(h), super::entry::Cached::Token(entry.clone()));
        assert!(cache.get(h).is_some());
    }
    assert!(cache.len() <= bound && cache.len() > bound / 2, "{}", cache.len());
}

#[tokio::test]
async fn generations_of_children_are_bounded() {
    let b = Bench::new().await;
    let mut last = b.child(&b.root, json!({"policies": ["a"]})).await;
    for _ in 2..crate::limits::MAX_TOKEN_DEPTH {
        last = b.child(&last, json!({})).await;
        assert!(b.lives(&last).await);
    }
    assert_eq!(message(b.call(&last, "create", json!({})).await), "too many generations of child tokens");
}

#[tokio::test]
async fn ending_every_token_is_one_commit_and_leaves_nothing() {
    let b = Bench::new().await;
    let a = b.child(&b.root, json!({"policies": ["a"]})).await;
    let c = b.child(&a, json!({})).await;
    let other = b.restarted();
    assert!(other.lookup(c.expose_secret()).await.unwrap().is_some());
    let accessor = b.entry(&c).await.unwrap().accessor.clone();
    b.tokens.revoke_all().await.unwrap();
    for t in [&a, &c, &b.root] {
        assert!(!b.lives(t).await);
        assert!(other.lookup(t.expose_secret()).await.unwrap().is_none());
    }
    assert!(b.tokens.entry_of_accessor(&accessor).await.unwrap().is_none());
    // A token made afterwards lives, through the clean-up too.
    let new = b.make(NewToken::root()).await.unwrap().client_token;
    b.sweep().await;
    assert!(b.lives(&new).await);
    let left = b.records().await;
    assert_eq!(left.iter().filter(|p| !p.starts_with("token/generation")).count(), 2, "{left:?}");
}

#[tokio::test]
async fn garbage_is_no_token_and_no_error() {
    let b = Bench::new().await;
    let long = format!("hvs.{}", "x".repeat(100_000));
    for junk in
        ["", "hvs.", "hvs.unknown", "s.unknown", "hvb.AAAA", "root", "hvs.a\n", " hvs.a", "hvs.\u{0}", &long]
    {
        assert!(b.tokens.lookup(junk).await.unwrap().is_none(), "{junk:?}");
    }
    let almost = format!("{}x", b.root.expose_secret());
    assert!(b.tokens.lookup(&almost).await.unwrap().is_none());
    assert!(b.tokens.lookup(&b.root.expose_secret().to_uppercase()).await.unwrap().is_none());
}
