use super::reference::{self, Document, Written};
use super::{Acl, DEFAULT_POLICY, Decision, Policy, Query, ROOT, normalise_name};
use proptest::prelude::*;
use std::sync::Arc;
use vault_logical::Operation;

const OPERATIONS: [Operation; 7] = [
    Operation::Create,
    Operation::Read,
    Operation::Update,
    Operation::Patch,
    Operation::Delete,
    Operation::List,
    Operation::Invoke,
];
const METHODS: [Option<&str>; 4] = [None, Some("GET"), Some("POST"), Some("TRACE")];

/// Cases of the comparison with the reference; `POLICY_CASES` for more.
fn cases(default: u32) -> ProptestConfig {
    let n = std::env::var("POLICY_CASES").ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    ProptestConfig { cases: n, failure_persistence: None, ..ProptestConfig::default() }
}

fn policy(name: &str, text: &str) -> Arc<Policy> {
    Arc::new(Policy::parse(name, text).unwrap_or_else(|e| panic!("{e}\n{text}")))
}

fn acl(text: &str) -> Acl {
    Acl::new(&[policy("p", text)])
}

fn ask(acl: &Acl, operation: Operation, path: &str) -> bool {
    acl.check(&Query { operation, path, sudo: false, method: None }).allowed
}

fn refusal(text: &str) -> String {
    match Policy::parse("p", text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(e) => {
            assert_eq!(e.kind(), vault_logical::ErrorKind::InvalidRequest);
            e.message().to_owned()
        }
    }
}

fn json(d: &Document) -> String {
    // Written by hand: a rule's path may appear twice in one document.
    let rules = d.rules.iter().map(|r| {
        let mut body = serde_json::json!({ "capabilities": r.capabilities });
        if !r.methods.is_empty() {
            body["methods"] = serde_json::json!(r.methods);
        }
        format!("{}: {body}", serde_json::json!(r.path))
    });
    format!("{{\"path\": {{ {} }} }}", rules.collect::<Vec<_>>().join(", "))
}

fn hcl(d: &Document) -> String {
    let rules = d.rules.iter().map(|r| {
        let methods = match r.methods.is_empty() {
            true => String::new(),
            false => format!("  methods = {:?}\n", r.methods),
        };
        format!("path {:?} {{\n  capabilities = {:?} # why\n{methods}}}\n", r.path, r.capabilities)
    });
    rules.collect()
}

/// Few names, so that rules and requests collide.
fn rule_path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![4 => Just("a"), 3 => Just("b"), 2 => Just("ab"), 3 => Just("+")];
    let end = prop_oneof![4 => Just(""), 2 => Just("/"), 3 => Just("*"), 3 => Just("/*")];
    (prop::collection::vec(segment, 0..4), end, prop::bool::weighted(0.1)).prop_filter_map(
        "\"+*\" and unmatchable paths are refused",
        |(segments, end, slash)| {
            let stem = segments.join("/");
            let path = match (stem.as_str(), end) {
                ("", "/" | "/*") => return None,
                (s, "*") if s.ends_with('+') => return None,
                _ => format!("{}{stem}{end}", if slash { "/" } else { "" }),
            };
            Some(path)
        },
    )
}

fn rule() -> impl Strategy<Value = Written> {
    const NAMES: [&str; 9] =
        ["create", "read", "update", "patch", "delete", "list", "sudo", "scan", "invoke"];
    let names = prop::sample::subsequence(&NAMES[..], 0..=NAMES.len());
    let methods = prop::sample::subsequence(&["GET", "POST", "PUT"][..], 0..=3);
    (rule_path(), names, prop::bool::weighted(0.12), methods).prop_map(
        |(path, mut capabilities, deny, methods)| {
            if deny {
                capabilities.push("deny");
            }
            let methods = if capabilities.contains(&"invoke") { methods } else { Vec::new() };
            Written { path, capabilities, methods }
        },
    )
}

fn documents() -> impl Strategy<Value = Vec<Document>> {
    prop::collection::vec(prop::collection::vec(rule(), 0..6), 1..4).prop_map(|all| {
        let named = |(i, rules)| Document { name: format!("p{i}"), rules };
        all.into_iter().enumerate().map(named).collect()
    })
}

fn request_path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![4 => Just("a"), 3 => Just("b"), 2 => Just("ab"), 1 => Just("abc")];
    (prop::collection::vec(segment, 0..5), any::<bool>()).prop_map(|(segments, slash)| {
        let path = segments.join("/");
        if slash && !path.is_empty() { path + "/" } else { path }
    })
}

fn names(d: &Decision) -> Vec<String> {
    d.granting.iter().map(|n| n.to_string()).collect()
}

proptest! {
    #![proptest_config(cases(20_000))]

    #[test]
    fn decides_as_the_naive_reference_does(
        documents in documents(),
        paths in prop::collection::vec(request_path(), 4),
    ) {
        let policies: Vec<_> = documents.iter().map(|d| policy(&d.name, &json(d))).collect();
        let acl = Acl::new(&policies);
        for path in &paths {
            for operation in OPERATIONS {
                // A method matters only to invoke, which no sudo path has.
                let variants = match operation {
                    Operation::Invoke => METHODS.map(|m| (false, m)).to_vec(),
                    _ => vec![(false, None), (true, None)],
                };
                for (sudo, method) in variants {
                    let got = acl.check(&Query { operation, path, sudo, method });
                    let want = reference::decide(&documents, operation.as_str(), path, sudo, method);
                    prop_assert_eq!(
                        (got.allowed, names(&got)), (want.allowed, want.granting),
                        "{} {:?} sudo={} method={:?}", operation, path, sudo, method
                    );
                    prop_assert!(!got.root);
                }
            }
            let able = reference::capabilities(&documents, path);
            prop_assert_eq!(acl.capabilities(path), able.clone(), "{:?}", path);
            // Whoever may do something below a folder may know of it.
            for (i, _) in path.match_indices('/') {
                prop_assert!(able == ["deny"] || acl.touches(&path[..=i]), "{:?}", path);
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn hcl_and_json_say_the_same(document in documents().prop_map(|mut d| d.remove(0))) {
        let (a, b) = (Policy::parse("p", &hcl(&document)), Policy::parse("p", &json(&document)));
        prop_assert_eq!(a.unwrap().rules, b.unwrap().rules);
    }

    #[test]
    fn no_text_makes_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Policy::parse("p", &String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_damaged_policy_makes_the_parser_panic(
        document in documents().prop_map(|mut d| d.remove(0)),
        as_json in any::<bool>(),
        cut in any::<prop::sample::Index>(),
        put in "[\\PC\n\"{}=,*/+<$%]{0,4}",
    ) {
        let text = if as_json { json(&document) } else { hcl(&document) };
        let at = cut.index(text.len() + 1);
        let _ = Policy::parse("p", &format!("{}{put}{}", &text[..at], &text[at..]));
        let _ = Policy::parse("p", &format!("{}{put}", &text[..at]));
    }

    #[test]
    fn one_name_has_one_spelling(raw in "[ \tA-Za-zſKıİ./@-]{0,8}|[ \t]{0,2}[rR][oO][oO][tT][ \n]{0,2}") {
        if let Ok(name) = normalise_name(&raw) {
            prop_assert_eq!(normalise_name(&name).unwrap(), name.clone());
            prop_assert!(name != ROOT || raw == ROOT, "{:?} became root", raw);
            prop_assert_eq!(name.to_lowercase(), name.clone());
            prop_assert_eq!(name.trim(), name.as_str());
        }
    }
}

/// Each rule of the order of priorities on its own: (weaker, stronger, a path both cover).
#[test]
fn priorities_one_by_one() {
    let table = [
        ("an exact rule beats a prefix", "a/b*", "a/b", "a/b"),
        ("an exact rule beats +", "a/+", "a/b", "a/b"),
        ("a longer prefix beats a shorter", "a/*", "a/b*", "a/bc"),
        ("(a) the first wildcard stands later", "+/b/c", "a/+/c", "a/b/c"),
        ("(a) a prefix that reaches further beats +", "a/+/c", "a/b*", "a/b/c"),
        ("(a) + that stands later beats a prefix", "a/*", "a/b/+", "a/b/c"),
        ("(b) a rule without * at the end", "a/*", "a/+", "a/b"),
        ("(b) also when it has more +", "a/+/*", "a/+/+", "a/b/c"),
        ("(b) before the number of +", "+/*", "+/+/+", "a/b/c"),
        ("(c) fewer +", "a/+/+/d", "a/+/c/+", "a/b/c/d"),
        ("(c) a prefix has none", "+/*", "+/a*", "b/ab"),
        ("(d) the longer", "a/+/b*", "a/+/bc*", "a/x/bcd"),
    ];
    for (why, weaker, stronger, path) in table {
        let text = |weak: &str, strong: &str| {
            format!(
                "path {weaker:?} {{ capabilities = [{weak:?}] }}\npath {stronger:?} {{ capabilities = [{strong:?}] }}"
            )
        };
        let winner = acl(&text("update", "read"));
        assert!(ask(&winner, Operation::Read, path), "{why}: {stronger} must decide {path}");
        assert!(!ask(&winner, Operation::Update, path), "{why}: {weaker} must not add to it");
        assert!(!ask(&acl(&text("read", "deny")), Operation::Read, path), "{why}: a deny there holds");
        assert!(ask(&acl(&text("deny", "read")), Operation::Read, path), "{why}: it also opens");
    }
}

#[test]
fn the_last_priority_is_the_greater_text() {
    // Same first wildcard, same end, same number of +, same length: only the text differs.
    let a =
        acl("path \"+/+/b\" { capabilities = [\"read\"] }\npath \"+/b/+\" { capabilities = [\"update\"] }");
    assert!(ask(&a, Operation::Update, "a/b/b"), "\"+/b/+\" sorts after \"+/+/b\"");
    assert!(!ask(&a, Operation::Read, "a/b/b"));
}

#[test]
fn wildcards_cover_what_they_say() {
    let covered = |rule: &str, path: &str| {
        ask(&acl(&format!("path {rule:?} {{ capabilities = [\"read\"] }}")), Operation::Read, path)
    };
    for (rule, path, want) in [
        ("a/*", "a/", true),
        ("a/*", "a", false),
        ("a/*", "a/b/c", true),
        ("a*", "ab/c", true),
        ("*", "", true),
        ("*", "anything/at/all", true),
        ("+", "a", true),
        ("+", "a/b", false),
        ("a/+/c", "a/b/c", true),
        ("a/+/c", "a/b/b/c", false),
        ("a/+/c", "a/b/c/", false),
        ("a/+/c*", "a/b/cd/e", true),
        ("a/+/*", "a/b", false),
        ("a/+/*", "a/b/c/d", true),
        ("a/*/b", "a/*/b", true),
        ("a/*/b", "a/x/b", false),
        ("a/**", "a/*x", true),
        ("a/**", "a/x", false),
        ("a/${x}", "a/${x}", true),
        ("/a/b", "a/b", true),
        ("ü/+", "ü/日本", true),
        ("ü*", "u", false),
    ] {
        assert_eq!(covered(rule, path), want, "{rule} on {path}");
    }
}

/// GHSA-xp3c-3jw3-4vcr and its neighbours.
#[test]
fn list_looks_at_the_folder_with_and_without_its_slash() {
    let list = |rules: &str, path: &str| ask(&acl(rules), Operation::List, path);
    let rule = |p: &str, c: &str| format!("path {p:?} {{ capabilities = [{c:?}] }}\n");
    assert!(list(&rule("a/b", "list"), "a/b/"), "exact without the slash");
    assert!(list(&rule("a/+", "list"), "a/b/"), "+ without the slash");
    assert!(!list(&(rule("a/b", "deny") + &rule("a/*", "list")), "a/b/"));
    assert!(!list(&(rule("a/b/*", "deny") + &rule("a/*", "list")), "a/b/"), "the advisory's case");
    assert!(!list(&(rule("a/+", "deny") + &rule("a/*", "list")), "a/b/"), "a stronger deny on the name");
    assert!(list(&(rule("a/+", "read") + &rule("a/*", "list")), "a/b/"), "only a deny reaches over");
    assert!(list(&(rule("a/b/*", "list") + &rule("a/+", "deny")), "a/b/"), "a weaker deny does not");
    assert!(list(&(rule("a/b/", "list") + &rule("a/b", "deny")), "a/b/"), "the folder is named itself");
    assert!(!ask(&acl(&rule("a/b", "read")), Operation::Read, "a/b/"), "only LIST does so");
}

/// An upstream that serves `/secret/` as it serves `/secret` must not be reached past a `deny`.
#[test]
fn a_deny_on_a_name_holds_for_a_gateway_call_to_its_folder() {
    let invoke = |rules: &str, path: &str| ask(&acl(rules), Operation::Invoke, path);
    let rule = |p: &str, c: &str| format!("path {p:?} {{ capabilities = [{c:?}] }}\n");
    let all = rule("g/proxy/s/*", "invoke");
    assert!(!invoke(&(rule("g/proxy/s/v1/+/secret", "deny") + &all), "g/proxy/s/v1/a/secret/"));
    assert!(!invoke(&(rule("g/proxy/s/v1/a/secret", "deny") + &all), "g/proxy/s/v1/a/secret/"));
    assert!(!invoke(&(rule("g/proxy/s/v1/sec*", "deny") + &all), "g/proxy/s/v1/secret/"));
    assert!(invoke(&(rule("g/proxy/s/v1/+/secret", "deny") + &all), "g/proxy/s/v1/a/public/"));
    let weaker = rule("g/proxy/s/*", "deny") + &rule("g/proxy/s/v1/x/*", "invoke");
    assert!(invoke(&weaker, "g/proxy/s/v1/x/"), "a weaker deny does not reach over");
    let named = rule("g/proxy/s/v1/x/", "invoke") + &rule("g/proxy/s/v1/x", "deny");
    assert!(invoke(&named, "g/proxy/s/v1/x/"), "the folder is named itself");
    assert!(!invoke(&rule("g/proxy/s/v1/x", "invoke"), "g/proxy/s/v1/x/"), "a grant does not reach over");
}

#[test]
fn a_deny_is_told_from_no_rule() {
    let a = acl("path \"a/*\" { capabilities = [\"read\"] }\npath \"a/b\" { capabilities = [\"deny\"] }");
    assert!(a.denies("a/b") && !a.denies("a/c") && !a.denies("x") && !Acl::root().denies("a/b"));
}

#[test]
fn a_folder_shows_to_those_who_may_do_something_in_it() {
    let rule = |p: &str, c: &str| format!("path {p:?} {{ capabilities = [{c:?}] }}\n");
    for (path, capability, folder, want) in [
        ("secret/data/a", "read", "secret/", true),
        ("secret/+/a", "read", "secret/", true),
        ("secret/*", "deny", "secret/", false),
        ("secret/data/a", "deny", "secret/", false),
        ("sec*", "list", "secret/", true),
        ("*", "read", "secret/", true),
        ("secrets/a", "read", "secret/", false),
        ("secret", "list", "secret/", true),
    ] {
        assert_eq!(acl(&rule(path, capability)).touches(folder), want, "{path} {capability} on {folder}");
    }
    assert!(Acl::root().touches("secret/") && !Acl::new(&[]).touches("secret/"));
}

#[test]
fn invoke_is_implied_by_nothing() {
    let everything = r#"
        path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list", "scan", "sudo"] }
        path "gateway/proxy/openai/*" { policy = "sudo" }
        path "gateway/proxy/write" { policy = "write" }
    "#;
    let a = acl(everything);
    for path in ["gateway/proxy/openai/v1/chat", "gateway/proxy/write", "x"] {
        for method in [None, Some("GET"), Some("POST")] {
            for acl in [&a, &Acl::root()] {
                let d = acl.check(&Query { operation: Operation::Invoke, path, sudo: false, method });
                assert!(!d.allowed && !d.root && d.granting.is_empty(), "{path}");
            }
        }
    }
}

#[test]
fn invoke_takes_methods_and_no_list_fallback() {
    let invoke = |a: &Acl, path: &str, method: Option<&str>| {
        a.check(&Query { operation: Operation::Invoke, path, sudo: false, method }).allowed
    };
    let a = acl(r#"
        path "g/all" { capabilities = ["invoke"] }
        path "g/empty" {
          capabilities = ["invoke"]
          methods = []
        }
        path "g/get" {
          capabilities = ["invoke"]
          methods = ["GET", "HEAD"]
        }
    "#);
    for open in ["g/all", "g/empty"] {
        for method in [None, Some("GET"), Some("DELETE"), Some("PROPFIND")] {
            assert!(invoke(&a, open, method), "{open} {method:?}");
        }
    }
    assert!(invoke(&a, "g/get", Some("GET")) && invoke(&a, "g/get", Some("HEAD")));
    for method in [None, Some("POST"), Some("get"), Some("PROPFIND")] {
        assert!(!invoke(&a, "g/get", method), "{method:?}");
    }
    assert!(!invoke(&a, "g/all/", Some("GET")), "no fallback");
    assert_eq!(a.capabilities("g/all"), ["invoke"]);
    assert_eq!(a.capabilities("g/all/"), ["deny"]);
    assert!(!ask(&a, Operation::Read, "g/all"), "and it gives nothing else");

    let two = [
        policy("get", "path \"g\" {\n capabilities = [\"invoke\"]\n methods = [\"GET\"]\n}"),
        policy("post", "path \"g\" {\n capabilities = [\"invoke\"]\n methods = [\"POST\"]\n}"),
    ];
    let d = Acl::new(&two).check(&Query {
        operation: Operation::Invoke,
        path: "g",
        sudo: false,
        method: Some("POST"),
    });
    assert_eq!((d.allowed, names(&d)), (true, vec!["post".to_owned()]));
}

#[test]
fn one_deny_among_the_policies_takes_all_away() {
    let open = policy("open", r#"path "a/*" { capabilities = ["read", "sudo", "invoke"] }"#);
    let deny = policy("deny", r#"path "a/*" { capabilities = ["deny", "read"] }"#);
    for order in [[open.clone(), deny.clone()], [deny, open]] {
        let a = Acl::new(&order);
        assert!(!ask(&a, Operation::Read, "a/b") && !ask(&a, Operation::Invoke, "a/b"));
        assert_eq!(a.capabilities("a/b"), ["deny"]);
    }
}

#[test]
fn sudo_is_needed_beside_the_operation() {
    let sudo = |text: &str| {
        let a = acl(text);
        a.check(&Query { operation: Operation::Update, path: "sys/x", sudo: true, method: None }).allowed
    };
    assert!(sudo(r#"path "sys/x" { capabilities = ["update", "sudo"] }"#));
    assert!(!sudo(r#"path "sys/x" { capabilities = ["update"] }"#));
    assert!(!sudo(r#"path "sys/x" { capabilities = ["sudo"] }"#));
    let d =
        Acl::root().check(&Query { operation: Operation::Update, path: "sys/x", sudo: true, method: None });
    assert!(d.allowed && d.root && names(&d) == ["root"]);
    assert_eq!(Acl::root().capabilities("sys/x"), ["root"]);
}

#[test]
fn the_old_words_stand_for_capabilities() {
    for (word, want) in [
        ("deny", &["deny"][..]),
        ("read", &["list", "read"]),
        ("write", &["create", "delete", "list", "read", "update"]),
        ("sudo", &["create", "delete", "list", "read", "sudo", "update"]),
    ] {
        assert_eq!(acl(&format!("path \"a\" {{ policy = {word:?} }}")).capabilities("a"), want);
    }
    assert_eq!(
        acl("path \"a\" {\n policy = \"deny\"\n capabilities = [\"read\"]\n}").capabilities("a"),
        ["deny"]
    );
}

#[test]
fn every_accepted_form_of_a_document() {
    let want = policy("p", "path \"a\" { capabilities = [\"read\"] }\npath \"b\" { policy = \"read\" }")
        .rules
        .clone();
    for text in [
        "name = \"x\"\nid = \"y\"\npath \"a\" {\n  capabilities = [\n    \"read\",\n  ]\n  comment = \"why\"\n}\n// c\npath b { policy = \"read\" } /* end */",
        "path \"a\" { capabilities = [\"read\"] comment = \"why\" } path \"b\" { policy = \"read\" }",
        "path \"a\"\n{\n  capabilities\n =\n [\"read\"]\n}\npath \"b\"\r\n{ policy = \"read\" }",
        "\"path\" \"a\" { \"capabilities\" = [, \"read\",, ] }, path \"b\" { \"policy\" = \"read\", },",
        "path \"a\" {\n capabilities = [\"read\"]\n comment = <<EOF\n } \" ${x}\nEOF\n}\npath \"b\" { policy = \"read\" comment = <<-E\n    x\n    E\n}",
        "path \"\\x61\" { capabilities = [\"re\\u0061d\"] } path \"\\142\" { policy = \"read\" }",
        "  \"path\" \"a\" { capabilities = [\"read\"] }\n\"path\" \"b\" { policy = \"read\" }",
        r#"{"name":"x","path":{"a":{"capabilities":["read"]},"b":{"policy":"read"}}}"#,
        r#" {"path":[{"a":{"capabilities":["read"]}},{"b":[{"policy":"read"}]}]} "#,
        r#"{"path":{"a":{"capabilities":["read"]}},"path":{"b":{"policy":"read"}}}"#,
    ] {
        assert_eq!(policy("p", text).rules, want, "{text}");
    }
    assert!(
        policy("p", "").is_empty() && policy("p", "{}").is_empty() && policy("p", "# nothing\n").is_empty()
    );
    assert_eq!(
        acl("path \"a\" { capabilities = [\"read\"] }\npath \"a\" { capabilities = [\"list\"] }")
            .capabilities("a"),
        ["list", "read"]
    );
    let twice = acl(r#"{"path":{"a":{"capabilities":["deny"]},"a":{"capabilities":["read"]}}}"#);
    assert_eq!(twice.capabilities("a"), ["deny"], "a repeated key loses nothing");
}

#[test]
fn a_refusal_says_where_and_why() {
    for (text, says) in [
        (
            "path \"a\" {\n  capabilities = [\"read\", \"raed\"]\n}",
            "line 2, column 27: path \"a\": invalid capability \"raed\"",
        ),
        ("path \"a\" { capabilities = [\"root\"] }", "invalid capability \"root\""),
        ("path \"a\" { capabilities = [\"READ\"] }", "invalid capability"),
        ("path \"a\" { policy = \"admin\" }", "invalid policy \"admin\""),
        (
            "path \"a\" {\n  capabilties = [\"read\"]\n}",
            "line 2, column 3: path \"a\": unknown attribute \"capabilties\"",
        ),
        ("pth \"a\" { }", "line 1, column 1: the policy: unknown attribute \"pth\""),
        (
            "path \"a\" {\n capabilities = [\"update\"]\n allowed_parameters = { \"x\" = [] }\n}",
            "line 3, column 2: path \"a\": \"allowed_parameters\" is not supported",
        ),
        ("path \"a\" {\n control_group {\n }\n}", "\"control_group\" is not supported"),
        ("path \"a\" { min_wrapping_ttl = \"1s\" }", "not supported"),
        (
            "path \"a/{{identity.entity.id}}/*\" { policy = \"read\" }",
            "line 1, column 6: path \"a/{{identity.entity.id}}/*\": templates",
        ),
        ("path \"a\" { policy = \"${x}\" }", "invalid policy \"${x}\""),
        // What the second HCL takes and the first does not.
        ("path = { \"a\" = { policy = \"read\" } }", "needs the path in quotes"),
        ("path = [{ \"a\" = { policy = \"read\" } }]", "needs the path in quotes"),
        ("path \"a\" = { policy = \"read\" }", "expected \"{\" or \"=\""),
        ("path \"a\" { capabilities = true ? [\"read\"] : [] }", "illegal character"),
        ("path \"a\" { capabilities = concat([\"read\"], []) }", "expected a value"),
        ("path \"a\" { capabilities = [\"read\" \"list\"] }", "expected \",\" or \"]\""),
        ("path \"a\" { capabilities: [\"read\"] }", "illegal character"),
        ("path \"a\" { capabilities = [for c in [\"read\"]: c] }", "expected a value"),
        ("path \"a\" { policy = read }", "expected a value, found a word"),
        ("path \"a\" { policy = \"read\" }}", "expected a key, found \"}\""),
        ("path \"a\\q\" { }", "illegal character escape"),
        ("path secret/a { }", "a path needs quotes"),
        ("path \"a\" \"b\" { policy = \"read\" }", "unknown attribute \"b\""),
        ("path \"a", "string not terminated"),
        ("path \"a\" { comment = <<EOF\nx\n}", "heredoc not terminated"),
        ("/* path", "comment not terminated"),
        ("path \"a\"", "expected \"{\" or \"=\", found the end"),
        ("path \"a/+*\" { policy = \"deny\" }", "one whole segment"),
        ("path \"+*\" { policy = \"deny\" }", "one whole segment"),
        ("path \"kv/+x*\" { policy = \"deny\" }", "one whole segment"),
        ("path \"a+\" { policy = \"deny\" }", "one whole segment"),
        ("path \"a/+b/c\" { policy = \"deny\" }", "one whole segment"),
        ("path \"a/++/c\" { policy = \"deny\" }", "one whole segment"),
        ("path \"a//b\" { policy = \"deny\" }", "no request can match"),
        ("path \"//a\" { policy = \"deny\" }", "no request can match"),
        ("path \"a/../b\" { policy = \"deny\" }", "no request can match"),
        ("path \"a\\nb\" { policy = \"deny\" }", "no request can match"),
        ("path { capabilities = [\"read\"] }", "needs the path in quotes"),
        ("path \"a\" { capabilities = \"read\" }", "must be a list of strings, not a string"),
        ("path \"a\" { capabilities = [1] }", "must be a list of strings, not a number"),
        (
            "path \"a\" {\n capabilities = [\"read\"]\n methods = [\"GET\"]\n}",
            "line 3, column 2: path \"a\": \"methods\" needs the capability",
        ),
        ("path \"a\" {\n capabilities = [\"invoke\"]\n methods = [\"get\"]\n}", "unknown method \"get\""),
        (
            "path \"a\" {\n capabilities = [\"read\"]\n",
            "line 3, column 1: HCL: expected a key, found the end",
        ),
        ("{\"path\": {\"a\": {\"capabilities\": [\"read\"}}}", "JSON: expected `,` or `]` at line 1"),
        ("{\"path\": {\"a\": {\"policy\": 5}}}", "must be a string"),
        ("{\"path\": {\"a\": {\"policy\": \"read\", \"policy\": \"deny\"}}}", "\"policy\" is given twice"),
        ("{\"path\": \"a\"}", "\"path\" must be an object, not a string"),
        ("{\"path\": {}, \"pth\": {}}", "unknown attribute \"pth\""),
    ] {
        let message = refusal(text);
        assert!(message.contains(says), "{text}\n  said: {message}\n  want: {says}");
    }
}

#[test]
fn size_and_nesting_are_bounded() {
    assert!(refusal(&" ".repeat(crate::limits::MAX_POLICY_BYTES + 1)).contains("longer than"));
    let many: String =
        (0..=crate::limits::MAX_POLICY_RULES).map(|i| format!("path \"{i}\" {{}}\n")).collect();
    assert!(refusal(&many).contains("more than"));
    let n = 50_000;
    for deep in [
        "{\"path\":".repeat(n / 2),
        format!("{{\"path\": {}", "[".repeat(n)),
        format!("path \"a\" {{ capabilities = {}", "[".repeat(n)),
        "a {\n".repeat(n),
        format!("path \"a\" {{ policy = {}", "(".repeat(n)),
        format!("path \"a\" {{ policy = {}1", "!".repeat(n)),
        format!("path \"a\" {{ policy = \"{}", "${\"".repeat(n / 4)),
    ] {
        let message = refusal(&deep);
        assert!(message.len() < 1_000, "{} bytes", message.len());
    }
    let long = refusal(&format!("path \"{}\" {{ policy = \"read\" }}", "x".repeat(100_000)));
    assert!(long.len() < 1_000, "{} bytes", long.len());
}

#[test]
fn names_are_normalised_but_never_into_root() {
    for (raw, want) in [
        ("Dev", "dev"),
        (" dev\n", "dev"),
        ("team/App-1.x", "team/app-1.x"),
        ("root", "root"),
        ("Roots", "roots"),
    ] {
        assert_eq!(normalise_name(raw).ok().as_deref(), Some(want), "{raw:?}");
    }
    for raw in [
        "",
        "  ",
        "Root",
        "ROOT",
        " root",
        "root\n",
        " Root ",
        "ro\u{200b}ot",
        "rооt",
        "a\tb",
        "ü",
        "\u{212a}",
        "a*",
        "\"",
        &"x".repeat(129),
    ] {
        assert!(normalise_name(raw).is_err(), "{raw:?}");
    }
    assert!(Policy::parse("root", "").is_err());
    assert_eq!(policy(" Dev ", "").name, "dev");
}

#[test]
fn the_default_policy_is_small() {
    let a = acl(DEFAULT_POLICY);
    assert!(ask(&a, Operation::Read, "auth/token/lookup-self"));
    assert!(ask(&a, Operation::Update, "auth/token/renew-self"));
    assert!(ask(&a, Operation::List, "cubbyhole/") && ask(&a, Operation::Create, "cubbyhole/x/y"));
    for (operation, path) in [
        (Operation::Read, "secret/data/x"),
        (Operation::Update, "auth/token/create"),
        (Operation::Read, "sys/policies/acl/default"),
        (Operation::Invoke, "cubbyhole/x"),
        (Operation::List, "sys/mounts/"),
    ] {
        assert!(!ask(&a, operation, path), "{operation} {path}");
    }
}
