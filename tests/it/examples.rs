//! The examples do what they say, on a real daemon.

use crate::support::{Home, Vaultd, binary};
use serde_json::json;
use std::process::{Command, Output};

fn example(name: &str, home: &Home, v: &Vaultd, token: &str, args: &[&str]) -> Output {
    Command::new(binary(name))
        .args(args)
        .env_clear()
        .env("VAULT_ADDR", v.api.replace("127.0.0.1", "localhost"))
        .env("VAULT_CACERT", home.pki.path("ca.pem"))
        .env("VAULT_TOKEN", token)
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetched_secret_goes_to_standard_output_only() {
    let home = Home::new("memory");
    let v = home.start();
    let (root, _) = v.ready().await;
    v.post("secret/data/app", &root, json!({"data": {"password": "canary"}})).await.ok();
    let out = example("fetch", &home, &v, &root, &["secret", "app", "password"]);
    assert_eq!(
        (out.status.code(), out.stdout.as_slice(), out.stderr.as_slice()),
        (Some(0), &b"canary"[..], &b""[..])
    );
    let out = example("fetch", &home, &v, &root, &["secret", "absent", "password"]);
    assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(2), &b""[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_counters_lose_no_update() {
    let home = Home::new("sled");
    let v = home.start();
    let (root, _) = v.ready().await;
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                for _ in 0..5 {
                    let out = example("counter", &home, &v, &root, &["secret", "counters/visits"]);
                    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
                }
            });
        }
    });
    let r = v.get("secret/data/counters/visits", &root).await.ok();
    assert_eq!(r["data"]["data"]["n"], "20");
    assert_eq!(r["data"]["metadata"]["version"], 20);
}

#[tokio::test]
async fn the_policies_and_the_production_config_are_valid() {
    let home = Home::new("memory");
    let v = home.start();
    let (root, _) = v.ready().await;
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    for entry in std::fs::read_dir(format!("{dir}/policies")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        v.post(&format!("sys/policies/acl/{name}"), &root, json!({"policy": text})).await.ok();
    }
    // Complete but for the certificate and the log directory, which this machine does not have.
    let out =
        Command::new(binary("vaultd")).arg("check-config").arg(format!("{dir}/vaultd.hcl")).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    let absent = [": /etc/vaultd/tls/", ": the audit directory /var/log/vaultd: "];
    let complaints: Vec<&str> =
        said.lines().filter(|l| l.contains("vaultd.hcl") && !absent.iter().any(|a| l.contains(a))).collect();
    assert!(complaints.iter().all(|l| l.contains("warning") || l.contains("valid")), "{said}");
}
