//! The house keeps itself in order: each rule that a compiler does not check is checked here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Longest source file, in lines.
const MAX_LINES: usize = 800;
/// Most crates in the daemon's own tree, ours and others'.
const MAX_DAEMON_CRATES: usize = 300;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).current_dir(root()).output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Files under version control, or about to be.
fn tracked(suffix: &str) -> Vec<String> {
    run("git", &["ls-files", "--cached", "--others", "--exclude-standard"])
        .lines()
        .filter(|f| f.ends_with(suffix) && root().join(f).is_file())
        .map(str::to_string)
        .collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// ARCHITECTURE.md's picture: who may depend on whom. Test-only dependencies are free.
const PICTURE: &[(&str, &[&str])] = &[
    ("secmem", &[]),
    ("vault-metrics", &[]),
    ("storage", &["secmem", "vault-metrics"]),
    ("vault-api", &[]),
    ("vault-client", &["vault-api"]),
    ("vault-cli", &["vault-client", "vault-api"]),
    ("vault-logical", &["vault-api", "secmem"]),
    ("vault-engines", &["vault-logical", "vault-api", "secmem"]),
    ("vault-gateway", &["vault-logical", "vault-api", "secmem"]),
    ("vault-core", &["storage", "secmem", "vault-logical", "vault-api", "vault-metrics"]),
    (
        "vaultd",
        &[
            "vault-core",
            "vault-logical",
            "vault-engines",
            "vault-gateway",
            "vault-client",
            "vault-api",
            "storage",
            "secmem",
            "vault-metrics",
        ],
    ),
    ("examples", &["vault-client", "vault-api"]),
    ("tests", &[]),
];

#[test]
fn dependencies_follow_the_picture() {
    let meta: serde_json::Value =
        serde_json::from_str(&run("cargo", &["metadata", "--format-version=1", "--no-deps", "--locked"]))
            .unwrap();
    let picture: BTreeMap<&str, BTreeSet<&str>> =
        PICTURE.iter().map(|(n, d)| (*n, d.iter().copied().collect())).collect();
    let mut seen = BTreeSet::new();
    for package in meta["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let allowed = picture.get(name).unwrap_or_else(|| panic!("{name} is not in the picture"));
        seen.insert(name);
        for dep in package["dependencies"].as_array().unwrap() {
            let dep_name = dep["name"].as_str().unwrap();
            let ours = picture.contains_key(dep_name);
            if ours && dep["kind"].is_null() {
                assert!(allowed.contains(dep_name), "{name} must not depend on {dep_name}");
            }
        }
    }
    assert_eq!(seen.len(), picture.len(), "the picture names crates that do not exist");
}

#[test]
fn the_daemon_stays_small() {
    let tree = run("cargo", &["tree", "-p", "vaultd", "-e", "normal", "--prefix", "none", "--locked"]);
    let crates: BTreeSet<&str> = tree.lines().map(|l| l.trim_end_matches(" (*)")).collect();
    assert!(crates.len() <= MAX_DAEMON_CRATES, "{} crates in the daemon's tree", crates.len());
    for banned in ["ring v", "rsa v", "openssl-sys v", "native-tls v", "reqwest v"] {
        assert!(!crates.iter().any(|c| c.starts_with(banned)), "{banned} in the daemon's tree");
    }
}

#[test]
fn files_are_readable_in_one_sitting() {
    for f in tracked(".rs") {
        let lines = read(&f).lines().count();
        assert!(lines <= MAX_LINES, "{f} has {lines} lines");
    }
    for f in tracked("") {
        let name = Path::new(&f).file_stem().unwrap().to_string_lossy().to_string();
        for vague in ["utils", "util", "helpers", "helper", "common", "manager", "misc"] {
            assert_ne!(name, vague, "{f}: the name says nothing");
        }
    }
}

#[test]
fn unsafe_stands_in_one_crate_only() {
    for f in tracked(".rs") {
        if f.starts_with("storage/secmem/") || f == "tests/it/tidy.rs" {
            continue;
        }
        for (n, line) in read(&f).lines().enumerate() {
            let code = line.split("//").next().unwrap();
            assert!(
                !code.contains("unsafe {") && !code.contains("unsafe fn") && !code.contains("unsafe impl"),
                "{f}:{}: unsafe outside storage/secmem",
                n + 1
            );
        }
    }
}

/// Cryptography is used where it is reviewed.
#[test]
fn crypto_is_imported_only_where_allowed() {
    let allowed: &[(&str, &[&str])] = &[
        ("aes_gcm", &["storage/"]),
        ("aes::", &["storage/src/"]),
        ("chacha20poly1305", &["storage/src/"]),
        ("aes_siv", &["storage/src/"]),
        ("ed25519_dalek", &["vaultd/vault-core/src/audit/", "vaultd/vault-engines/src/auth/jwt/"]),
        ("hmac::", &["storage/src/", "vaultd/vault-core/src/audit/", "vaultd/vault-core/src/token/"]),
        ("jsonwebtoken", &["vaultd/vault-engines/src/auth/jwt/", "tests/"]),
        ("totp_rs", &["vaultd/vault-engines/src/secrets/totp"]),
        (
            "aws_lc_rs",
            &[
                "vaultd/vault-core/src/pgp/",
                "vaultd/vault-engines/src/auth/jwt/",
                "vaultd/src/",
                "vaultd/vault-gateway/",
                "vault-client/",
                "tests/",
                "vault-cli/",
            ],
        ),
    ];
    for f in tracked(".rs") {
        let text = read(&f);
        for (name, places) in allowed {
            let used = text.lines().any(|l| l.trim_start().starts_with("use ") && l.contains(name));
            if used && f != "tests/it/tidy.rs" {
                assert!(places.iter().any(|p| f.starts_with(p)), "{f} imports {name}");
            }
        }
    }
}

/// Sources without their tests.
fn sources(places: &[&str]) -> Vec<(String, String)> {
    let test = |f: &str| {
        f.contains("/tests") || f.contains("/seams/") || f.ends_with("tests.rs") || f.ends_with("testing.rs")
    };
    let oracles = ["conformance.rs", "model.rs", "reference.rs"];
    tracked(".rs")
        .into_iter()
        .filter(|f| places.iter().any(|p| f.starts_with(p)))
        .filter(|f| !test(f) && !oracles.iter().any(|o| f.ends_with(o)))
        .map(|f| {
            let text = read(&f);
            let code = text.split("#[cfg(test)]").next().unwrap().to_string();
            (f, code)
        })
        .collect()
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word)
}

/// `serde_json` gives some member names a meaning of its own when it reads values of any shape, so
/// none are read with it: `vault_api::json` does that.
#[test]
fn json_of_any_shape_is_read_by_our_own_reader() {
    let shapeless = |text: &str| ["Value", "Map", "Data", "RawData"].iter().any(|w| has_word(text, w));
    for (f, code) in sources(&["vaultd/", "vault-client/", "vault-cli/", "storage/src/"]) {
        if f.ends_with("vault-api/src/json.rs") {
            continue;
        }
        let mut previous = "";
        let mut derived = false;
        for (n, line) in code.lines().enumerate() {
            let at = format!("{f}:{}: {}", n + 1, line.trim());
            let reads = ["serde_json::from_", "::deserialize("].iter().any(|r| line.contains(r));
            assert!(!reads || !shapeless(line), "{at}");
            derived |= line.trim_start().starts_with("#[derive(") && line.contains("Deserialize");
            derived &= !line.starts_with('}') && line.trim() != "}";
            let field = derived && line.contains(": ") && !line.trim_start().starts_with(['/', '#']);
            assert!(!field || !shapeless(line) || previous.contains("json::member"), "{at}");
            previous = line;
        }
    }
}

/// A name out of a path is never folded: `PathName` refuses other spellings. Who folds anything
/// stands here, with what it folds.
#[test]
fn nobody_folds_a_name_out_of_a_path() {
    const FOLDS: &[(&str, &str)] = &[
        ("vault-core/src/policy/name.rs", "the normal form itself, given to PathName"),
        ("vault-core/src/token/roles.rs", "patterns of policy names in a body"),
        ("vault-core/src/ceremony.rs", "member names of a body"),
        ("vault-core/src/audit/checkpoint.rs", "hex digits"),
        ("vault-core/src/audit/json.rs", "hex digits"),
        ("vault-engines/src/auth/jwt/role.rs", "the normal form itself, and policies in a body"),
        ("vault-engines/src/auth/jwt/config.rs", "default_role in a body"),
        ("vault-core/src/sys/gateway_test.rs", "a method in a body"),
        ("vault-core/src/sys/policies.rs", "spellings of root, to refuse them"),
        ("vault-core/src/audit/config.rs", "words in an option"),
        ("vault-logical/src/header.rs", "header names"),
        ("vault-logical/src/provider_key.rs", "the scheme in a template"),
        ("vault-engines/src/auth/jwt/kind.rs", "words in a JWT"),
        ("vault-engines/src/auth/jwt/token.rs", "a JWT's typ"),
        ("vault-engines/src/secrets/totp/keys.rs", "base32 digits"),
        ("vault-engines/src/secrets/gateway/rules.rs", "header names, methods and roles in a body"),
        ("vault-engines/src/secrets/gateway/upstream.rs", "a host's name"),
    ];
    let folds = [
        "to_lowercase(",
        "to_uppercase(",
        "to_ascii_lowercase(",
        "to_ascii_uppercase(",
        "eq_ignore_ascii_case(",
    ];
    let places = ["vaultd/vault-core/src/", "vaultd/vault-engines/src/", "vaultd/vault-logical/src/"];
    for (f, code) in sources(&places) {
        let known = FOLDS.iter().any(|(place, _)| f.ends_with(place));
        let found = code.lines().position(|l| folds.iter().any(|w| l.contains(w)));
        assert!(known || found.is_none(), "{f}:{}: folds something", found.unwrap_or(0) + 1);
    }
}

#[test]
fn every_tracked_source_is_formatted() {
    let files = tracked(".rs");
    let mut args = vec!["--check", "--edition", "2024"];
    args.extend(files.iter().map(String::as_str));
    run("rustfmt", &args);
}

/// A row of FEATURES.md: `| feature | proof |`; a proof is `file::test_name` or a script.
#[test]
fn every_feature_names_the_test_that_proves_it() {
    let mut rows = 0;
    for line in
        read("tests/FEATURES.md").lines().filter(|l| l.starts_with("| ") && !l.starts_with("| Feature"))
    {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [feature, proofs] = cells.as_slice() else { panic!("not two cells: {line}") };
        assert!(!proofs.is_empty(), "{feature}: no test");
        for proof in proofs.split(", ") {
            let proof = proof.trim_matches('`');
            match proof.split_once("::") {
                Some((file, test)) => {
                    let text = read(file);
                    assert!(
                        text.contains(&format!("fn {test}(")) || text.contains(&format!("def {test}(")),
                        "{feature}: no test {test} in {file}"
                    );
                }
                None => assert!(root().join(proof).is_file(), "{feature}: no file {proof}"),
            }
        }
        rows += 1;
    }
    assert!(rows >= 40, "only {rows} features are listed");
}

#[test]
fn the_papers_are_there_and_tell_only_of_the_project() {
    for f in [
        "README.md",
        "ARCHITECTURE.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "deny.toml",
        "clippy.toml",
        "rustfmt.toml",
        "tests/FEATURES.md",
    ] {
        assert!(root().join(f).is_file(), "{f} is missing");
    }
    // Put together here so that this file does not contain them.
    let banned = [["/wo", "rk/"], ["../sha", "red"], ["sub", "agent"], ["TO", "DO"], ["FIX", "ME"]]
        .map(|p| p.concat());
    for f in tracked("") {
        let Ok(text) = std::fs::read_to_string(root().join(&f)) else { continue };
        for word in &banned {
            assert!(!text.contains(word.as_str()), "{f} contains {word:?}");
        }
    }
}
