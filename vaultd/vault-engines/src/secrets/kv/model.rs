//! KV v2 once more, as naively as it can be said: every version ever written stays in a list, and
//! what a version is follows from its flags at the moment of the question. Random sequences of
//! calls must have the same answers from the engine.

use crate::testing::{Bench, data, run};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use vault_logical::{Clock, ErrorKind, Operation, Response, Result, Timestamp};

#[derive(Clone, Debug)]
enum Call {
    Write { key: usize, value: Value, cas: Option<u64> },
    Patch { key: usize, change: Value, cas: Option<u64> },
    Read { key: usize, version: u64 },
    Subkeys { key: usize },
    DeleteCurrent { key: usize },
    Mark { what: &'static str, key: usize, versions: Vec<u64> },
    Metadata { key: usize, body: Value },
    MetadataRead { key: usize },
    Remove { key: usize },
    Config { body: Value },
    List,
    Wait { secs: u64 },
}

const KEYS: [&str; 3] = ["a", "a/b", "z"];

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (0..50u32).prop_map(|n| json!({"n": n, "deep": {"x": n, "y": {"z": n}}})),
        1 => Just(json!({})),
        // Beyond what lies inline.
        2 => (5000..6000usize).prop_map(|n| json!({"big": "x".repeat(n)})),
        1 => Just(serde_json::from_str("{\"exact\": 123456789012345678901234567890.10, \"e\": 1e400}").unwrap()),
    ]
}

fn change() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"n": null})),
        (0..9u32).prop_map(|n| json!({"deep": {"x": null, "w": n}})),
        Just(json!({"deep": {"y": {"z": {"new": true}}}})),
        Just(json!({"big": null, "added": [1, 2]})),
    ]
}

fn settings() -> impl Strategy<Value = Value> {
    (prop::option::of(0..5u64), prop::option::of(any::<bool>()), prop::option::of(0..40u64)).prop_map(
        |(m, c, d)| {
            let mut v = json!({});
            if let Some(m) = m {
                v["max_versions"] = json!(m);
            }
            // Rarely, or most writes would be refused.
            if let Some(c) = c {
                v["cas_required"] = json!(c && m == Some(1));
            }
            if let Some(d) = d {
                v["delete_version_after"] = json!(format!("{d}s"));
            }
            v
        },
    )
}

fn call() -> impl Strategy<Value = Call> {
    // Mostly one key and few versions: histories must meet to differ.
    let key = prop_oneof![4 => Just(0), 1 => 1..KEYS.len()];
    let versions = || prop::collection::vec(0..6u64, 1..4);
    prop_oneof![
        8 => (key.clone(), value(), prop::option::of(0..6u64)).prop_map(|(key, value, cas)| Call::Write { key, value, cas }),
        3 => (key.clone(), change(), prop::option::of(0..6u64)).prop_map(|(key, change, cas)| Call::Patch { key, change, cas }),
        6 => (key.clone(), 0..9u64).prop_map(|(key, version)| Call::Read { key, version }),
        1 => key.clone().prop_map(|key| Call::Subkeys { key }),
        2 => key.clone().prop_map(|key| Call::DeleteCurrent { key }),
        4 => (prop::sample::select(vec!["delete", "undelete", "destroy"]), key.clone(), versions())
            .prop_map(|(what, key, versions)| Call::Mark { what, key, versions }),
        2 => (key.clone(), settings()).prop_map(|(key, body)| Call::Metadata { key, body }),
        2 => key.clone().prop_map(|key| Call::MetadataRead { key }),
        1 => key.prop_map(|key| Call::Remove { key }),
        1 => settings().prop_map(|body| Call::Config { body }),
        1 => Just(Call::List),
        3 => (0..20u64).prop_map(|secs| Call::Wait { secs }),
    ]
}

struct Version {
    data: Value,
    created: i64,
    deletion: Option<i64>,
    destroyed: bool,
    dropped: bool,
}

#[derive(Default)]
struct Settings {
    max: u64,
    cas: bool,
    after: u64,
}

impl Settings {
    fn take(&mut self, body: &Value) {
        if let Some(n) = body["max_versions"].as_u64() {
            self.max = n;
        }
        if let Some(b) = body["cas_required"].as_bool() {
            self.cas = b;
        }
        if let Some(s) = body["delete_version_after"].as_str() {
            self.after = s.trim_end_matches('s').parse().unwrap();
        }
    }
}

#[derive(Default)]
struct Key {
    settings: Settings,
    /// Version `n` is at `n - 1`.
    versions: Vec<Version>,
}

#[derive(Default)]
struct Model {
    config: Settings,
    keys: BTreeMap<&'static str, Key>,
}

/// What a call answers: 204 is `Null`; a 404 with data says so.
#[derive(Debug, PartialEq)]
enum Said {
    Ok(Value),
    Gone(Value),
    Refused(ErrorKind),
}

fn iso(nanos: i64) -> String {
    Timestamp::from_unix_nanos(nanos).rfc3339()
}

fn describe(n: usize, v: &Version) -> Value {
    json!({
        "version": n, "created_time": iso(v.created), "deletion_time": v.deletion.map(iso).unwrap_or_default(),
        "destroyed": v.destroyed, "custom_metadata": null,
    })
}

fn naive_merge(target: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        *target = change.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (k, v) in change {
        if v.is_null() {
            target.as_object_mut().unwrap().remove(k);
        } else {
            let mut slot = target.get(k).cloned().unwrap_or_default();
            naive_merge(&mut slot, v);
            target[k] = slot;
        }
    }
}

fn naive_structure(v: &Value) -> Value {
    match v {
        Value::Object(m) if !m.is_empty() => m.iter().map(|(k, v)| (k.clone(), naive_structure(v))).collect(),
        _ => Value::Null,
    }
}

impl Model {
    fn deletion(&self, key: &Key, now: i64) -> Option<i64> {
        let set: Vec<u64> = [self.config.after, key.settings.after].into_iter().filter(|n| *n > 0).collect();
        set.into_iter().min().map(|s| now + s as i64 * 1_000_000_000)
    }

    fn push(&mut self, name: &'static str, value: Value, now: i64) -> Said {
        let deletion = self.deletion(&self.keys[name], now);
        let key = self.keys.get_mut(name).unwrap();
        key.versions.push(Version { data: value, created: now, deletion, destroyed: false, dropped: false });
        let keep = match self.config.max.max(key.settings.max) {
            0 => 10,
            n => n as usize,
        };
        let n = key.versions.len();
        for v in &mut key.versions[..n.saturating_sub(keep)] {
            v.dropped = true;
        }
        Said::Ok(describe(n, &key.versions[n - 1]))
    }

    fn cas_fails(&self, name: &str, cas: Option<u64>) -> bool {
        let key = self.keys.get(name);
        match cas {
            None => self.config.cas || key.is_some_and(|k| k.settings.cas),
            Some(n) => n != key.map_or(0, |k| k.versions.len() as u64),
        }
    }

    fn look(&self, name: &str, version: usize, now: i64, what: &str, show: impl Fn(&Value) -> Value) -> Said {
        let Some(key) = self.keys.get(name) else { return Said::Refused(ErrorKind::NotFound) };
        let n = if version == 0 { key.versions.len() } else { version };
        let Some(v) = n.checked_sub(1).and_then(|i| key.versions.get(i)).filter(|v| !v.dropped) else {
            return Said::Refused(ErrorKind::NotFound);
        };
        let metadata = describe(n, v);
        if v.destroyed || v.deletion.is_some_and(|d| d <= now) {
            Said::Gone(json!({what: null, "metadata": metadata}))
        } else {
            Said::Ok(json!({what: show(&v.data), "metadata": metadata}))
        }
    }

    fn serve(&mut self, call: &Call, now: i64) -> Said {
        match call {
            Call::Write { key, value, cas } => {
                if self.cas_fails(KEYS[*key], *cas) {
                    return Said::Refused(ErrorKind::InvalidRequest);
                }
                self.keys.entry(KEYS[*key]).or_default();
                self.push(KEYS[*key], value.clone(), now)
            }
            Call::Patch { key, change, cas } => {
                let name = KEYS[*key];
                let Some(k) = self.keys.get(name) else { return Said::Refused(ErrorKind::NotFound) };
                if self.cas_fails(name, *cas) {
                    return Said::Refused(ErrorKind::InvalidRequest);
                }
                let Some(v) = k.versions.last() else { return Said::Refused(ErrorKind::NotFound) };
                if v.destroyed || v.deletion.is_some_and(|d| d <= now) {
                    return Said::Gone(describe(k.versions.len(), v));
                }
                let mut value = v.data.clone();
                naive_merge(&mut value, change);
                self.push(name, value, now)
            }
            Call::Read { key, version } => {
                self.look(KEYS[*key], *version as usize, now, "data", Value::clone)
            }
            // An empty secret has an empty structure; only nested empty objects count as values.
            Call::Subkeys { key } => self.look(KEYS[*key], 0, now, "subkeys", |v| match naive_structure(v) {
                Value::Null => json!({}),
                s => s,
            }),
            Call::DeleteCurrent { key } => {
                let n = self.keys.get(KEYS[*key]).map_or(0, |k| k.versions.len() as u64);
                self.mark("delete", KEYS[*key], &[n], now)
            }
            Call::Mark { what, key, versions } => self.mark(what, KEYS[*key], versions, now),
            Call::Metadata { key, body } => {
                if body.as_object().is_some_and(|b| !b.is_empty()) {
                    self.keys.entry(KEYS[*key]).or_default().settings.take(body);
                }
                Said::Ok(Value::Null)
            }
            Call::MetadataRead { key } => self.metadata(KEYS[*key]),
            Call::Remove { key } => {
                self.keys.remove(KEYS[*key]);
                Said::Ok(Value::Null)
            }
            Call::Config { body } => {
                self.config.take(body);
                Said::Ok(Value::Null)
            }
            Call::List => {
                let mut names: Vec<&str> =
                    self.keys.keys().map(|k| if *k == "a/b" { "a/" } else { k }).collect();
                names.sort_unstable();
                Said::Ok(json!({ "keys": names }))
            }
            Call::Wait { .. } => Said::Ok(Value::Null),
        }
    }

    fn metadata(&self, name: &str) -> Said {
        match self.keys.get(name) {
            None => Said::Refused(ErrorKind::NotFound),
            Some(k) => {
                let versions = k.versions.iter().enumerate().filter(|(_, v)| !v.dropped).map(|(i, v)| {
                    let mut d = describe(i + 1, v);
                    d.as_object_mut().unwrap().retain(|f, _| f != "version" && f != "custom_metadata");
                    ((i + 1).to_string(), d)
                });
                Said::Ok(
                    json!({"current_version": k.versions.len(), "versions": Value::Object(versions.collect())}),
                )
            }
        }
    }

    fn mark(&mut self, what: &str, name: &str, versions: &[u64], now: i64) -> Said {
        let deletion = self.keys.get(name).and_then(|k| self.deletion(k, now));
        for n in versions {
            let i = (*n as usize).wrapping_sub(1);
            let Some(v) = self.keys.get_mut(name).and_then(|k| k.versions.get_mut(i)) else { continue };
            if v.dropped || v.destroyed {
                continue;
            }
            match what {
                "delete" if v.deletion.is_none_or(|d| d > now) => v.deletion = Some(now),
                "undelete" => v.deletion = deletion,
                "destroy" => v.destroyed = true,
                _ => {}
            }
        }
        Said::Ok(Value::Null)
    }

    /// Records of their own that versions should have now.
    fn separate_records(&self) -> usize {
        let mut n = 0;
        for key in self.keys.values() {
            for (i, v) in key.versions.iter().enumerate() {
                let inline =
                    i + 1 == key.versions.len() && v.data.to_string().len() <= crate::limits::KV_INLINE_BYTES;
                n += usize::from(!v.dropped && !v.destroyed && !inline);
            }
        }
        n
    }
}

fn options(cas: &Option<u64>) -> Value {
    cas.map_or(Value::Null, |n| json!({ "cas": n }))
}

async fn ask(b: &Bench, call: &Call) -> Result<Response> {
    match call {
        Call::Write { key, value, cas } => {
            b.write(&format!("data/{}", KEYS[*key]), json!({"data": value, "options": options(cas)})).await
        }
        Call::Patch { key, change, cas } => {
            b.patch(&format!("data/{}", KEYS[*key]), json!({"data": change, "options": options(cas)})).await
        }
        Call::Read { key, version } => {
            b.read_with(&format!("data/{}", KEYS[*key]), json!({"version": version.to_string()})).await
        }
        Call::Subkeys { key } => b.read(&format!("subkeys/{}", KEYS[*key])).await,
        Call::DeleteCurrent { key } => b.delete(&format!("data/{}", KEYS[*key])).await,
        Call::Mark { what, key, versions } => {
            b.write(&format!("{what}/{}", KEYS[*key]), json!({ "versions": versions })).await
        }
        Call::Metadata { key, body } => b.write(&format!("metadata/{}", KEYS[*key]), body.clone()).await,
        Call::MetadataRead { key } => b.read(&format!("metadata/{}", KEYS[*key])).await,
        Call::Remove { key } => b.delete(&format!("metadata/{}", KEYS[*key])).await,
        Call::Config { body } => b.write("config", body.clone()).await,
        Call::List => b.serve(b.request(Operation::List, "metadata/", Value::Null)).await,
        Call::Wait { secs } => {
            b.clock.advance(Duration::from_secs(*secs));
            Ok(Response::empty())
        }
    }
}

async fn said(b: &Bench, call: &Call) -> Said {
    match ask(b, call).await {
        Err(e) => Said::Refused(e.kind()),
        Ok(r) if r.not_found => Said::Gone(data(&r)),
        Ok(r) => {
            let mut d = data(&r);
            if let (Call::MetadataRead { .. }, Value::Object(m)) = (call, &mut d) {
                m.retain(|k, _| k == "versions" || k == "current_version");
            }
            Said::Ok(d)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_of_calls_is_answered_like_the_model(calls in prop::collection::vec(call(), 1..60)) {
        run(async {
            let bench = Bench::mount("kv", &[("version", "2")]);
            let mut model = Model::default();
            for call in &calls {
                let now = bench.clock.now().unix_nanos();
                let want = model.serve(call, now);
                let got = said(&bench, call).await;
                // Compared as text: 1.10 and 1.1 are different numbers here.
                prop_assert_eq!(format!("{:?}", got), format!("{:?}", want), "{:?}", call);
                let separate = bench.records().iter().filter(|r| r.starts_with("ver/")).count();
                prop_assert_eq!(separate, model.separate_records(), "version records after {:?}", call);
            }
            Ok(())
        })?;
    }
}
