//! No secret in a record, whatever field it came in; no line that a field could forge.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use proptest::prelude::*;
use serde_json::{Value, json};
use vault_logical::Data;

/// One secret per field: found again in any spelling.
#[derive(Default)]
struct Canaries(Vec<String>);

impl Canaries {
    fn plant(&mut self) -> String {
        let canary = format!("canary\"\\/ü{:04}-Zk9qWx7LmPv3", self.0.len());
        self.0.push(canary.clone());
        canary
    }

    fn assert_absent(&self, log: &[u8]) {
        let log = String::from_utf8(log.to_vec()).unwrap();
        for canary in &self.0 {
            for needle in spellings(canary) {
                assert!(!log.contains(&needle), "{canary} is in the log as {needle}");
            }
        }
    }
}

/// The part of a secret that survives cutting and escaping, in the ways a log could spell it.
fn spellings(secret: &str) -> Vec<String> {
    let core = &secret[secret.len() - 17..];
    let escaped = serde_json::to_string(secret).unwrap();
    let mut all = vec![secret.to_owned(), core.to_owned(), escaped.trim_matches('"').to_owned()];
    all.extend([hex::encode(core), hex::encode_upper(core)]);
    for skip in 0..3 {
        let piece = &core.as_bytes()[skip..skip + 12];
        all.extend([STANDARD.encode(piece), STANDARD_NO_PAD.encode(piece), URL_SAFE.encode(piece)]);
    }
    all.push(core.bytes().map(|b| format!("%{b:02X}")).collect());
    all.push(core.bytes().map(|b| format!("{b}")).collect::<Vec<_>>().join(","));
    all
}

/// Data with a canary in every kind of place.
fn data(c: &mut Canaries) -> Data {
    let mut deep = json!(c.plant());
    for _ in 0..limits::MAX_DATA_DEPTH + 10 {
        deep = json!([deep]);
    }
    let value = json!({
        "text": c.plant(),
        "clear": "stays-readable",
        "keys": [c.plant(), c.plant()],
        "key_info": {"a": {"inner": c.plant()}},
        "data": {"password": c.plant(), "clear": c.plant(), "list": [{"x": c.plant()}, [c.plant()]]},
        "number": 12, "float": 1.25e9, "bool": true, "null": null, "empty": "",
        "deep": deep,
    });
    value.as_object().unwrap().clone()
}

#[test]
fn canaries_in_every_field_never_reach_the_file() {
    for extra in [&[][..], &[("hmac_paths", "true")], &[("elide_list_responses", "true")]] {
        let (audit, memory, _) = with_memory(extra);
        let mut c = Canaries::default();
        let (token, accessor, path) = (c.plant(), c.plant(), c.plant());
        let hashes = audit.hash_identity(&token, &accessor).unwrap();
        let (sent, answered) = (data(&mut c), data(&mut c));
        let raw = c.plant();
        let new: Vec<String> = (0..5).map(|_| c.plant()).collect();
        for (n, hashes) in [None, Some(&hashes)].into_iter().enumerate() {
            let mut e = entry(n as u64);
            e.operation = "list";
            e.credential = Some(Credential { token: &token, accessor: &accessor, hashes });
            e.data = if n == 0 { Body::Fields(&sent) } else { Body::Raw(raw.as_bytes()) };
            e.clear = ClearKeys { engine: &["clear"], mount: &[] };
            if extra.iter().any(|(k, _)| *k == "hmac_paths") {
                e.path = &path;
            }
            let audited = audit.request(&e).unwrap();
            let mut r = ResponseEntry::new(&e);
            r.data = Body::Fields(&answered);
            r.clear = e.clear;
            r.auth = Some(IssuedEntry { client_token: &new[0], accessor: &new[1], ..Default::default() });
            r.wrap = Some(WrapEntry {
                token: &new[2],
                accessor: &new[3],
                wrapped_accessor: &new[4],
                ..Default::default()
            });
            let _ = audit.response(audited, &r, ()).unwrap();
        }
        audit.close();
        let log = memory.read(LOG);
        if !extra.iter().any(|(k, _)| *k == "hmac_paths") {
            c.0.remove(2);
        }
        c.assert_absent(&log);
        let lines = lines(&log);
        let response = of_type(&lines, "response")[0];
        // What may be read, is.
        assert_eq!(response["response"]["data"]["clear"], "stays-readable");
        assert_eq!(response["response"]["data"]["number"], 12);
        assert_eq!(response["response"]["data"]["bool"], true);
        assert!(response["response"]["data"]["null"].is_null());
        // Precomputed and fresh hashes are the same, and `audit-hash` finds them.
        let wanted = audit.hash("file", &token).unwrap();
        for r in of_type(&lines, "request") {
            assert_eq!(r["auth"]["client_token"], wanted);
            assert_eq!(r["request"]["client_token"], wanted);
        }
    }
}

/// The keyed hash of Vault's format: HMAC-SHA256, checked against an implementation apart.
#[test]
fn the_hash_is_hmac_sha256_under_the_devices_key() {
    let (audit, memory, _) = with_memory(&[]);
    let expected = reference_hmac(&[9; 32], b"what do ya want for nothing?");
    assert_eq!(
        audit.hash("file/", "what do ya want for nothing?").unwrap(),
        format!("hmac-sha256:{expected}")
    );
    let data = json!({"a": "what do ya want for nothing?"});
    let e = RequestEntry { data: Body::Fields(data.as_object().unwrap()), ..entry(1) };
    let _ = audit.request(&e).unwrap();
    audit.close();
    let lines = lines(&memory.read(LOG));
    assert_eq!(of_type(&lines, "request")[0]["request"]["data"]["a"], format!("hmac-sha256:{expected}"));
    assert!(matches!(audit.hash("other/", "x"), Err(AuditError::NoSuchDevice)));
}

/// RFC 2104 spelled out.
fn reference_hmac(key: &[u8; 32], text: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    let pad = |with: u8| -> Vec<u8> {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(b, k)| *b ^= k);
        block.to_vec()
    };
    let inner = Sha256::digest([pad(0x36), text.to_vec()].concat());
    hex::encode(Sha256::digest([pad(0x5c), inner.to_vec()].concat()))
}

#[test]
fn mount_keys_are_clear_at_any_depth_and_engine_keys_only_on_top() {
    let (audit, memory, _) = with_memory(&[]);
    let data = json!({"version": "1", "data": {"version": "2", "user": ["a", {"user": "b"}], "other": "3"}});
    let mount = ["user".to_owned()];
    let e = RequestEntry {
        data: Body::Fields(data.as_object().unwrap()),
        clear: ClearKeys { engine: &["version"], mount: &mount },
        ..entry(1)
    };
    let _ = audit.request(&e).unwrap();
    audit.close();
    let lines = lines(&memory.read(LOG));
    let seen = &of_type(&lines, "request")[0]["request"]["data"];
    assert_eq!(seen["version"], "1");
    assert!(seen["data"]["version"].as_str().unwrap().starts_with("hmac-sha256:"));
    assert_eq!(seen["data"]["user"][0], "a");
    assert_eq!(seen["data"]["user"][1]["user"], "b");
    assert!(seen["data"]["other"].as_str().unwrap().starts_with("hmac-sha256:"));
}

#[test]
fn raw_logging_is_for_the_config_file_only() {
    let raw = |key: &str, origin| {
        let options = [("file_path", "/audit/log"), (key, "true")];
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        DeviceConfig::parse(origin, "file", "file", "", &options)
    };
    assert!(matches!(raw("danger_log_raw", Origin::Api), Err(AuditError::Config(_))));
    assert!(matches!(raw("log_raw", Origin::File), Err(AuditError::Config(_))));
    assert!(raw("danger_log_raw", Origin::File).unwrap().log_raw);
    let (audit, memory, _) = with_memory(&[("danger_log_raw", "true"), ("hmac_accessor", "false")]);
    let data = json!({"a": "in clear"});
    let credential = Credential { token: "tok", accessor: "acc", hashes: None };
    let e = RequestEntry {
        data: Body::Fields(data.as_object().unwrap()),
        credential: Some(credential),
        ..entry(1)
    };
    let _ = audit.request(&e).unwrap();
    audit.close();
    let lines = lines(&memory.read(LOG));
    let request = &of_type(&lines, "request")[0]["request"];
    assert_eq!((&request["data"]["a"], &request["client_token"]), (&json!("in clear"), &json!("tok")));
    assert_eq!(request["client_token_accessor"], "acc");
}

/// Data that would not fit a line is replaced by its size and keyed digest, still one line.
#[test]
fn data_without_measure_stays_one_bounded_line() {
    let (audit, memory, _) = with_memory(&[]);
    let many: Vec<Value> = (0..200_000).map(|n| json!(n.to_string())).collect();
    let cases = [
        json!({ "keys": many }),
        json!({ "x".repeat(2_000_000): 1 }),
        json!({ "a": {"\u{1}".repeat(100_000): "v"} }),
    ];
    for (n, data) in cases.iter().enumerate() {
        let e = RequestEntry { data: Body::Fields(data.as_object().unwrap()), ..entry(n as u64) };
        let audited = audit.request(&e).unwrap();
        let r = ResponseEntry { data: e.data, ..ResponseEntry::new(&e) };
        let _ = audit.response(audited, &r, ()).unwrap();
    }
    let options = keys(&audit);
    audit.close();
    let log = memory.read(LOG);
    assert!(check(&log, &options).intact());
    assert!(log.split(|b| *b == b'\n').all(|l| l.len() < 4096));
    let lines = lines(&log);
    assert_eq!(of_type(&lines, "request")[0]["request"]["data"]["elided"]["fields"], 1);
}

/// Names, policies and metadata at their longest do not make a line that cannot be read back.
#[test]
fn the_longest_record_fits_a_line() {
    let (audit, memory, _) = with_memory(&[]);
    let long = "\u{1}".repeat(100_000);
    let texts = vec![long.clone(); 1000];
    let metadata: BTreeMap<String, String> =
        (0..1000).map(|n| (format!("{n}{long}"), long.clone())).collect();
    let big: Data = (0..9_000).map(|n| (format!("{n}"), json!("v"))).collect();
    let e = RequestEntry {
        path: &long,
        mount: Some(MountEntry { point: &long, type_name: &long, accessor: &long, class: &long }),
        identity: Some(Identity {
            display_name: &long,
            policies: &texts,
            token_policies: &texts,
            identity_policies: &texts,
            metadata: Some(&metadata),
            entity_id: &long,
            ..caller()
        }),
        data: Body::Fields(&big),
        error: Some(&long),
        ..entry(1)
    };
    let audited = audit.request(&e).unwrap();
    let r = ResponseEntry {
        data: Body::Fields(&big),
        auth: Some(IssuedEntry {
            display_name: &long,
            policies: &texts,
            token_policies: &texts,
            metadata: Some(&metadata),
            ..Default::default()
        }),
        warnings: &texts,
        error: Some(&long),
        ..ResponseEntry::new(&e)
    };
    let _ = audit.response(audited, &r, ()).unwrap();
    let options = keys(&audit);
    audit.close();
    let log = memory.read(LOG);
    assert_eq!(check(&log, &options).fault, None);
    assert!(log.len() > 2_000_000, "{}", log.len());
    assert_eq!(lines(&log).len(), 5);
}

/// Text with a preference for what breaks line parsers and terminals.
fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\r\n{\"type\":\"request\"}\n".to_owned()),
        Just("\n".to_owned()),
        Just("\0\u{1b}[2K\u{85}\u{2028}\u{2029}\u{202e}\u{feff}".to_owned()),
        Just("\",\"seq\":1,\"chain\":\"".to_owned()),
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|p| p.concat())
}

const SEPARATORS: [char; 4] = ['\u{2028}', '\u{2029}', '\u{202e}', '\u{feff}'];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_field_can_forge_or_break_a_line(t in prop::collection::vec(nasty(), 16), raw in any::<bool>()) {
        let extra: &[(&str, &str)] =
            if raw { &[("danger_log_raw", "true"), ("hmac_accessor", "false")] } else { &[] };
        let (audit, memory, _) = with_memory(extra);
        let data = json!({ &t[0]: &t[1], "k": [&t[2], { &t[3]: &t[4] }] });
        let (policies, warnings) = ([t[5].clone()], [t[6].clone()]);
        let metadata = BTreeMap::from([(t[7].clone(), t[8].clone())]);
        let e = RequestEntry {
            path: &t[9],
            mount: Some(MountEntry { point: &t[10], type_name: &t[10], accessor: &t[10], class: &t[10] }),
            credential: Some(Credential { token: &t[11], accessor: &t[12], hashes: None }),
            identity: Some(Identity { display_name: &t[13], policies: &policies, metadata: Some(&metadata), ..caller() }),
            data: Body::Fields(data.as_object().unwrap()),
            error: Some(&t[14]),
            ..entry(1)
        };
        let audited = audit.request(&e).unwrap();
        let r = ResponseEntry {
            data: e.data, warnings: &warnings, error: Some(&t[15]), lease_id: &t[15], ..ResponseEntry::new(&e)
        };
        let _ = audit.response(audited, &r, ()).unwrap();
        let options = keys(&audit);
        audit.close();
        let log = memory.read(LOG);
        prop_assert_eq!(check(&log, &options).fault, None);
        let text = String::from_utf8(log).unwrap();
        // Under every notion of a line: newline, any control, any Unicode separator.
        let splits = |c: char| c.is_control() || SEPARATORS.contains(&c);
        prop_assert!(!text.replace('\n', "").chars().any(splits));
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        // open, checkpoint, request, response, checkpoint
        prop_assert_eq!(lines.len(), 5);
        prop_assert_eq!(lines[2]["request"]["path"].as_str(), Some(&*t[9]));
        prop_assert_eq!(lines[2]["auth"]["display_name"].as_str().unwrap_or(""), &t[13]);
    }
}
