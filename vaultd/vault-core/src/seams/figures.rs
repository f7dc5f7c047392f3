//! What the core counts of requests and tokens.

use super::*;
use vault_metrics::{Page, Value as Figure};

async fn page(v: &Vault) -> Page {
    let core = v.handle.core();
    core.collector.page(core.unsealed().as_deref()).await
}

/// The sum of a name's figures that have these labels.
fn sum(page: &Page, name: &str, labels: &[&str]) -> f64 {
    let family = page.families().iter().find(|f| f.name == name).unwrap();
    let fits = |s: &&vault_metrics::Sample| labels.iter().all(|l| s.labels.iter().any(|(_, v)| v == l));
    let value = |s: &vault_metrics::Sample| match s.value {
        Figure::Number(n) => n,
        Figure::Times(r) => r.count as f64,
    };
    family.samples.iter().filter(fits).map(value).sum()
}

#[tokio::test]
async fn tokens_are_counted_when_they_come_and_when_they_go() {
    let home = Home::new();
    let v = home.start("tokens").await;
    v.write("sys/auth/anyone", json!({"type": "anyone"})).await.ok();
    let create = async |data: Value| v.write("auth/token/create", data).await.token.unwrap();
    let parent = create(json!({"policies": ["default"]})).await;
    let _short = create(json!({"ttl": "60s"})).await;
    // Refused: not a token.
    v.write("auth/token/create", json!({"ttl": "never"})).await.refused(ErrorKind::InvalidRequest);
    v.call(Verb::Write, "auth/anyone/login", "", json!({})).await.ok();
    let core = v.handle.core().unsealed().unwrap();
    core.collector.metrics.usage.count(&core).await;
    let before = page(&v).await;
    assert_eq!(sum(&before, "vault.token.creation", &[]), 3.0);
    // And the root token, which init made before there was anything to count.
    assert_eq!(sum(&before, "vault.token.count", &[]), 4.0);
    assert_eq!(sum(&before, "vaultd.tokens_removed_total", &[]), 0.0);
    assert_eq!(sum(&before, "vault.core.handle_login_request", &[]), 1.0);
    v.write("auth/token/revoke", json!({ "token": parent })).await.ok();
    // One's time is up.
    home.pass(600);
    core.sweep().await.unwrap();
    let after = page(&v).await;
    assert_eq!(sum(&after, "vaultd.tokens_removed_total", &[]), 2.0);
    assert_eq!(sum(&after, "vaultd.tokens_expired_total", &[]), 1.0);
}

#[tokio::test]
async fn each_request_has_one_mount_type_operation_and_outcome() {
    let home = Home::new();
    let v = home.start("counted").await;
    let none = v.token("none", "path \"x\" { capabilities = [\"read\"] }").await;
    let name = "vaultd.request_duration_seconds";
    let mut asked = sum(&page(&v).await, name, &[]);
    for (verb, path, token, labels) in [
        (Verb::Write, "counted/a", v.root.as_str(), ["other", "update", "ok"]),
        (Verb::Read, "counted/a", &v.root, ["other", "read", "ok"]),
        (Verb::Read, "counted/b", &v.root, ["other", "read", "not_found"]),
        (Verb::Read, "counted/a", &none, ["other", "read", "denied"]),
        (Verb::Read, "counted/a", "hvs.made-up", ["other", "read", "denied"]),
        (Verb::Read, "made/up", &v.root, ["none", "read", "not_found"]),
        (Verb::Help, "counted", &v.root, ["other", "help", "ok"]),
        (Verb::Read, "sys/mounts", &v.root, ["system", "read", "ok"]),
        (Verb::Read, "sys/health", "", ["system", "read", "ok"]),
        (Verb::Read, "auth/token/lookup-self", &v.root, ["token", "read", "ok"]),
    ] {
        let before = sum(&page(&v).await, name, &labels);
        let _ = v.call(verb, path, token, json!({"k": "v"})).await;
        let now = page(&v).await;
        asked += 1.0;
        assert_eq!(sum(&now, name, &labels) - before, 1.0, "{path} {labels:?}");
        assert_eq!(sum(&now, name, &[]), asked, "{path}: counted once");
    }
    v.write("sys/seal", Value::Null).await.ok();
    v.read("counted/a").await.refused(ErrorKind::Sealed);
    let sealed = page(&v).await;
    assert_eq!(sum(&sealed, name, &["none", "read", "unavailable"]), 1.0);
    assert_eq!(sum(&sealed, "vault.core.unsealed", &[]), 0.0);
    assert_eq!(sum(&sealed, "vault.core.in_flight_requests", &[]), 0.0);
}
