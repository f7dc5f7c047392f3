//! What a request was let in by must still hold when it commits.

use super::*;

const ALL_OF: &str = "capabilities = [\"create\", \"update\", \"read\", \"list\"]";

async fn finished(under_way: tokio::task::JoinHandle<Answer>) -> Answer {
    tokio::time::timeout(Duration::from_secs(60), under_way).await.expect("it ends").unwrap()
}

#[tokio::test]
async fn a_write_falls_with_its_token_revoked_on_the_way() {
    let home = Home::new();
    let v = home.start("pinned-token").await;
    let policy = format!("path \"pinned-token/*\" {{ {ALL_OF} }}\npath \"auth/token/create\" {{ {ALL_OF} }}");
    // Its own token, and one whose parent goes.
    for by_parent in [false, true] {
        let parent = v.token("p", &policy).await;
        let child = v.call(Verb::Write, "auth/token/create", &parent, json!({"policies": ["p"]})).await;
        let token = if by_parent { child.token.unwrap() } else { parent.clone() };
        let under_way = v.stopped_write("pinned-token/", "wait", &token).await;
        v.write("auth/token/revoke", json!({ "token": parent })).await.ok();
        gate("pinned-token/").open.add_permits(16);
        finished(under_way).await.denied();
        v.read("pinned-token/wait").await.refused(ErrorKind::NotFound);
        assert_eq!(gate("pinned-token/").runs.swap(0, Ordering::SeqCst), 1, "not run again for a dead token");
        // Whatever permit was not used must not let a later one through.
        let left = gate("pinned-token/").open.available_permits();
        gate("pinned-token/").open.forget_permits(left);
    }
}

#[tokio::test]
async fn a_write_falls_with_its_mount_disabled_or_replaced_on_the_way() {
    let home = Home::new();
    let v = home.start("pinned-mount").await;
    let under_way = v.stopped_write("pinned-mount/", "wait", &v.root).await;
    v.call(Verb::Delete, "sys/mounts/pinned-mount", &v.root, Value::Null).await.ok();
    v.write("sys/mounts/pinned-mount", json!({"type": "gate"})).await.ok();
    gate("pinned-mount/").open.add_permits(16);
    finished(under_way).await.refused(ErrorKind::NotFound);
    v.read("pinned-mount/wait").await.refused(ErrorKind::NotFound);
}

#[tokio::test]
async fn after_a_conflict_the_token_and_its_policies_are_asked_again() {
    let home = Home::new();
    let v = home.start("again").await;
    let token = v.token("w", &format!("path \"again/*\" {{ {ALL_OF} }}")).await;
    // A tune of the mount is the conflict; meanwhile the policy takes the right away.
    let under_way = v.stopped_write("again/", "wait", &token).await;
    v.write("sys/policies/acl/w", json!({"policy": "path \"again/*\" { capabilities = [\"deny\"] }"}))
        .await
        .ok();
    v.write("sys/mounts/again/tune", json!({"description": "new"})).await.ok();
    gate("again/").open.add_permits(16);
    finished(under_way).await.denied();
    v.read("again/wait").await.refused(ErrorKind::NotFound);
}

/// Expiry changes no record, so no pin notices it: the token is looked up again.
#[tokio::test]
async fn after_a_conflict_a_token_that_has_expired_meanwhile_is_denied() {
    let home = Home::new();
    let v = home.start("late").await;
    let policy = format!("path \"late/*\" {{ {ALL_OF} }}");
    v.write("sys/policies/acl/late", json!({ "policy": policy })).await.ok();
    let made = v.write("auth/token/create", json!({"policies": ["late"], "ttl": "60s"})).await;
    let token = made.token.unwrap();
    let under_way = v.stopped_write("late/", "wait", &token).await;
    home.pass(61);
    let now = v.call(Verb::Read, "auth/token/lookup-self", &token, Value::Null).await;
    now.refused(ErrorKind::Unauthenticated);
    v.write("sys/mounts/late/tune", json!({"description": "new"})).await.ok();
    gate("late/").open.add_permits(16);
    finished(under_way).await.denied();
    v.read("late/wait").await.refused(ErrorKind::NotFound);
    assert_eq!(gate("late/").runs.load(Ordering::SeqCst), 1, "not run again for a dead token");
}

#[tokio::test]
async fn sys_rotate_rotates_once_however_often_its_transaction_runs() {
    let home = Home::new();
    let v = home.start("rotates").await;
    let term = async || v.read("sys/key-status").await.ok()["term"].as_u64().unwrap();
    let before = term().await;
    let child = v.write("auth/token/create", json!({})).await.token.unwrap();
    v.call(Verb::Write, "sys/rotate", &child, json!({})).await.ok();
    assert_eq!(term().await, before + 1);
    // Many at once: each counts once.
    let all = (0..8).map(|_| {
        let v = v.clone();
        tokio::spawn(async move { v.write("sys/rotate/keyring", json!({})).await.ok() })
    });
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    assert_eq!(term().await, before + 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_policy_that_changes_while_it_is_compiled_is_not_kept_as_it_was() {
    let home = Home::new();
    let v = home.start("stale").await;
    let text = |cap: &str| {
        // Long, so that compiling takes its time.
        let filler: String =
            (0..1500).map(|i| format!("path \"filler/{i}/+/x\" {{ capabilities = [\"read\"] }}\n")).collect();
        json!({ "policy": format!("{filler}path \"stale/x\" {{ capabilities = [\"{cap}\"] }}") })
    };
    v.write("stale/x", json!({"k": 1})).await.ok();
    v.write("sys/policies/acl/flips", text("read")).await.ok();
    // Tokens of which no ACL was compiled yet: each with a set of policies of its own.
    let mut made = 0;
    let mut fresh = async || {
        made += 1;
        let policies = json!({"policies": ["flips", format!("none-{made}")]});
        v.write("auth/token/create", policies).await.token.unwrap()
    };
    for _ in 0..6 {
        for (capability, allowed) in [("deny", false), ("read", true)] {
            let mut readers = Vec::new();
            for n in 0..12 {
                let (v, token) = (v.clone(), fresh().await);
                readers.push(tokio::spawn(async move {
                    // Spread over the time that the write takes, so that some compile what it replaces.
                    tokio::time::sleep(Duration::from_millis(n * 4)).await;
                    let _ = v.call(Verb::Read, "stale/x", &token, Value::Null).await;
                    token
                }));
            }
            v.write("sys/policies/acl/flips", text(capability)).await.ok();
            for r in readers {
                let token = r.await.unwrap();
                let now = v.call(Verb::Read, "stale/x", &token, Value::Null).await;
                assert_eq!(now.result.is_ok(), allowed, "after {capability} was acknowledged");
            }
        }
    }
}

#[tokio::test]
async fn sudo_is_asked_where_an_engine_or_sys_says_so() {
    let home = Home::new();
    let v = home.start("sudo").await;
    let plain = v.token("plain", &format!("path \"*\" {{ {ALL_OF} }}")).await;
    let strong = v
        .token(
            "strong",
            "path \"*\" { capabilities = [\"create\", \"update\", \"read\", \"list\", \"sudo\"] }",
        )
        .await;
    for (verb, path) in [
        (Verb::Write, "sudo/guarded/x"),
        (Verb::Read, "sys/audit"),
        (Verb::Read, "sys/audit/"),
        (Verb::Write, "sys/rotate"),
        (Verb::Write, "sys/rotate/keyring"),
        (Verb::List, "auth/token/accessors/"),
    ] {
        v.call(verb, path, &plain, json!({"k": 1})).await.denied();
        v.call(verb, path, &strong, json!({"k": 1})).await.ok();
    }
    v.call(Verb::Write, "sudo/free", &plain, json!({"k": 1})).await.ok();
}

#[tokio::test]
async fn a_foreign_namespace_is_not_served_as_root() {
    let home = Home::new();
    let v = home.start("spaces").await;
    v.write("spaces/a", json!({"k": 1})).await.ok();
    for foreign in ["team", "root/team", "Root", "team/root"] {
        for verb in [Verb::Read, Verb::Write, Verb::Delete, Verb::List] {
            let a = v.within(verb, "spaces/a", &v.root, json!({"k": 2}), foreign).await;
            a.refused(ErrorKind::UnsupportedPath);
        }
    }
    assert_eq!(v.within(Verb::Read, "spaces/a", &v.root, Value::Null, "root").await.ok()["k"], 1);
}

#[tokio::test]
async fn a_login_mounts_ttls_bound_its_tokens_at_login_and_at_renewal() {
    let home = Home::new();
    let v = home.start("ttls").await;
    v.write("sys/auth/door", json!({"type": "anyone"})).await.ok();
    let login = async |data: Value| v.call(Verb::Write, "auth/door/login", "", data).await;
    assert_eq!(login(json!({})).await.lease, TTL.default.as_secs(), "the system's default");
    v.write("sys/auth/door/tune", json!({"default_lease_ttl": 600, "max_lease_ttl": 1200})).await.ok();
    let first = login(json!({})).await;
    assert_eq!(first.lease, 600, "the mount's default");
    assert_eq!(login(json!({"ttl": 7200})).await.lease, 1200, "the mount's maximum");
    let token = first.token.unwrap();
    let renewed = v.call(Verb::Write, "auth/token/renew-self", &token, json!({"increment": 9000})).await;
    assert!((1190..=1200).contains(&renewed.lease), "renewed to {}", renewed.lease);
    // The bound counts from the login, whatever was renewed in between.
    home.pass(1000);
    let again = v.call(Verb::Write, "auth/token/renew-self", &token, json!({"increment": 9000})).await;
    assert!((100..=200).contains(&again.lease), "renewed to {}", again.lease);
    home.pass(200);
    let gone = v.call(Verb::Write, "auth/token/renew-self", &token, json!({"increment": 9000})).await;
    gone.refused(ErrorKind::Unauthenticated);
}

#[tokio::test]
async fn a_tune_keeps_default_below_maximum_and_asks_the_engine() {
    let home = Home::new();
    let v = home.start("tuned").await;
    let tune = async |data: Value| v.write("sys/mounts/tuned/tune", data).await;
    tune(json!({"max_lease_ttl": 600})).await.ok();
    tune(json!({"default_lease_ttl": 601})).await.refused(ErrorKind::InvalidRequest);
    tune(json!({"default_lease_ttl": 700, "max_lease_ttl": 699})).await.refused(ErrorKind::InvalidRequest);
    tune(json!({"default_lease_ttl": 600})).await.ok();
    let text = tune(json!({"options": {"refused": "1"}})).await.refused(ErrorKind::InvalidRequest);
    assert!(text.contains("refused by its engine"), "{text}");
    let now = v.read("sys/mounts/tuned/tune").await.ok();
    assert_eq!((now["default_lease_ttl"].as_u64(), now.get("options")), (Some(600), None));
}

#[tokio::test]
async fn what_is_built_in_cannot_be_written() {
    let home = Home::new();
    let v = home.start("builtin").await;
    let any = json!({"policy": "path \"*\" { capabilities = [\"read\"] }"});
    for name in ["root", "response-wrapping"] {
        v.write(&format!("sys/policies/acl/{name}"), any.clone()).await.refused(ErrorKind::InvalidRequest);
        v.write(&format!("sys/policy/{name}"), any.clone()).await.refused(ErrorKind::InvalidRequest);
        v.call(Verb::Delete, &format!("sys/policies/acl/{name}"), &v.root, Value::Null)
            .await
            .refused(ErrorKind::InvalidRequest);
    }
    let made = v.write("auth/token/create", json!({"policies": ["response-wrapping"]})).await;
    made.refused(ErrorKind::InvalidRequest);
}

/// The audit cannot take the answer: the token that was in it must not live.
#[tokio::test]
async fn the_token_of_an_unrecorded_answer_does_not_live() {
    let home = Home::new();
    let v = home.start("unrecorded").await;
    v.write("sys/auth/unheard", json!({"type": "anyone"})).await.ok();
    let accessors =
        async |v: &Vault| v.call(Verb::List, "auth/token/accessors/", &v.root, Value::Null).await.ok();
    let before = accessors(&v).await;
    let login = {
        let v = v.clone();
        tokio::spawn(async move { v.call(Verb::Write, "auth/unheard/login", "", json!({"wait": 1})).await })
    };
    let stop = gate("auth/unheard/");
    stop.arrived.acquire().await.unwrap().forget();
    // The request is on record; from here on nothing is.
    v.handle.core().unsealed().unwrap().audit.close().await;
    stop.open.add_permits(1);
    let a = login.await.unwrap();
    assert!(a.token.is_none());
    a.refused(ErrorKind::Internal);
    v.handle.core().shutdown().await;
    let (root, mut v) = (v.root.clone(), home.open(ALL, Vec::new()).await);
    home.unseal(&v).await;
    v.root = root;
    assert_eq!(accessors(&v).await, before, "no token is left of what nobody was told");
    // It would have been there.
    v.call(Verb::Write, "auth/unheard/login", "", json!({})).await.ok();
    assert_ne!(accessors(&v).await, before);
}
