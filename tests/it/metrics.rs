//! What the server counts of itself, on real processes: who may read it, that each figure moves when its
//! event happens, and that nothing in it is of a caller's choosing.

use crate::support::{Home, Vaultd, binary, eventually, send};
use serde_json::json;
use std::collections::BTreeMap;
use std::process::Command;

/// One scrape: series with labels as written, and its value.
pub struct Scrape {
    pub text: String,
    pub series: BTreeMap<String, f64>,
}

impl Scrape {
    pub fn of(text: &str) -> Scrape {
        let mut series = BTreeMap::new();
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
            assert!(series.insert(name.to_owned(), value).is_none(), "twice: {line}");
        }
        Scrape { text: text.to_owned(), series }
    }

    /// With a token, from the first listener.
    pub async fn take(v: &Vaultd, token: &str) -> Scrape {
        let a = v.get("sys/metrics?format=prometheus", token).await;
        assert_eq!(a.status, 200, "{}", a.text);
        assert_eq!(a.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        Scrape::of(&a.text)
    }

    /// Zero for one that is not there.
    pub fn get(&self, series: &str) -> f64 {
        self.series.get(series).copied().unwrap_or(0.0)
    }

    /// The names of families, as told by their types.
    fn families(&self) -> Vec<&str> {
        let types = self.text.lines().filter_map(|l| l.strip_prefix("# TYPE "));
        types.map(|l| l.split(' ').next().unwrap()).collect()
    }
}

fn requests(mount: &str, operation: &str, outcome: &str) -> String {
    format!(
        "vaultd_request_duration_seconds_count{{mount_type=\"{mount}\",operation=\"{operation}\",outcome=\"{outcome}\"}}"
    )
}

/// With a listener that gives metrics to anybody and one that gives them to nobody, and the same on
/// the gateway's.
fn open_home(backend: &str) -> Home {
    let mut home = Home::audited(backend);
    let tls = format!(
        "tls_cert_file = \"{}\"\n  tls_key_file = \"{}\"",
        home.pki.path("server.pem").display(),
        home.pki.path("server-key.pem").display()
    );
    for telemetry in ["unauthenticated_metrics_access = true", "disallow_metrics = true"] {
        home.extra += &format!(
            "listener \"tcp\" {{\n  address = \"127.0.0.1:0\"\n  {tls}\n  telemetry {{\n    {telemetry}\n  }}\n}}\n"
        );
    }
    home.gateway_extra = "  telemetry { unauthenticated_metrics_access = true }\n".into();
    home
}

async fn ask(v: &Vaultd, base: &str, method: &str, target: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let a = send(base, &v.tls, method, target, headers, Vec::new()).await;
    (a.status, a.text)
}

#[tokio::test]
async fn metrics_need_a_token_with_the_right_to_them() {
    let home = Home::audited("memory");
    let v = home.start();
    let gateway = v.gateway.clone().unwrap();
    // Uninitialised: a load balancer is told, and nothing else is there.
    assert_eq!(ask(&v, &gateway, "GET", "/.vaultd/health", &[]).await.0, 501);
    v.get("sys/metrics", "").await.expect(503);
    let (root, keys) = v.ready().await;
    for token in ["", "hvs.unknown"] {
        v.get("sys/metrics", token).await.expect(403);
    }
    let weak = v.token_with(&root, "weak", "path \"secret/*\" { capabilities = [\"read\"] }").await;
    v.get("sys/metrics", &weak).await.expect(403);
    let watcher = v.token_with(&root, "watcher", "path \"sys/metrics\" { capabilities = [\"read\"] }").await;
    assert_eq!(Scrape::take(&v, &watcher).await.get("vault_core_unsealed"), 1.0);
    v.post("sys/metrics", &watcher, json!({})).await.expect(403);
    v.post("sys/metrics", &root, json!({})).await.expect(405);
    v.get("sys/metrics?format=statsd", &watcher).await.expect(400);
    // On record like any request.
    let log = std::fs::read_to_string(home.path("audit/audit.log")).unwrap();
    assert!(log.contains("\"sys/metrics\""));
    // In Vault's JSON, unless asked otherwise; Prometheus asks by its Accept header.
    let page = v.get("sys/metrics", &watcher).await;
    assert_eq!(page.headers["content-type"], "application/json");
    let page = page.ok();
    let gauge = |name: &str| {
        let all = page["Gauges"].as_array().unwrap();
        all.iter().find(|g| g["Name"] == name).unwrap_or_else(|| panic!("no {name}"))["Value"].clone()
    };
    assert_eq!(gauge("vault.core.unsealed"), json!(1.0));
    for list in ["Counters", "Samples", "Points"] {
        assert!(page[list].is_array(), "{list}");
    }
    let handled = page["Samples"].as_array().unwrap().iter();
    let handled = handled.filter(|s| s["Name"] == "vault.core.handle_request").collect::<Vec<_>>();
    assert!(handled.len() == 1 && handled[0]["Count"].as_u64().unwrap() > 5, "{handled:?}");
    let accept = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let headers = [("x-vault-token", watcher.as_str()), ("accept", accept)];
    let (status, text) = ask(&v, &v.api, "GET", "/v1/sys/metrics", &headers).await;
    assert!(status == 200 && text.starts_with("# HELP"), "{text}");
    // The gateway's listener gives health, and no metrics.
    assert_eq!(ask(&v, &gateway, "GET", "/.vaultd/health", &[]).await.0, 200);
    assert_eq!(ask(&v, &gateway, "HEAD", "/.vaultd/health", &[]).await, (200, String::new()));
    for (method, path) in [
        ("GET", "/.vaultd/metrics"),
        ("GET", "/.vaultd/"),
        ("GET", "/.vaultd/health/x"),
        ("POST", "/.vaultd/health"),
        ("GET", "/v1/sys/health"),
        ("GET", "/v1/sys/metrics"),
    ] {
        for headers in [&[][..], &[("x-vault-token", root.as_str())][..]] {
            let (status, text) = ask(&v, &gateway, method, path, headers).await;
            assert!(
                matches!(status, 400 | 401 | 403 | 404) && !text.contains("unsealed"),
                "{path}: {status} {text}"
            );
        }
    }
    v.post("sys/seal", &root, json!({})).await.ok();
    assert_eq!(ask(&v, &gateway, "GET", "/.vaultd/health", &[]).await.0, 503);
    v.get("sys/metrics", &watcher).await.expect(503);
    v.unseal(&keys).await;
}

#[tokio::test]
async fn a_listener_that_says_so_gives_them_to_anybody_and_another_to_nobody() {
    let home = open_home("memory");
    let v = home.start();
    let (open, none) = (v.more[0].clone(), v.more[1].clone());
    let gateway = v.gateway.clone().unwrap();
    let text = "/v1/sys/metrics?format=prometheus";
    for (base, target) in [(&open, text), (&gateway, "/.vaultd/metrics?format=prometheus")] {
        let (status, page) = ask(&v, base, "GET", target, &[]).await;
        assert_eq!(status, 200, "{page}");
        let page = Scrape::of(&page);
        assert_eq!((page.get("vault_core_unsealed"), page.get("vaultd_initialized")), (0.0, 0.0));
        // Also what the sandbox lets the process know of itself.
        let fds = page.get("process_open_fds");
        assert!(fds > 5.0 && fds < page.get("process_max_fds"), "{fds}");
        assert!(page.get("process_resident_memory_bytes") > 1e6);
        assert!(page.get("process_cpu_seconds_total") > 0.0);
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        let started = page.get("process_start_time_seconds");
        assert!(started <= now && started > now - 600.0, "{started}");
        let expiries = page.series.iter().filter(|(k, _)| k.contains("certificate_expiry"));
        assert!(expiries.clone().count() == 4 && expiries.clone().all(|(_, at)| *at > now), "{}", page.text);
    }
    let (root, _) = v.ready().await;
    eventually("the open listener tells that it is unsealed", async || {
        let (status, page) = ask(&v, &open, "GET", text, &[]).await;
        status == 200 && Scrape::of(&page).get("vault_core_unsealed") == 1.0
    })
    .await;
    assert_eq!(ask(&v, &open, "GET", "/v1/sys/metrics?format=x", &[]).await.0, 400);
    // Nothing else there is open.
    assert_eq!(ask(&v, &open, "GET", "/v1/sys/mounts", &[]).await.0, 403);
    assert_eq!(ask(&v, &open, "POST", "/v1/sys/metrics", &[]).await.0, 403);
    // The ordinary one asks for a token, and the other refuses even root.
    assert_eq!(ask(&v, &v.api, "GET", text, &[]).await.0, 403);
    let token = [("x-vault-token", root.as_str())];
    assert_eq!(ask(&v, &none, "GET", text, &token).await.0, 404);
    assert_eq!(ask(&v, &none, "GET", "/v1/sys/mounts", &token).await.0, 200);
}

#[test]
fn check_config_knows_the_telemetry_block() {
    for (block, want) in [
        ("telemetry { unauthenticated_metrics_access = true }", None),
        ("telemetry {\n    disallow_metrics = \"true\"\n  }", None),
        (
            "telemetry { unauthenticated_metric_access = true }",
            Some("did you mean \"unauthenticated_metrics_access\"?"),
        ),
        (
            "telemetry { disallow_metrics = \"perhaps\" }",
            Some("must have true or false for disallow_metrics"),
        ),
        ("telemetry = true", Some("must be one block")),
        (
            "telemetry { disallow_metrics = true }\n  telemetry { disallow_metrics = false }",
            Some("must be one block"),
        ),
    ] {
        let mut home = Home::new("memory");
        home.gateway_extra = format!("  {block}\n");
        let out = Command::new(binary("vaultd")).arg("check-config").arg(home.config()).output().unwrap();
        let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        assert_eq!(out.status.success(), want.is_none(), "{block}: {said}");
        assert!(want.is_none_or(|w| said.contains(w)), "{block}: {said}");
        assert!(!said.contains("no effect"), "{said}");
    }
}

#[tokio::test]
async fn each_figure_moves_when_its_event_happens() {
    for backend in ["sled", "redb"] {
        let mut home = Home::audited(backend);
        home.extra += &format!(
            "snapshot {{\n  path = \"{}\"\n  interval = \"24h\"\n}}\n",
            home.path("snaps").display()
        );
        let v = home.start();
        let (root, _) = v.ready().await;
        let before = Scrape::take(&v, &root).await;
        assert!(
            before.get("vaultd_storage_index_bytes") > 0.0
                && before.get("vaultd_storage_journal_bytes") > 0.0
        );

        v.post("secret/data/a", &root, json!({"data": {"k": "v"}})).await.ok();
        v.post("secret/data/a", &root, json!({"data": {"k": "w"}})).await.ok();
        v.get("secret/data/a", &root).await.ok();
        v.get("secret/data/none", &root).await.expect(404);
        v.post("secret/data/a", &root, json!({"data": 7})).await.expect(400);
        v.list("secret/metadata/", &root).await.ok();
        v.delete("secret/metadata/a", &root).await.ok();
        let made = v.post("auth/token/create", &root, json!({"policies": ["default"]})).await.ok();
        let token = made["auth"]["client_token"].as_str().unwrap();
        v.get("secret/data/a", token).await.expect(403);
        v.get("nowhere/a", &root).await.expect(404);
        v.post("auth/token/revoke", &root, json!({"token": token})).await.ok();
        v.post("sys/storage/snapshot", &root, json!({})).await.ok();

        let after = Scrape::take(&v, &root).await;
        let rise = |series: &str| after.get(series) - before.get(series);
        for (series, want) in [
            (requests("kv", "create", "ok"), 1.0),
            (requests("kv", "update", "ok"), 1.0),
            (requests("kv", "update", "invalid"), 1.0),
            (requests("kv", "read", "ok"), 1.0),
            (requests("kv", "read", "not_found"), 1.0),
            (requests("kv", "read", "denied"), 1.0),
            (requests("kv", "list", "ok"), 1.0),
            (requests("kv", "delete", "ok"), 1.0),
            (requests("none", "read", "not_found"), 1.0),
            (requests("token", "update", "ok"), 2.0),
            ("vault_token_creation".into(), 1.0),
            ("vaultd_tokens_removed_total".into(), 1.0),
            ("vaultd_tokens_expired_total".into(), 0.0),
            ("vaultd_snapshots_total{outcome=\"ok\"}".into(), 1.0),
            ("vaultd_snapshots_total{outcome=\"failed\"}".into(), 0.0),
            // The scrape itself is on record before it is counted.
            ("vault_audit_log_request_count".into(), 13.0),
            ("vault_audit_log_request_failure".into(), 0.0),
        ] {
            assert_eq!(rise(&series), want, "{backend}: {series}\n{}", after.text);
        }
        for series in [
            "vault_core_handle_request_count",
            "vault_core_handle_request_sum",
            "vault_barrier_get_count",
            "vault_barrier_put_count",
            "vault_barrier_delete_count",
            "vault_barrier_list_count",
            "vaultd_storage_round_duration_seconds_count",
            "vaultd_storage_sync_duration_seconds_count",
            "vaultd_storage_sync_duration_seconds_sum",
            "vaultd_anchor_writes_total{outcome=\"ok\"}",
            "vaultd_anchor_waits_total",
            "vaultd_barrier_writes_this_term",
            "vaultd_audit_device_records_total{device=\"file/\"}",
            "vault_audit_log_response_count",
            "vaultd_snapshot_last_success_timestamp_seconds",
            "vaultd_snapshot_bytes",
            "process_cpu_seconds_total",
        ] {
            assert!(rise(series) > 0.0, "{backend}: {series}\n{}", after.text);
        }
        assert_eq!(after.get("vaultd_audit_device_healthy{device=\"file/\"}"), 1.0);
        assert_eq!(after.get("vaultd_snapshot_interval_seconds"), 86400.0);
        assert_eq!(after.get("vault_core_in_flight_requests"), 1.0, "the scrape itself");
        assert_eq!(after.get("vaultd_connections{listener=\"api\"}"), 1.0);
        eventually("tokens and secrets are counted", async || {
            let s = Scrape::take(&v, &root).await;
            s.get("vault_token_count") >= 1.0 && s.series.contains_key("vault_secret_kv_count")
        })
        .await;
        // A bucket holds those of the ones before it.
        let bucket = |le: &str| {
            let labels = "mount_type=\"kv\",operation=\"create\",outcome=\"ok\"";
            after.get(&format!("vaultd_request_duration_seconds_bucket{{{labels},le=\"{le}\"}}"))
        };
        assert_eq!(bucket("+Inf"), 1.0);
        assert!(bucket("60") >= bucket("0.001"));
        assert_eq!(v.stop(), Some(0));
    }
}

/// The reference names every metric that there is, and no other.
#[tokio::test]
async fn the_reference_names_each_metric() {
    let home = open_home("memory");
    let v = home.start();
    let (root, _) = v.ready().await;
    let page = Scrape::take(&v, &root).await;
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("| Name | Kind |").nth(1).unwrap();
    let rows = text.lines().filter_map(|l| l.strip_prefix("| `"));
    let mut told: Vec<&str> = rows.map(|l| l.split(['`', '{']).next().unwrap()).collect();
    let mut there = page.families();
    told.sort_unstable();
    there.sort_unstable();
    assert_eq!(told, there);
}

/// Ten thousand names that nobody gave out: in paths, tokens, mounts, policies and services.
#[tokio::test]
async fn nothing_that_a_caller_makes_up_is_a_label() {
    const NAMES: usize = 10_000;
    let home = Home::audited("memory");
    let v = home.start();
    let (root, _) = v.ready().await;
    let before = Scrape::take(&v, &root).await;
    let gateway = v.gateway.clone().unwrap();
    let mut tasks = Vec::new();
    for part in 0..4 {
        let base = if part < 2 { v.api.clone() } else { gateway.clone() };
        let (tls, root) = (v.tls.clone(), root.clone());
        tasks.push(tokio::spawn(async move {
            let mut line = crate::support::Line::open(&base, &tls).await;
            for n in (part % 2..NAMES).step_by(2) {
                let made_up = format!("madeup{n}");
                let (target, header) = match (part < 2, n % 3) {
                    (true, 0) => (format!("/v1/secret/data/{made_up}"), root.clone()),
                    (true, 1) => (format!("/v1/{made_up}/x"), root.clone()),
                    (true, _) => (format!("/v1/sys/policies/acl/{made_up}"), format!("hvs.{made_up}")),
                    (false, _) => (format!("/{made_up}/v1/x"), format!("hvs.{made_up}")),
                };
                let status = line.get(&target, &[("x-vault-token", &header)]).await;
                assert!((400..500).contains(&status), "{target}: {status}");
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let after = Scrape::take(&v, &root).await;
    assert!(!after.text.contains("madeup"), "a made-up name is in the metrics");
    for secret in [root.as_str(), "hvs.", "secret/", "data/"] {
        assert!(!after.text.contains(secret), "{secret} is in the metrics");
    }
    let more = after.series.len() - before.series.len();
    assert!(more < 300, "{more} more series");
    // And yet they are counted.
    let all: f64 = after
        .series
        .iter()
        .filter(|(k, _)| k.starts_with("vaultd_request_duration_seconds_count"))
        .map(|(_, n)| n)
        .sum();
    assert!(all >= NAMES as f64, "{all}");
    let refused: f64 = after
        .series
        .iter()
        .filter(|(k, _)| k.starts_with("vaultd_gateway_refused_total"))
        .map(|(_, n)| n)
        .sum();
    assert!(refused >= NAMES as f64, "{refused}");
}

/// A reason that the gateway gives and the core does not know would be counted as `other`.
#[test]
fn each_reason_of_the_gateway_is_counted_by_its_name() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../vaultd");
    let read = |file: &str| std::fs::read_to_string(root.join(file)).unwrap();
    let known = read("vault-core/src/metrics/calls.rs");
    let codes = read("vault-gateway/src/error.rs");
    let codes = codes.split("fn as_str").nth(1).unwrap().split("fn status").next().unwrap();
    let body = read("vault-gateway/src/body.rs");
    let quoted = |text: &str, before: &str| -> Vec<String> {
        text.split(before).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    };
    let mut reasons = quoted(codes, "=> \"");
    reasons.extend(quoted(&body, ".cut(\""));
    reasons.extend(quoted(&body, "CALLER_LEFT: &str = \""));
    assert!(reasons.len() >= 28, "{reasons:?}");
    for reason in reasons {
        assert!(known.contains(&format!("(\"{reason}\", ")), "{reason} is not counted");
    }
}
