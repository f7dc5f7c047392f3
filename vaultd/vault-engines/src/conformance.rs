//! What every engine must do, run over all of them.

use crate::testing::{Bench, data, object, run};
use proptest::prelude::*;
use serde_json::{Value, json};
use vault_logical::{EngineKind, ErrorKind, Operation};

const SECRET: &str = "SENTINEL-2f1c";

/// How one engine is exercised.
struct Sample {
    type_name: &'static str,
    options: &'static [(&'static str, &'static str)],
    /// Written first.
    setup: Vec<(&'static str, Value)>,
    /// Where things named `<name>` are written, and their body.
    folder: &'static str,
    body: Value,
    list: &'static str,
    /// Any field is data, so none is unknown.
    takes_anything: bool,
}

fn samples() -> Vec<Sample> {
    let key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let sample = |type_name, folder, list, body| Sample {
        type_name,
        options: &[],
        setup: Vec::new(),
        folder,
        body,
        list,
        takes_anything: false,
    };
    vec![
        Sample { takes_anything: true, ..sample("kv", "dir/", "dir/", json!({"value": SECRET})) },
        Sample {
            options: &[("version", "2")],
            ..sample("kv", "data/dir/", "metadata/dir/", json!({"data": {"value": SECRET}}))
        },
        Sample { takes_anything: true, ..sample("cubbyhole", "dir/", "dir/", json!({"value": SECRET})) },
        sample("totp", "keys/", "keys/", json!({"key": key, "account_name": SECRET})),
        sample("jwt", "role/", "role/", json!({"user_claim": "sub", "bound_subject": SECRET})),
        sample(
            "gateway",
            "services/",
            "services/",
            json!({
                "upstream": "https://api.example", "credential": {"path": "secret/x", "field": SECRET},
                "inject": {"header": "x-key", "template": "{{credential}}"},
            }),
        ),
    ]
}

async fn mounted(s: &Sample) -> Bench {
    let b = Bench::mount(s.type_name, s.options);
    b.readable.lock().insert("secret/x".into());
    for (path, body) in &s.setup {
        b.write(path, body.clone()).await.unwrap();
    }
    b
}

#[test]
fn every_factory_is_exercised() {
    for f in crate::factories() {
        assert!(samples().iter().any(|s| s.type_name == f.type_name), "{} has no sample", f.type_name);
        let twice = crate::factories().iter().filter(|g| g.type_name == f.type_name).count();
        assert_eq!(twice, 1);
    }
}

#[test]
fn descriptors_help() {
    for s in samples() {
        let f = crate::factories().iter().find(|f| f.type_name == s.type_name).unwrap();
        let b = Bench::mount(s.type_name, s.options);
        let d = b.engine.descriptor();
        assert_eq!((d.type_name, d.kind), (f.type_name, f.kind));
        assert!(!d.description.is_empty() && !d.paths.is_empty());
        for p in d.paths {
            assert!(!p.pattern.starts_with('/') && p.summary.ends_with('.'), "{}", p.pattern);
        }
        for path in d.unauthenticated.iter().chain(d.sudo) {
            assert!(!path.starts_with('/'), "{path}");
        }
        assert_eq!(b.engine.auth_method().is_some(), d.kind == EngineKind::Auth);
        assert!(d.kind == EngineKind::Auth || d.unauthenticated.is_empty());
    }
}

#[test]
fn unknown_fields_are_named_in_a_warning() {
    run(async {
        for s in samples().iter().filter(|s| !s.takes_anything) {
            let b = mounted(s).await;
            let path = format!("{}x", s.folder);
            let mut body = s.body.clone();
            assert!(
                b.write(&path, body.clone())
                    .await
                    .unwrap()
                    .warnings
                    .iter()
                    .all(|w| !w.contains("unrecognized"))
            );
            body["zz_unknown"] = json!(SECRET);
            body["aa_unknown"] = json!(1);
            let r = b.write(&path, body).await.unwrap();
            let want = "Endpoint ignored these unrecognized parameters: [aa_unknown zz_unknown]";
            assert!(r.warnings.iter().any(|w| w == want), "{}: {:?}", s.type_name, r.warnings);
            let r = b.read_with(&path, json!({"unknown": 1})).await.unwrap();
            assert!(r.warnings.iter().any(|w| w.ends_with("parameters: [unknown]")), "{}", s.type_name);
        }
    });
}

#[test]
fn lists() {
    run(async {
        for s in samples() {
            let b = mounted(&s).await;
            assert!(b.list(s.list, json!({})).await.unwrap().is_empty());
            for name in ["c", "a", "d", "b"] {
                b.write(&format!("{}{name}", s.folder), s.body.clone()).await.unwrap();
            }
            let list = async |q| b.list(s.list, q).await.unwrap().join(" ");
            assert_eq!(list(json!({})).await, "a b c d", "{}", s.type_name);
            assert_eq!(list(json!({"list": "true"})).await, "a b c d");
            assert_eq!(list(json!({"after": "b"})).await, "c d");
            assert_eq!(list(json!({"limit": "2"})).await, "a b");
            assert_eq!(list(json!({"after": "a", "limit": 2})).await, "b c");
            assert_eq!(list(json!({"after": "zz"})).await, "");
            assert_eq!(list(json!({"limit": -1})).await, "a b c d");
            let r = b.serve(b.request(Operation::List, s.list, json!({"spare": 1}))).await.unwrap();
            assert_eq!(
                r.warnings,
                ["Endpoint ignored these unrecognized parameters: [spare]"],
                "{}",
                s.type_name
            );
            assert_eq!(
                b.list(s.list, json!({"limit": "many"})).await.unwrap_err().kind(),
                ErrorKind::InvalidRequest
            );
        }
    });
}

#[test]
fn what_is_not_there() {
    run(async {
        for s in samples() {
            let b = mounted(&s).await;
            let path = format!("{}none", s.folder);
            assert_eq!(b.read(&path).await.unwrap_err().kind(), ErrorKind::NotFound, "{}", s.type_name);
            let r = b.delete(&path).await.unwrap();
            assert!(r.data.is_none() && r.warnings.is_empty());
            b.write(&path, s.body.clone()).await.unwrap();
            let read = b.read(&path).await.unwrap();
            assert!(read.data.is_some_and(|d| !d.is_empty()));
            b.delete(&path).await.unwrap();
            // Gone, or there as a deleted version.
            assert!(b.read(&path).await.map_or(true, |r| r.not_found), "{}", s.type_name);
        }
    });
}

#[test]
fn nothing_prints_a_secret() {
    run(async {
        for s in samples() {
            let b = mounted(&s).await;
            let path = format!("{}x", s.folder);
            let request = b.request(Operation::Update, &path, s.body.clone());
            let mut printed = format!("{request:?}");
            printed += &format!("{:?}", b.serve(request).await.unwrap());
            let read = b.read(&path).await.unwrap();
            if s.type_name != "totp" || data(&read).to_string().contains(SECRET) {
                assert!(data(&read).to_string().contains(SECRET), "{}", s.type_name);
            }
            printed += &format!("{read:?}");
            // A refusal does not repeat what it refuses.
            for name in object(s.body.clone()).keys() {
                for wrong in [json!([{ "a": SECRET }]), json!(SECRET), json!({ SECRET: SECRET })] {
                    let mut body = s.body.clone();
                    body[name] = wrong;
                    match b.write(&path, body).await {
                        Ok(r) => printed += &format!("{r:?}"),
                        Err(e) => printed += &format!("{e} {e:?}"),
                    }
                }
            }
            assert!(!printed.contains(SECRET), "{}: {printed}", s.type_name);
        }
    });
}

#[test]
fn every_record_says_its_form() {
    run(async {
        for s in samples() {
            let b = mounted(&s).await;
            for name in ["a", "b"] {
                b.write(&format!("{}{name}", s.folder), s.body.clone()).await.unwrap();
            }
            assert!(!b.records().is_empty());
            for (path, record) in b.contents() {
                let v: Value = serde_json::from_slice(&record).unwrap();
                assert_eq!(v["v"], 1, "{} {path}", s.type_name);
            }
            // A record of a newer form is an error, not a guess.
            b.rewrite(|record| {
                let mut v: Value = serde_json::from_slice(record).unwrap();
                v["v"] = json!(2);
                v.to_string().into_bytes()
            });
            let e = b.read(&format!("{}a", s.folder)).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Internal, "{}", s.type_name);
        }
    });
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        Just(json!("1h")),
        Just(json!("1,2")),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{0,6}", inner, 0..4).prop_map(|m| m.into_iter().collect()),
        ]
    })
}

/// Values under names that the JSON library gives a meaning of its own.
fn hostile() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        3 => Just("$serde_json::private::Number".to_string()),
        3 => Just("$serde_json::private::RawValue".to_string()),
        1 => "[a-z]{1,3}",
    ];
    let number = "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?";
    let leaf = prop_oneof![
        Just(json!("99")),
        Just(json!("abc")),
        Just(json!("{\"a\":1}")),
        number.prop_map(|n| vault_api::json::value(&n, &vault_api::json::Bounds::SIZED).unwrap()),
    ];
    leaf.prop_recursive(3, 12, 2, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            3 => prop::collection::btree_map(name.clone(), inner, 1..3)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    /// Whatever is accepted comes back as it was, letter by letter: secrets of every kind, custom
    /// metadata, a role's claims, and what a merge patch leaves.
    #[test]
    fn what_is_accepted_comes_back_as_it_was(v in hostile(), name in "[$]serde_json::private::(Number|RawValue)|[a-z]{1,3}") {
        run(async {
            let secret = json!({ name.clone(): v.clone(), "second": v.clone() });
            for type_name in ["kv", "cubbyhole"] {
                let b = Bench::mount(type_name, &[]);
                b.write("x", secret.clone()).await.unwrap();
                assert_eq!(data(&b.read("x").await.unwrap()).to_string(), secret.to_string());
            }
            let b = Bench::mount("kv", &[("version", "2")]);
            b.write("data/x", json!({ "data": secret.clone() })).await.unwrap();
            assert_eq!(data(&b.read("data/x").await.unwrap())["data"].to_string(), secret.to_string());
            let mut change = b.request(Operation::Patch, "data/x", json!({ "data": { "third": v.clone() } }));
            change.merge_patch = true;
            b.serve(change).await.unwrap();
            let merged = json!({ name.clone(): v.clone(), "second": v.clone(), "third": v.clone() });
            assert_eq!(data(&b.read("data/x").await.unwrap())["data"], merged);
            b.write("metadata/x", json!({ "custom_metadata": { name.clone(): "99" } })).await.unwrap();
            assert_eq!(data(&b.read("metadata/x").await.unwrap())["custom_metadata"], json!({ name.clone(): "99" }));
            let claims = json!({ name.clone(): "99", "other": ["abc"] });
            let b = Bench::mount("jwt", &[]);
            b.write("role/x", json!({ "user_claim": "sub", "bound_claims": claims.clone() })).await.unwrap();
            assert_eq!(data(&b.read("role/x").await.unwrap())["bound_claims"], claims);
        });
    }
}

/// Every field that any endpoint knows, so that chance finds them.
const FIELD_NAMES: &[&str] = &[
    "data",
    "options",
    "version",
    "versions",
    "max_versions",
    "cas_required",
    "delete_version_after",
    "custom_metadata",
    "depth",
    "generate",
    "key",
    "url",
    "issuer",
    "account_name",
    "period",
    "digits",
    "algorithm",
    "skew",
    "qr_size",
    "code",
    "jwt_validation_pubkeys",
    "jwks_url",
    "bound_issuer",
    "jwt_supported_algs",
    "role_type",
    "bound_audiences",
    "bound_claims",
    "user_claim",
    "claim_mappings",
    "token_ttl",
    "token_policies",
    "jwt",
    "role",
    "upstream",
    "credential",
    "inject",
    "allow",
    "auth",
    "rate_limit",
    "timeout",
    "after",
    "limit",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_request_panics_or_fails_inside(
        head in prop::sample::select(vec![
            "", "config", "data/", "metadata/", "delete/", "undelete/", "destroy/", "subkeys/", "keys/", "code/", "role/",
            "login", "services/", "proxy/",
        ]),
        tail in "[a-z./]{0,5}",
        operation in prop::sample::select(vec![
            Operation::Create, Operation::Read, Operation::Update, Operation::Patch, Operation::Delete, Operation::List,
            Operation::Invoke,
        ]),
        fields in prop::collection::btree_map(prop::sample::select(FIELD_NAMES), any_json(), 0..4),
    ) {
        run(async {
            let body: Value = fields.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
            let path = format!("{head}{tail}");
            // The core lets no other path through.
            if vault_logical::path::canonical(&path).is_err() || path.starts_with('/') {
                return;
            }
            if path.ends_with('/') != (operation == Operation::List) && operation == Operation::List {
                return;
            }
            for s in samples() {
                let b = mounted(&s).await;
                b.write(&format!("{}a", s.folder), s.body.clone()).await.unwrap();
                if let Err(e) = b.serve(b.request(operation, &path, body.clone())).await {
                    assert_ne!(e.kind(), ErrorKind::Internal, "{} {operation} {path}", s.type_name);
                }
            }
        });
    }
}
