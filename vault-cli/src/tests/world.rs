//! Exit codes, formats, help, and where settings come from.

use crate::testing::{Server, World};

const STATUS: &str = r#"{"type":"shamir","initialized":true,"sealed":true,"t":3,"n":5,"progress":1,"nonce":"abc","version":"0.1.0","storage_type":"sled"}"#;

#[test]
fn usage_errors_are_1_and_help_is_0() {
    for (line, code) in [
        (&["--help"][..], 0),
        (&["kv", "put", "-help"], 0),
        (&["-version"], 0),
        (&["nonsense"], 1),
        (&["kv", "get"], 1),
        (&["operator", "init", "-key-shares=0"], 1),
        (&["operator", "init", "-key-shares=1", "-key-threshold=2"], 1),
        (&["status", "-format=xml"], 1),
        (&[], 1),
    ] {
        let (got, out, err) = World::new().run(line);
        assert_eq!(got, code, "{line:?}\n{out}{err}");
        assert!((code == 0) == err.is_empty(), "{line:?}: {err}");
    }
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let (code, _, err) = World::new().run(&["status", "-address=http://127.0.0.1:1"]);
    assert_eq!(code, 1, "status keeps 2 for sealed");
    assert!(err.contains("VAULT_ADDR"), "{err}");
    let mut world = World::new().var("VAULT_ADDR", "http://127.0.0.1:1").var("VAULT_MAX_RETRIES", "0");
    assert_eq!(world.run(&["read", "x"]).0, 2);
    let (code, _, err) = world.run(&["read", "x", "-address=http://vault.example"]);
    assert_eq!(code, 2);
    assert!(err.contains("in clear"), "{err}");
}

#[test]
fn every_format_prints_the_same_answer() {
    let server = Server::table(&[("GET sys/seal-status", 200, STATUS)]);
    let mut world = server.world();
    let (code, out, _) = world.run(&["status"]);
    assert_eq!(code, 2, "sealed");
    assert_eq!(
        out,
        "Key                Value\n---                -----\nSeal Type          shamir\nInitialized        true\n\
         Sealed             true\nTotal Shares       5\nThreshold          3\nUnseal Progress    1/3\n\
         Unseal Nonce       abc\nVersion            0.1.0\nStorage Type       sled\n"
    );
    let (_, out, _) = world.run(&["status", "-format=json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((json["sealed"].as_bool(), json["t"].as_u64()), (Some(true), Some(3)));
    let (_, out, _) = world.run(&["-format", "yaml", "status"]);
    assert!(out.contains("\nsealed: true\n") && out.contains("\ntype: shamir\n"), "{out}");
    let (_, out, _) = world.run(&["status", "-field=progress"]);
    assert_eq!(out, "1");
    let mut world = server.world().var("VAULT_FORMAT", "json");
    assert!(world.run(&["status"]).1.starts_with('{'));
    assert!(world.run(&["status", "-format=table"]).1.starts_with("Key"));
    assert_eq!(server.world().var("VAULT_FORMAT", "toml").run(&["status"]).0, 1);
}

#[test]
fn tokens_come_from_the_variable_then_from_the_file() {
    let server = Server::table(&[("GET x", 200, r#"{"data":{"a":"b"}}"#)]);
    let mut world = World::new().var("VAULT_ADDR", &server.address);
    world.run(&["read", "x"]);
    crate::token_file::write(world.home(), &"hvs.file".into()).unwrap();
    world.run(&["read", "x"]);
    let mut world = world.var("VAULT_TOKEN", "hvs.env");
    world.run(&["read", "x"]);
    let tokens: Vec<_> = server.seen().into_iter().map(|s| s.token).collect();
    assert_eq!(tokens, [None, Some("hvs.file".into()), Some("hvs.env".into())]);
}

#[test]
fn errors_say_what_to_do_next() {
    let server = Server::table(&[
        ("GET sealed", 503, r#"{"errors":["Vault is sealed"]}"#),
        ("GET denied", 403, r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#),
        ("PUT kv", 405, r#"{"errors":["unsupported operation"]}"#),
    ]);
    let mut world = server.world();
    for (line, says) in [
        (&["read", "sealed"][..], "operator unseal"),
        (&["read", "denied"], "token capabilities denied\n"),
        (&["write", "kv", "a=b"], "does not offer"),
        (&["read", "absent"], "No value found at absent"),
        (&["read", "a/../b"], "relative"),
        (&["write", "kv"], "-force"),
        (&["write", "kv", "hunter2"], "key=@file"),
    ] {
        let (code, out, err) = world.run(line);
        assert!(code > 0 && out.is_empty(), "{line:?}");
        assert!(err.contains(says), "{line:?}: {err}");
        assert!(!err.contains("hunter2") && !err.contains("hvs."), "{err}");
    }
}

#[test]
fn a_refusal_without_a_token_has_a_simple_cause() {
    let server = Server::table(&[("GET denied", 403, r#"{"errors":["permission denied"]}"#)]);
    let (code, _, err) = World::new().var("VAULT_ADDR", &server.address).run(&["read", "denied"]);
    assert!(code == 2 && err.contains("vault-cli login"), "{err}");
}

#[test]
fn read_write_list_delete() {
    let server = Server::table(&[
        (
            "GET a?x=y%20z",
            200,
            r#"{"request_id":"r","data":{"n":12345678901234567890123,"ttl":3600},"warnings":["careful"]}"#,
        ),
        ("PUT a", 204, ""),
        ("PUT b", 200, r#"{"data":{"k":"v"}}"#),
        ("GET f?list=true", 200, r#"{"data":{"keys":["one","two/"]}}"#),
        ("DELETE a", 204, ""),
        ("GET sys/leader", 200, r#"{"is_self":true}"#),
        (
            "PUT w",
            200,
            r#"{"data":null,"wrap_info":{"token":"hvs.wrap","ttl":60,"creation_time":"t","creation_path":"w"}}"#,
        ),
    ]);
    let mut world = server.world();
    let (code, out, err) = world.run(&["read", "a", "x=y z"]);
    assert_eq!(
        (code, out.as_str()),
        (0, "Key    Value\n---    -----\nn      12345678901234567890123\nttl    1h\n")
    );
    assert_eq!(err, "WARNING! careful\n");
    assert_eq!(world.run(&["read", "a", "x=y z", "-field=n"]).1, "12345678901234567890123");
    assert_eq!(world.run(&["read", "a", "x=y z", "-field=m"]).0, 1);
    assert_eq!(world.run(&["write", "a", "k=v"]).1, "Success! Data written to: a\n");
    assert_eq!(server.last(), ("PUT a".into(), r#"{"k":"v"}"#.into()));
    assert_eq!(world.run(&["write", "-f", "b"]).1, "Key    Value\n---    -----\nk      v\n");
    assert_eq!(world.run(&["write", "-format=json", "a", "k=v"]).1, "", "programs get no sentences");
    assert_eq!(world.run(&["list", "f"]).1, "Keys\n----\none\ntwo/\n");
    assert_eq!(world.run(&["list", "f", "-format=json"]).1, "[\n  \"one\",\n  \"two/\"\n]\n");
    assert_eq!(world.run(&["list", "g"]).0, 2);
    assert!(world.run(&["delete", "a"]).1.contains("Success!"));
    assert!(world.run(&["read", "sys/leader"]).1.contains("is_self    true"), "an answer without envelope");
    assert!(
        world
            .run(&["write", "-wrap-ttl=1m", "-f", "w"])
            .1
            .contains("wrapping_token                  hvs.wrap")
    );
}

#[test]
fn completions_and_man_pages() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = World::new().run(&["completion", shell]);
        assert!(code == 0 && out.contains("vault-cli") && out.contains("unseal"), "{shell}");
    }
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(World::new().run(&["man", dir.path().to_str().unwrap()]).0, 0);
    assert!(dir.path().join("vault-cli-operator-unseal.1").exists());
    assert!(!World::new().run(&["--help"]).1.contains("man pages"), "for packages only");
}

#[test]
fn commands_that_vaults_users_type_exist_or_say_what_to_use() {
    let server = Server::table(&[
        ("PATCH secret/data/a", 200, r#"{"data":{"version":2}}"#),
        ("GET sys/mounts?help=1", 200, r#"{"help":"Lists the mounts.\n","see_also":""}"#),
        ("PUT sys/auth/jwt/tune", 204, ""),
        ("PUT sys/remount", 501, r#"{"errors":["sys/remount: not supported by this server"]}"#),
        ("PUT auth/token/create/deploy", 200, r#"{"auth":{"client_token":"hvs.new","policies":["a"]}}"#),
    ]);
    let mut world = server.world().input("path \"x\" {\ncapabilities=[\"read\"]\n}\n");
    assert!(world.run(&["version"]).1.starts_with("vault-cli "));
    assert_eq!(world.run(&["print", "token"]).1, "hvs.env\n");
    assert!(world.run(&["patch", "secret/data/a", "k=v"]).1.contains("version"));
    assert_eq!(server.last(), ("PATCH secret/data/a".into(), r#"{"k":"v"}"#.into()));
    assert_eq!(world.run(&["path-help", "sys/mounts"]).1, "Lists the mounts.\n");
    assert_eq!(world.run(&["auth", "tune", "-default-lease-ttl=1h", "jwt"]).0, 0);
    assert_eq!(server.last(), ("PUT sys/auth/jwt/tune".into(), r#"{"default_lease_ttl":"1h"}"#.into()));
    let (code, _, err) = world.run(&["secrets", "move", "a", "b/"]);
    assert!(code == 2 && err.contains("does not offer"), "{err}");
    assert_eq!(server.last(), ("PUT sys/remount".into(), r#"{"from":"a/","to":"b/"}"#.into()));
    assert!(world.run(&["token", "create", "-role=deploy"]).1.contains("hvs.new"));
    assert_eq!(world.run(&["policy", "fmt", "-"]).1, "path \"x\" {\n  capabilities = [\"read\"]\n}\n");
    for (line, says) in [
        (&["agent"][..], "vault-client"),
        (&["operator", "raft", "list-peers"], "snapshot"),
        (&["server", "-dev"], "vaultd server"),
        (&["secrets", "enabel", "kv"], "enable"),
        (&["tokne"], "token"),
    ] {
        let (code, _, err) = world.run(line);
        assert!(code == 1 && err.contains(says), "{line:?}: {err}");
    }
}

#[test]
fn a_call_can_be_shown_instead_of_sent() {
    let server = Server::table(&[(
        "GET sys/internal/ui/mounts/secret/app",
        200,
        r#"{"data":{"path":"secret/","options":{"version":"2"}}}"#,
    )]);
    let mut world = server.world().var("VAULT_CACERT", "/ca.pem");
    let (code, out, err) = world.run(&["kv", "put", "-output-curl-string", "secret/app", "k=it's"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("curl -X PUT --cacert '/ca.pem' -H 'x-vault-request: true'"), "{out}");
    assert!(
        out.contains(r#"-H "X-Vault-Token: $(vault-cli print token)""#) && !out.contains("hvs."),
        "{out}"
    );
    assert!(out.contains(r#" -d '{"data":{"k":"it'\''s"}}' "#), "{out}");
    assert!(out.trim_end().ends_with("/v1/secret/data/app'"), "{out}");
    let policy = |w: &mut World, line: &[&str]| w.run(line).1;
    assert_eq!(
        policy(&mut world, &["kv", "put", "-output-policy", "secret/app", "k=v"]),
        "path \"secret/data/app\" {\n  capabilities = [\"create\", \"update\"]\n}\n"
    );
    assert_eq!(
        policy(&mut world, &["list", "-output-policy", "secret/metadata"]),
        "path \"secret/metadata/\" {\n  capabilities = [\"list\"]\n}\n"
    );
    assert!(policy(&mut world, &["operator", "seal", "-output-policy"]).contains("\"update\", \"sudo\""));
    assert!(
        server.seen().iter().all(|s| s.call.starts_with("GET sys/internal")),
        "nothing was sent but the look at the mount: {:?}",
        server.seen()
    );
}

#[test]
fn an_address_that_cannot_work_says_what_to_write() {
    for (address, says) in [
        ("127.0.0.1:8200", "https://127.0.0.1:8200"),
        ("vault.example:8200", "https://vault.example:8200"),
        ("vault.example", "https://vault.example"),
        ("ftp://x", "https://"),
        ("unix:///nonexistent/socket", "/nonexistent/socket"),
    ] {
        let mut world = World::new().var("VAULT_ADDR", address).var("VAULT_MAX_RETRIES", "0");
        let (code, _, err) = world.run(&["read", "x"]);
        assert!(code == 2 && err.contains(says), "{address}: {err}");
    }
    // TLS asked of a server that speaks none.
    let server = Server::table(&[]);
    let address = server.address.replace("http://", "https://");
    let mut world = World::new().var("VAULT_ADDR", &address).var("VAULT_MAX_RETRIES", "0");
    let (code, _, err) = world.run(&["read", "x"]);
    assert!(code == 2 && err.contains("does not speak TLS"), "{err}");
}
