use super::*;

fn parse(text: &str) -> Result<Config, Vec<String>> {
    Config::parse(Path::new("t.hcl"), text).map_err(|ps| ps.iter().map(ToString::to_string).collect())
}

const BASE: &str = r#"
storage "sled" { path = "/var/lib/vaultd/data" }
listener "tcp" {
  address = "127.0.0.1:8200"
  tls_cert_file = "cert.pem"
  tls_key_file = "key.pem"
}
"#;

fn with(more: &str) -> String {
    format!("{BASE}{more}")
}

#[test]
fn what_hvac_writes_is_read() {
    let c = parse(
        r#"{"backend":{"inmem":{}},"listener":{"tcp":{"tls_cert_file":"tests/config_files/server-cert.pem",
            "tls_key_file":"tests/config_files/server-key.pem","address":"127.0.0.1:43210"}},
            "disable_mlock":true,"default_lease_ttl":"768h","max_lease_ttl":"768h"}"#,
    )
    .expect("config");
    assert_eq!(c.storage, StorageConfig { backend: StorageBackend::Memory, path: None });
    assert_eq!(c.max_lease_ttl, Duration::from_secs(768 * 3600));
    let tls = c.listeners.first().and_then(|l| l.tls.as_ref()).expect("tls");
    assert_eq!(tls.cert, Path::new("tests/config_files/server-cert.pem"));
    assert_eq!(c.warnings.len(), 1, "disable_mlock: {:?}", c.warnings);
    assert!(c.dangers.is_empty());
}

#[test]
fn hcl_and_json_say_the_same() {
    let hcl = parse(
        r#"
        cluster_name = "c1"
        storage "redb" { path = "/d" }
        listener "tcp" {
            address = "[::1]:1"
            tls_disable = "true"
        }
        listener "unix" {
            address = "/run/s"
            socket_mode = "660"
        }
        audit "file" "main" {
            options {
                file_path = "/var/log/a"
                mode = "0600"
            }
        }
        "#,
    )
    .expect("hcl");
    let json = parse(
        r#"{"cluster_name":"c1","storage":{"redb":{"path":"/d"}},
            "listener":[{"tcp":{"address":"[::1]:1","tls_disable":true}},{"unix":{"address":"/run/s","socket_mode":"660"}}],
            "audit":{"file":{"main":{"options":{"file_path":"/var/log/a","mode":"0600"}}}}}"#,
    )
    .expect("json");
    assert_eq!(hcl.storage, json.storage);
    assert_eq!(hcl.listeners, json.listeners);
    assert_eq!(hcl.listeners.len(), 2);
    assert_eq!(hcl.audit, json.audit);
    assert_eq!(hcl.state_dir.as_deref(), Some(Path::new("/d.state")));
    assert_eq!(hcl.dangers, ["listener.tcp.tls_disable"]);
    assert_eq!(json.dangers, hcl.dangers);
}

#[test]
fn unknown_keys_are_errors_with_name_and_line() {
    let problems = parse(&with("defualt_lease_ttl = \"1h\"\n")).expect_err("typo");
    assert_eq!(
        problems,
        ["t.hcl:8: \"defualt_lease_ttl\" is not a known key; did you mean \"default_lease_ttl\"?"]
    );
    for (text, want) in [
        (with("listner \"tcp\" {}\n"), "t.hcl:8: unknown block \"listner\"; did you mean \"listener\"?"),
        (
            BASE.replace("tls_key_file", "tls_key_fiel"),
            "t.hcl:6: \"listener.tcp.tls_key_fiel\" is not a known key; did you mean \"tls_key_file\"?",
        ),
        (
            BASE.replace("path", "paht"),
            "t.hcl:2: \"storage.sled.paht\" is not a known key; did you mean \"path\"?",
        ),
        (with("seal \"awskms\" {}\n"), "t.hcl:8: seal \"awskms\" is not built: there is shamir"),
        (with("ha_storage \"raft\" {}\n"), "t.hcl:8: block \"ha_storage\": more than one node is not built"),
        (
            BASE.replace("\"sled\"", "\"consul\""),
            "t.hcl:2: storage \"consul\" is not built: there are sled, redb and memory",
        ),
        (
            with("memory_lock = \"off\"\n"),
            "t.hcl:8: \"memory_lock\" must be one of auto, keys, all, danger_off",
        ),
        (
            with("log_level = \"loud\"\n"),
            "t.hcl:8: \"log_level\" must be one of trace, debug, info, warn, error, notice, warning, err",
        ),
        (
            with("default_lease_ttl = \"soon\"\n"),
            "t.hcl:8: \"default_lease_ttl\" must be a duration in seconds or like \"1h\"",
        ),
        (
            with("egress_allow = [\"10.0.0.0/33\"]\n"),
            "t.hcl:8: \"egress_allow\" must hold networks like 10.0.0.0/8",
        ),
        (
            with("audit \"file\" \"a\" { path = \"relative\" }\n"),
            "t.hcl:8: \"audit.file.a.path\" must be the absolute path of the file, \"stdout\" or \"discard\"",
        ),
        (
            with(
                "audit \"file\" \"a\" { path = \"/x/data.state/anchor.tmp\" }\nstate_dir = \"/x/data.state\"\n",
            ),
            "t.hcl:8: \"audit.file.a.path\" lies where the vault keeps files of its own",
        ),
        (
            with("audit_head_file = \"heads.json\"\n"),
            "t.hcl:8: \"audit_head_file\" must be the absolute path of a file",
        ),
        (with("audit \"syslog\" \"a\" {}\n"), "t.hcl: audit \"syslog\" is not built: there is file"),
        (with("cluster_name = \"${var.x}\"\n"), "t.hcl: \"cluster_name\" must be a plain value"),
        (
            with("listener \"unix\" { socket_mode = \"0666\" }\n"),
            "must be octal and grant nothing to others, like 0600 or 0660",
        ),
        (
            with("listener \"tcp\" { address = \"nowhere\" }\n"),
            "must be an address and port like 127.0.0.1:8200",
        ),
        (
            with("default_lease_ttl = \"9h\"\nmax_lease_ttl = \"8h\"\n"),
            "t.hcl:8: \"default_lease_ttl\" is longer than max_lease_ttl (without a value of its own it is 768h)",
        ),
        (
            BASE.replace("tls_cert_file", "#"),
            "t.hcl:3: \"listener.tcp.tls_cert_file\" and tls_key_file are needed, or tls_disable",
        ),
        ("{\"storage\":{\"memory\":{}},\n\"storage\":{}}".to_owned(), "t.hcl:2: duplicate key"),
        (BASE.replace("address", "tls_key_file"), "found redefined attribute"),
        ("ui = true\n".to_owned(), "t.hcl: there is no storage block"),
    ] {
        let problems = parse(&text).expect_err(&text);
        assert!(problems.iter().any(|p| p.ends_with(want)), "{want}\n{problems:?}");
    }
}

#[test]
fn a_config_spread_over_files_sets_each_key_once() {
    let dir = tempfile::tempdir().expect("dir");
    let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("write");
    file("10-base.hcl", BASE);
    file("20-more.json", "{\"cluster_name\":\"x\"}");
    file("notes.txt", "not a config");
    let c = Config::load(&[dir.path().to_owned()]).expect("both");
    assert_eq!(c.cluster_name, "x");
    file("30-again.hcl", "cluster_name = \"y\"\n");
    let problems = Config::load(&[dir.path().to_owned()]).expect_err("twice");
    assert_eq!(problems.len(), 1);
    assert!(problems.iter().all(|p| p.message.contains("is set in another file too")));
    assert!(Config::load(&[dir.path().join("absent")]).is_err());
}

#[test]
fn timeouts_can_only_be_shortened() {
    let c = parse(&BASE.replace("\n}", "\n http_idle_timeout = \"5m\"\n http_read_timeout = 3\n}"))
        .expect("config");
    let t = c.listeners.first().expect("listener").timeouts;
    assert_eq!((t.idle, t.body), (Duration::from_secs(10), Duration::from_secs(3)));
    assert!(c.warnings.iter().any(|w| w.message.contains("is capped at 10s")));
}

#[test]
fn dangers_are_collected() {
    let text =
        with("memory_lock = \"danger_off\"\nallow_remote_init = true\ngateway {\n tls_disable = 1\n}\n");
    let c = parse(&text).expect("config");
    let mut dangers = c.dangers;
    dangers.sort();
    assert_eq!(dangers, ["allow_remote_init", "gateway.tls_disable", "memory_lock = danger_off"]);
}

#[test]
fn the_default_file_is_a_valid_config_with_the_defaults() {
    let c = Config::parse(Path::new("default.hcl"), &default_file()).expect("default file");
    assert!(c.warnings.is_empty() && c.dangers.is_empty());
    // Every default it shows is the value in force.
    let is_default = |l: &&str| {
        l.split_once(" = ").is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
    };
    let shown: String = default_file()
        .lines()
        .map(|line| line.trim_start().strip_prefix("# ").filter(is_default).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(shown.contains("\nmemory_lock = \"auto\"\n"), "defaults are spelled out");
    let spelled =
        Config::parse(Path::new("spelled.hcl"), &shown).unwrap_or_else(|e| panic!("{e:?}\n{shown}"));
    assert_eq!(
        format!("{:?}", (c.storage, c.listeners, c.max_lease_ttl, c.memory_lock)),
        format!("{:?}", (spelled.storage, spelled.listeners, spelled.max_lease_ttl, spelled.memory_lock))
    );
}

#[test]
fn no_text_makes_the_reader_panic() {
    use proptest::prelude::*;
    proptest!(|(text in "[a-z_\"{}=\\[\\]\n0-9 ]{0,60}", json in any::<bool>())| {
        let text = if json { format!("{{{text}") } else { text };
        let _ = Config::parse(Path::new("x"), &text);
    });
}

#[test]
fn a_listener_without_tls_knows_its_names() {
    let names =
        "api_addr = \"http://Vault.example:8200/\"\nallowed_hosts = [\"vault\", \"*.corp.example\"]\n";
    let c = parse(&with(names)).expect("config");
    assert_eq!(c.hosts, ["vault", "*.corp.example", "Vault.example"].map(str::to_owned));
    for bad in [
        "api_addr = \"vault.example\"\n",
        "allowed_hosts = [\"http://vault\"]\n",
        "allowed_hosts = [\"\"]\n",
        "allowed_hosts = [\"a/b\"]\n",
    ] {
        assert!(parse(&with(bad)).is_err(), "{bad}");
    }
}

#[test]
fn what_a_hup_cannot_change_is_named() {
    let old = parse(BASE).expect("config");
    let same = parse(&with("# a comment\n")).expect("config");
    assert!(old.needs_restart(&same).is_empty());
    let second = "listener \"tcp\" {\n address = \"127.0.0.1:1\"\n tls_disable = true\n}\n";
    let new =
        with(&format!("log_level = \"debug\"\nmax_lease_ttl = \"1h\"\ndefault_lease_ttl = 1\n{second}"))
            .replace("8200", "8300")
            .replace("key.pem", "other.pem");
    let names = old.needs_restart(&parse(&new).expect("config"));
    assert_eq!(
        names,
        [
            "default_lease_ttl",
            "listener.tcp#2.address",
            "listener.tcp#2.tls_disable",
            "listener.tcp.address",
            "listener.tcp.tls_key_file",
            "max_lease_ttl",
        ],
        "the log level is not among them: it changes at once"
    );
}
