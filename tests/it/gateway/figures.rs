//! What the metrics tell of calls through the gateway, and of logins.

use super::*;
use crate::metrics::Scrape;

fn failures(reason: &str) -> String {
    format!("vaultd_gateway_failures_total{{service=\"openai\",reason=\"{reason}\"}}")
}

fn calls(class: &str, phase: &str) -> String {
    format!("vaultd_gateway_calls_total{{service=\"openai\",status_class=\"{class}\",phase=\"{phase}\"}}")
}

#[tokio::test]
async fn calls_are_counted_by_service_status_and_phase() {
    let s = Stage::new().await;
    let up = Upstream::start(&s.home.pki, |seen| match seen.target.as_str() {
        "/v1/rejects" => whole(401, vec![], "no"),
        "/v1/echoes" => whole(200, vec![], format!("your key is {KEY}, twice {KEY}")),
        "/v1/teapot" => whole(418, vec![], "short and stout"),
        _ => whole(200, vec![], "0123456789"),
    })
    .await;
    s.bind(&up).await;
    let jwt = s.issuer.jwt("alice");
    let before = Scrape::take(&s.v, &s.root).await;
    assert_eq!(s.with(&jwt, "GET", "/openai/v1/fine").await.status, 200);
    assert_eq!(s.with(&jwt, "GET", "/openai/v1/echoes").await.status, 200);
    assert_eq!(s.with(&jwt, "GET", "/openai/v1/teapot").await.status, 418);
    assert_eq!(s.with(&jwt, "GET", "/openai/v1/rejects").await.status, 424);
    assert_eq!(s.with(&jwt, "GET", "/openai/other").await.status, 403);
    assert_eq!(s.with("hvs.unknown", "GET", "/openai/v1/x").await.status, 401);
    assert_eq!(s.with(&jwt, "GET", "/nobody/v1/x").await.status, 403);
    let login = json!({"role": "app", "jwt": jwt});
    s.v.post("auth/jwt/login", "", login).await.ok();
    s.v.post("auth/jwt/login", "", json!({"role": "app", "jwt": "a.b.c"})).await.expect(400);
    // Nothing is left to answer.
    let mut service = s.service(&up);
    service["upstream"] = "https://localhost:1".into();
    service["rate_limit"] = json!({"requests": 2, "window": "1h"});
    s.v.post("gateway/services/openai", &s.root, service).await.ok();
    for want in [502, 502, 429] {
        assert_eq!(s.with(&jwt, "GET", "/openai/v1/x").await.status, want);
    }
    let after = {
        let settled = async || {
            let all = Scrape::take(&s.v, &s.root).await;
            all.get("vaultd_gateway_call_duration_seconds_count{service=\"openai\"}") == 7.0
        };
        crate::support::eventually("every call has ended", settled).await;
        Scrape::take(&s.v, &s.root).await
    };
    for (series, want) in [
        (calls("2xx", "done"), 2.0),
        (calls("4xx", "done"), 1.0),
        (calls("4xx", "answer"), 1.0),
        (calls("5xx", "connect"), 2.0),
        (calls("4xx", "prepare"), 1.0),
        (failures("upstream_credential_rejected"), 1.0),
        (failures("upstream_unreachable"), 2.0),
        (failures("rate_limited"), 1.0),
        ("vaultd_gateway_refused_total{reason=\"forbidden\"}".into(), 2.0),
        ("vaultd_gateway_masked_total{service=\"openai\"}".into(), 2.0),
        ("vaultd_gateway_calls_in_flight".into(), 0.0),
        ("vault_core_handle_login_request_count".into(), 2.0),
        (
            "vaultd_request_duration_seconds_count{mount_type=\"jwt\",operation=\"update\",outcome=\"ok\"}"
                .into(),
            1.0,
        ),
    ] {
        assert_eq!(after.get(&series) - before.get(&series), want, "{series}\n{}", after.text);
    }
    let refused: f64 =
        after.series.iter().filter(|(k, _)| k.contains("gateway_refused")).map(|(_, n)| n).sum();
    assert_eq!(refused, 3.0, "{}", after.text);
    assert!(after.get("vaultd_gateway_response_bytes_total{service=\"openai\"}") >= 10.0);
    assert!(after.get("vaultd_gateway_upstream_connections_max") > 0.0);
    for secret in [KEY, jwt.as_str(), "alice", "/v1/", "idp.example"] {
        assert!(!after.text.contains(secret), "{secret} is in the metrics");
    }
}

/// A call and its connection are there while it lasts.
#[tokio::test]
async fn a_call_under_way_is_seen() {
    let s = Stage::new().await;
    let (tx, rx) = tokio::sync::mpsc::channel(4);
    let rx = std::sync::Mutex::new(Some(rx));
    let up = Upstream::start(&s.home.pki, move |_| (200, vec![], rx.lock().unwrap().take().unwrap())).await;
    s.bind(&up).await;
    let mut body = s.stream().await;
    tx.send(Bytes::from_static(b"first")).await.unwrap();
    body.frame().await.unwrap().unwrap();
    let during = Scrape::take(&s.v, &s.root).await;
    for series in [
        "vaultd_gateway_calls_in_flight",
        "vaultd_gateway_upstream_connections",
        "vaultd_gateway_upstream_pools",
    ] {
        assert_eq!(during.get(series), 1.0, "{series}");
    }
    drop(body);
    crate::support::eventually("the call is over", async || {
        let s = Scrape::take(&s.v, &s.root).await;
        s.get("vaultd_gateway_calls_in_flight") == 0.0 && s.get(&calls("2xx", "body")) == 1.0
    })
    .await;
}
