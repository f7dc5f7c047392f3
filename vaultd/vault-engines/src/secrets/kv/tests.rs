//! What the model does not say: messages, warnings, codes, custom metadata, paging, version 1.

use crate::limits::*;
use crate::testing::{Bench, data, run};
use serde_json::{Value, json};
use vault_logical::{ErrorKind, Operation};

fn v2() -> Bench {
    Bench::mount("kv", &[("version", "2")])
}

#[test]
fn numbers_keep_every_digit() {
    run(async {
        let text = r#"{"big":123456789012345678901234567890,"exact":1.10,"huge":1e+400}"#;
        let value: Value = serde_json::from_str(text).unwrap();
        for (b, path, body) in [
            (v2(), "data/k", json!({ "data": value.clone() })),
            (Bench::mount("kv", &[]), "k", value.clone()),
            (Bench::mount("cubbyhole", &[]), "k", value.clone()),
        ] {
            b.write(path, body).await.unwrap();
            let got = data(&b.read(path).await.unwrap());
            let got = got.get("data").unwrap_or(&got);
            assert_eq!(got.to_string(), text);
        }
    });
}

#[test]
fn messages_of_check_and_set() {
    run(async {
        let b = v2();
        b.write("config", json!({"cas_required": true})).await.unwrap();
        let say = async |body| b.write("data/k", body).await.unwrap_err().message().to_string();
        assert_eq!(say(json!({"data": {}})).await, "check-and-set parameter required for this call");
        assert_eq!(
            say(json!({"data": {}, "options": {"cas": 1}})).await,
            "check-and-set parameter did not match the current version"
        );
        assert_eq!(
            say(json!({"data": {}, "options": {"cas": "x"}})).await,
            "error parsing check-and-set parameter"
        );
        assert_eq!(say(json!({"options": {"cas": 0}})).await, "no data provided");
        b.write("data/k", json!({"data": {}, "options": {"cas": "0"}})).await.unwrap();
        let r = b.write("metadata/k", json!({"cas_required": false})).await.unwrap();
        assert!(r.warnings[0].contains("mandated by backend config"));
    });
}

#[test]
fn paths_that_are_not_there() {
    run(async {
        let b = v2();
        for path in ["", "foo", "foo/bar", "config/x"] {
            let r = b.read(path).await.unwrap();
            assert!(r.not_found && r.data.is_none(), "{path}");
            assert!(r.warnings[0].starts_with("Invalid path for a versioned K/V secrets engine."), "{path}");
        }
        for path in ["data", "data/", "metadata", "destroy"] {
            let r = b.read(path).await.unwrap();
            assert!(r.not_found && r.warnings[0].starts_with("Non-listing operations"), "{path}");
        }
        let kind = async |op, path: &str| b.serve(b.request(op, path, Value::Null)).await.unwrap_err().kind();
        assert_eq!(kind(Operation::List, "data/").await, ErrorKind::UnsupportedOperation);
        assert_eq!(kind(Operation::List, "data/a/").await, ErrorKind::UnsupportedOperation);
        assert_eq!(kind(Operation::Delete, "config").await, ErrorKind::UnsupportedOperation);
        assert_eq!(kind(Operation::Read, "delete/a").await, ErrorKind::UnsupportedOperation);
        assert_eq!(kind(Operation::Update, "data/a/").await, ErrorKind::InvalidRequest);
        let mut patch = b.request(Operation::Patch, "data/a", json!({"data": {}}));
        patch.merge_patch = false;
        assert_eq!(b.serve(patch).await.unwrap_err().kind(), ErrorKind::UnsupportedMediaType);
    });
}

#[test]
fn listing_pages_and_folders() {
    run(async {
        let b = v2();
        for k in ["b", "a/x", "a/y", "c", "a"] {
            b.write(&format!("data/{k}"), json!({"data": {"k": 1}})).await.unwrap();
        }
        assert_eq!(b.list("metadata/", json!({})).await.unwrap(), ["a", "a/", "b", "c"]);
        assert_eq!(b.list("metadata/a/", json!({})).await.unwrap(), ["x", "y"]);
        assert_eq!(b.list("metadata/", json!({"after": "a/", "limit": 1})).await.unwrap(), ["b"]);
        assert!(b.list("metadata/none/", json!({})).await.unwrap().is_empty());
    });
}

#[test]
fn a_key_with_the_most_versions_can_be_shrunk_and_removed_in_one_transaction() {
    run(async {
        let b = v2();
        b.write("metadata/k", json!({"max_versions": KV_MAX_VERSIONS})).await.unwrap();
        for n in 0..KV_MAX_VERSIONS + 3 {
            b.write("data/k", json!({"data": {"v": "x".repeat(KV_INLINE_BYTES), "n": n}})).await.unwrap();
        }
        assert_eq!(b.records().len() as u64, KV_MAX_VERSIONS + 1);
        b.write("metadata/k", json!({"max_versions": 1})).await.unwrap();
        b.write("data/k", json!({"data": {"n": 1}})).await.unwrap();
        assert_eq!(b.records().len(), 1);

        b.write("metadata/k", json!({"max_versions": KV_MAX_VERSIONS})).await.unwrap();
        for _ in 0..KV_MAX_VERSIONS {
            b.write("data/k", json!({"data": {"v": "x".repeat(KV_INLINE_BYTES)}})).await.unwrap();
        }
        b.delete("metadata/k").await.unwrap();
        assert!(b.records().is_empty());
        let over = b.write("config", json!({"max_versions": KV_MAX_VERSIONS + 1})).await.unwrap_err();
        assert_eq!(over.kind(), ErrorKind::InvalidRequest);
    });
}

#[test]
fn sizes() {
    run(async {
        let max = vault_logical::limits::MAX_SECRET_BYTES;
        for (b, path, wrap) in [(v2(), "data/k", true), (Bench::mount("kv", &[]), "k", false)] {
            let body = |n: usize| {
                let d = json!({"v": "x".repeat(n)});
                if wrap { json!({ "data": d }) } else { d }
            };
            b.write(path, body(max - 16)).await.unwrap();
            b.write(path, body(max - 16)).await.unwrap();
            assert_eq!(b.write(path, body(max)).await.unwrap_err().kind(), ErrorKind::TooLarge);
        }
    });
}

#[test]
fn destroyed_data_is_not_in_the_store() {
    run(async {
        let b = v2();
        for v in ["SENTINEL-one", "SENTINEL-two"] {
            b.write("data/k", json!({"data": {"v": v}})).await.unwrap();
        }
        let holds = |text: &str| String::from_utf8_lossy(&b.bytes()).contains(text);
        assert!(holds("SENTINEL-one") && holds("SENTINEL-two"));
        b.write("destroy/k", json!({"versions": [1, 2]})).await.unwrap();
        assert!(!holds("SENTINEL"));
        b.write("undelete/k", json!({"versions": "1,2"})).await.unwrap();
        assert!(b.read("data/k").await.unwrap().not_found);
    });
}

#[test]
fn custom_metadata() {
    run(async {
        let b = v2();
        b.write("data/k", json!({"data": {}})).await.unwrap();
        b.write("metadata/k", json!({"custom_metadata": {"a": "1", "b": 2}})).await.unwrap();
        b.patch("metadata/k", json!({"custom_metadata": {"a": null, "c": "3"}, "max_versions": 4}))
            .await
            .unwrap();
        let m = data(&b.read("metadata/k").await.unwrap());
        assert_eq!(m["custom_metadata"], json!({"b": "2", "c": "3"}));
        assert_eq!(m["max_versions"], 4);
        assert_eq!(
            data(&b.read("data/k").await.unwrap())["metadata"]["custom_metadata"],
            json!({"b": "2", "c": "3"})
        );
        b.patch("metadata/k", json!({"max_versions": null, "custom_metadata": null})).await.unwrap();
        let m = data(&b.read("metadata/k").await.unwrap());
        assert_eq!((&m["custom_metadata"], &m["max_versions"]), (&Value::Null, &json!(0)));
        assert_eq!(b.patch("metadata/none", json!({})).await.unwrap_err().kind(), ErrorKind::NotFound);

        let many: serde_json::Map<String, Value> =
            (0..=KV_CUSTOM_METADATA_KEYS).map(|n| (n.to_string(), "x".into())).collect();
        for bad in [
            Value::Object(many),
            json!({"": "x"}),
            json!({"k": ""}),
            json!({"k".repeat(KV_CUSTOM_METADATA_KEY_BYTES + 1): "x"}),
            json!({"k": "v".repeat(KV_CUSTOM_METADATA_VALUE_BYTES + 1)}),
            json!({"k": "a\nb"}),
            json!({"k": {"nested": 1}}),
            json!({"k": null}),
            json!("text"),
        ] {
            let e = b.write("metadata/k", json!({ "custom_metadata": bad })).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::InvalidRequest);
        }
    });
}

#[test]
fn delete_version_after_can_be_turned_off_for_the_mount() {
    run(async {
        let b = v2();
        b.write("config", json!({"delete_version_after": "-1s"})).await.unwrap();
        assert_eq!(data(&b.read("config").await.unwrap())["delete_version_after"], "-1s");
        b.write("metadata/k", json!({"delete_version_after": "10s"})).await.unwrap();
        let w = data(&b.write("data/k", json!({"data": {}})).await.unwrap());
        assert_eq!(w["deletion_time"], "");
        b.write("config", json!({"delete_version_after": 3600})).await.unwrap();
        let w = data(&b.write("data/k", json!({"data": {}})).await.unwrap());
        assert_eq!(w["deletion_time"], "2026-11-20T00:00:10Z");
        assert_eq!(data(&b.read("config").await.unwrap())["delete_version_after"], "1h0m0s");
    });
}

#[test]
fn version_one_answers_the_writers_lease() {
    run(async {
        let b = Bench::mount("kv", &[]);
        for (body, secs) in [
            (json!({"v": 1}), 768 * 3600),
            (json!({"v": 1, "ttl": "1h"}), 3600),
            (json!({"v": 1, "lease": 90}), 90),
            (json!({"v": 1, "ttl": "soon"}), 768 * 3600),
        ] {
            b.write("dir/k", body.clone()).await.unwrap();
            let r = b.read("dir/k").await.unwrap();
            assert_eq!(r.lease_duration.as_secs(), secs);
            assert_eq!(data(&r), body);
        }
        assert_eq!(b.list("", json!({})).await.unwrap(), ["dir/"]);
        assert_eq!(b.list("dir/", json!({})).await.unwrap(), ["k"]);
        b.delete("dir/k").await.unwrap();
        assert_eq!(b.read("dir/k").await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(b.write("dir/k", json!({})).await.unwrap_err().kind(), ErrorKind::InvalidRequest);
        assert_eq!(b.write("dir/", json!({"a": 1})).await.unwrap_err().kind(), ErrorKind::InvalidRequest);
    });
}

#[test]
fn a_mount_keeps_its_version() {
    let b = v2();
    let o = |v: &str| [("version".to_string(), v.to_string())].into();
    assert!(b.engine.check_options(&o("2")).is_ok());
    assert!(b.engine.check_options(&[].into()).is_ok());
    assert!(b.engine.check_options(&o("1")).is_err());
    assert!(b.engine.check_options(&o("3")).is_err());
}

#[test]
fn parallel_writes_of_one_key_lose_nothing() {
    run(async {
        let b = v2();
        b.write("metadata/k", json!({"max_versions": 80})).await.unwrap();
        let many = (0..4).map(|n| b.write("data/k", json!({"data": {"n": n}})));
        let done = crate::testing::all(many).await.into_iter().filter(Result::is_ok).count();
        let m = data(&b.read("metadata/k").await.unwrap());
        assert_eq!(m["current_version"], json!(done));
    });
}
