//! `SERVICE.md` says what the code does: its fields, defaults and examples are read from it here.

use super::service::FIELDS;
use crate::testing::{Bench, data, run};
use serde_json::{Value, json};

const PAGE: &str = include_str!("../../../../vault-gateway/SERVICE.md");

/// Rows of the table under `heading`: name, default, example.
fn rows(heading: &str) -> Vec<(String, String, Value)> {
    let section = PAGE.split_once(heading).unwrap().1;
    let table = section.lines().skip_while(|l| !l.starts_with('|')).take_while(|l| l.starts_with('|'));
    let cell = |c: &str| c.trim().trim_matches('`').to_string();
    let row = |l: &str| {
        let cells: Vec<String> = l.trim_matches('|').split(" | ").map(cell).collect();
        assert_eq!(cells.len(), 5, "{l}");
        let example = serde_json::from_str(&cells[3]).unwrap_or_else(|e| panic!("{e}: {l}"));
        (cells[0].clone(), cells[2].clone(), example)
    };
    table.skip(2).map(row).collect()
}

fn bench() -> Bench {
    let b = Bench::mount("gateway", &[]);
    for name in ["openai", "anthropic", "stripe"] {
        b.readable.lock().insert(format!("secret/data/{name}"));
    }
    b
}

fn base() -> Value {
    let required = rows("## Fields").into_iter().filter(|(_, default, _)| default == "required");
    Value::Object(required.map(|(name, _, example)| (name, example)).collect())
}

#[test]
fn every_field_is_on_the_page_with_its_default_and_an_example_that_works() {
    run(async {
        let b = bench();
        let rows = rows("## Fields");
        let mut names: Vec<&str> = rows.iter().map(|(n, ..)| n.as_str()).collect();
        let mut known = FIELDS.to_vec();
        names.sort_unstable();
        known.sort_unstable();
        assert_eq!(names, known);
        b.write("services/base", base()).await.unwrap();
        let defaults = data(&b.read("services/base").await.unwrap());
        for (name, default, example) in &rows {
            if default != "required" && name != super::service::FORCE {
                let default: Value = serde_json::from_str(default).unwrap();
                assert_eq!(defaults[name.as_str()], default, "the default of {name}");
            }
            let mut body = base();
            // The page's certificate is none; what is tested with one is elsewhere.
            body[name] = if name == "ca_cert" { json!("") } else { example.clone() };
            let r = b.write("services/one", body).await.unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(r.warnings.iter().all(|w| w.contains("every call")), "{name}: {:?}", r.warnings);
        }
    });
}

#[test]
fn every_example_on_the_page_is_a_service() {
    run(async {
        let b = bench();
        let blocks: Vec<&str> =
            PAGE.split("```json").skip(1).map(|s| s.split("```").next().unwrap()).collect();
        assert!(blocks.len() >= 3);
        for (n, text) in blocks.into_iter().enumerate() {
            let body: Value = serde_json::from_str(text).unwrap();
            let r = b.write(&format!("services/e{n}"), body).await.unwrap_or_else(|e| panic!("{e}: {text}"));
            assert!(r.warnings.is_empty(), "{:?}", r.warnings);
        }
    });
}

#[test]
fn a_record_of_the_first_version_still_has_its_header() {
    let stored = r#"{"v":1,"upstream":"https://u","credential":{"path":"secret/data/x","field":"k"},
        "inject_header":"authorization","inject_template":"Bearer {{credential}}","allow":[],"auth":[],
        "caller_header":"x-app","timeout":{"secs":60,"nanos":0}}"#;
    let s: vault_logical::ServiceConfig = serde_json::from_str(stored).unwrap();
    assert_eq!(s.caller_headers(), ["x-app"]);
    assert_eq!(super::service::describe(&s)["caller_headers"], json!(["x-app"]));
}
