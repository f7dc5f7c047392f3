//! Stores of the first version, opened by this one: see `tests/fixtures/first-version/README.md`.

use crate::support::{Home, Vaultd, binary};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

fn fixture(backend: &str) -> (Home, Value) {
    let home = Home::new(backend);
    let archive =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/first-version/{backend}.tar.gz"));
    let done = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(home.dir.path()).status().unwrap();
    assert!(done.success(), "tar could not unpack the fixture");
    let expected = std::fs::read(home.path("expected.json")).unwrap();
    (home, serde_json::from_slice(&expected).unwrap())
}

fn text(v: &Value) -> &str {
    v.as_str().unwrap()
}

async fn unseal(v: &Vaultd, expected: &Value) {
    let shares: Vec<String> =
        expected["shares"].as_array().unwrap()[1..].iter().map(|s| text(s).into()).collect();
    v.unseal(&shares).await;
}

/// Every secret, and what else the vault knew.
async fn all_there(v: &Vaultd, expected: &Value) {
    let root = text(&expected["root_token"]);
    for (path, data) in expected["v2"].as_object().unwrap() {
        let read = v.get(&format!("secret/data/{path}"), root).await.ok();
        assert_eq!(&read["data"]["data"], data, "{path}");
    }
    for (path, data) in expected["v1"].as_object().unwrap() {
        assert_eq!(&v.get(&format!("plain/{path}"), root).await.ok()["data"], data, "{path}");
    }
    let first = v.get("secret/data/team-1/app-1?version=1", root).await.ok();
    assert_eq!(first["data"]["data"]["password"], "first version");
    v.get(&format!("secret/data/{}", text(&expected["deleted"])), root).await.expect(404);
    assert_eq!(v.get("cubbyhole/mine", root).await.ok()["data"]["v"], "cubby");
    assert_eq!(v.list("secret/metadata/late", root).await.ok()["data"]["keys"].as_array().unwrap().len(), 5);
    // A token of a policy: what it may do, and no more.
    let reader = text(&expected["reader_token"]);
    v.get("secret/data/after/rotate", reader).await.ok();
    v.get("plain/dir/1", reader).await.expect(403);
    let code = v.get("totp/code/login", root).await;
    assert!(code.status == 200 || code.status == 400, "{}", code.text);
    let url = v.get("totp/keys/login", root).await.ok();
    assert_eq!(url["data"]["issuer"], "Vault", "{url}");
}

fn storage_check(config: &Path) -> (Option<i32>, String) {
    let out = Command::new(binary("vaultd"))
        .args(["storage", "check"])
        .arg(format!("-config={}", config.display()))
        .output()
        .unwrap();
    (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

#[tokio::test]
async fn a_store_of_the_first_version_opens_with_all_that_is_in_it() {
    for backend in ["sled", "redb"] {
        let (home, expected) = fixture(backend);
        let (code, said) = storage_check(&home.config());
        assert_eq!(code, Some(0), "{backend}: {said}");
        let v = home.start();
        unseal(&v, &expected).await;
        all_there(&v, &expected).await;
        let root = text(&expected["root_token"]);
        v.post("secret/data/new", root, json!({"data": {"k": "this version"}})).await.ok();
        v.post("sys/rotate", root, json!({})).await.ok();
        assert_eq!(v.stop(), Some(0));
        for orderly in [false, true] {
            let v = home.start();
            unseal(&v, &expected).await;
            all_there(&v, &expected).await;
            let new = v.get("secret/data/new", root).await.ok();
            assert_eq!(new["data"]["data"]["k"], "this version");
            if orderly {
                assert_eq!(v.stop(), Some(0));
            } else {
                v.kill();
            }
        }
        let (code, said) = storage_check(&home.config());
        assert_eq!(code, Some(0), "{backend}: {said}");
    }
}
