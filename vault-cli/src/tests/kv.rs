//! `kv` on mounts with and without versions.

use crate::testing::Server;

const V2: &str = r#"{"data":{"path":"secret/","type":"kv","options":{"version":"2"}}}"#;
const V1: &str = r#"{"data":{"path":"kv/","type":"kv","options":{"version":"1"}}}"#;
const META: &str = r#""metadata":{"version":2,"created_time":"2026-01-01T00:00:00Z","deletion_time":"","destroyed":false,"custom_metadata":null}"#;
const WRITTEN: &str = r#"{"data":{"version":3,"created_time":"2026-01-02T00:00:00Z","deletion_time":"","destroyed":false,"custom_metadata":null}}"#;

/// Answers for the mounts `secret/` (versions), `kv/` (none) and `team/app/` (versions).
fn server() -> Server {
    Server::start(|call| {
        let ok = |body: &str| Some((200, body.to_owned()));
        let secret = || {
            Some((200, format!(r#"{{"request_id":"r","data":{{"data":{{"pass":"s3cret","n":7}},{META}}}}}"#)))
        };
        match call {
            "GET sys/internal/ui/mounts/kv"
            | "GET sys/internal/ui/mounts/kv/x"
            | "GET sys/internal/ui/mounts/kv/dir" => ok(V1),
            c if c.starts_with("GET sys/internal/ui/mounts/team/app") => {
                ok(&V2.replace("secret/", "team/app/"))
            }
            c if c.starts_with("GET sys/internal/ui/mounts/secret") => ok(V2),
            // What a server answers that has no such path.
            "GET sys/internal/ui/mounts/blind/x" => {
                Some((404, r#"{"errors":["no handler for route"]}"#.into()))
            }
            c if c.starts_with("GET sys/internal") => {
                Some((403, r#"{"errors":["preflight capability check returned 403"]}"#.into()))
            }
            "GET secret/data/a/b" | "GET secret/data/a/b?version=1" | "GET team/app/data/x" => secret(),
            "GET secret/data/gone" => Some((404, format!(r#"{{"data":{{"data":null,{META}}}}}"#))),
            "PUT secret/data/a/b" | "PATCH secret/data/a/b" | "PUT secret/data/old" => ok(WRITTEN),
            "PUT secret/data/cas" => Some((
                400,
                r#"{"errors":["check-and-set parameter did not match the current version"]}"#.into(),
            )),
            "PATCH secret/data/old" => Some((405, r#"{"errors":["unsupported operation"]}"#.into())),
            "GET secret/data/old" => secret(),
            "GET secret/metadata/a/b" => ok(
                r#"{"data":{"current_version":2,"max_versions":0,"delete_version_after":"0s","custom_metadata":{"owner":"x"},"versions":{"10":{"created_time":"t10"},"2":{"created_time":"t2","deletion_time":"d2"}}}}"#,
            ),
            "GET secret/metadata/?list=true"
            | "GET secret/metadata/dir/?list=true"
            | "GET kv/?list=true"
            | "GET kv/dir/?list=true" => ok(r#"{"data":{"keys":["a/","x"]}}"#),
            "GET kv/x" | "GET blind/x" => ok(r#"{"lease_duration":2764800,"data":{"k":"v"}}"#),
            c if c.starts_with("GET ") => None,
            _ => Some((204, String::new())),
        }
    })
}

#[test]
fn get_prints_path_metadata_and_data() {
    let server = server();
    let mut world = server.world();
    let (code, out, _) = world.run(&["kv", "get", "secret/a/b"]);
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "== Secret Path ==\nsecret/data/a/b\n\n=============== Metadata ===============\n\
         Key                Value\n---                -----\ncreated_time       2026-01-01T00:00:00Z\n\
         custom_metadata    <nil>\ndeletion_time      n/a\ndestroyed          false\nversion            2\n\n\
         ==== Data ====\nKey     Value\n---     -----\nn       7\npass    s3cret\n"
    );
    for line in [
        &["kv", "get", "-mount=secret", "a/b", "-field=pass"][..],
        &["kv", "get", "-field=pass", "-version=1", "secret/a/b"],
    ] {
        assert_eq!(world.run(line).1, "s3cret", "{line:?}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&world.run(&["kv", "get", "-format=json", "secret/a/b"]).1).unwrap();
    assert_eq!(
        (&json["data"]["data"]["pass"], &json["data"]["metadata"]["version"]),
        (&"s3cret".into(), &2.into())
    );
    assert_eq!(world.run(&["kv", "get", "secret/a/b", "-field=other"]).0, 1);
    assert_eq!(
        world.run(&["kv", "get", "team/app/x", "-field=pass"]).1,
        "s3cret",
        "a mount may have a longer path"
    );
}

#[test]
fn what_is_absent_or_deleted_is_an_error() {
    let server = server();
    let mut world = server.world();
    let (code, _, err) = world.run(&["kv", "get", "secret/none"]);
    assert!(code == 2 && err.contains("No value found at secret/data/none"), "{err}");
    let (code, out, err) = world.run(&["kv", "get", "secret/gone"]);
    assert!(code == 2 && out.contains("Metadata") && err.contains("deleted or destroyed"), "{out}{err}");
    assert_eq!(world.run(&["kv", "get", "secret/gone", "-field=pass"]).0, 2);
    assert_eq!(world.run(&["kv", "get", "secret"]).0, 1, "only a mount");
}

#[test]
fn put_with_and_without_condition() {
    let server = server();
    let mut world = server.world().input("from input");
    let (code, out, _) = world.run(&["kv", "put", "-mount=secret", "a/b", "k=v", "p=-"]);
    assert!(code == 0 && out.contains("version            3"), "{out}");
    assert_eq!(
        server.last(),
        ("PUT secret/data/a/b".into(), r#"{"data":{"k":"v","p":"from input"}}"#.into())
    );
    world.run(&["kv", "put", "-cas=0", "secret/a/b", "k=v"]);
    assert_eq!(server.last().1, r#"{"options":{"cas":0},"data":{"k":"v"}}"#);
    assert_eq!(world.run(&["kv", "put", "-field=version", "secret/a/b", "k=v"]).1, "3");
    let (code, _, err) = world.run(&["kv", "put", "-cas=9", "secret/cas", "k=v"]);
    assert!(code == 2 && err.contains("did not match") && err.contains("-cas"), "{err}");
    assert_eq!(world.run(&["kv", "put", "secret/a/b"]).0, 1);
}

#[test]
fn patch_falls_back_only_where_the_server_cannot() {
    let server = server();
    let mut world = server.world();
    world.run(&["kv", "patch", "-mount=secret", "a/b", "k=v", "-remove-data=old"]);
    assert_eq!(server.last(), ("PATCH secret/data/a/b".into(), r#"{"data":{"k":"v","old":null}}"#.into()));
    let (code, _, _) = world.run(&["kv", "patch", "secret/old", "n=8"]);
    assert_eq!(code, 0);
    assert_eq!(
        server.last(),
        ("PUT secret/data/old".into(), r#"{"options":{"cas":2},"data":{"n":"8","pass":"s3cret"}}"#.into())
    );
    world.run(&["kv", "patch", "-method=rw", "secret/a/b", "n=8"]);
    assert_eq!(server.last().0, "PUT secret/data/a/b");
    assert_eq!(world.run(&["kv", "patch", "-method=rw", "secret/none", "n=8"]).0, 2);
}

#[test]
fn versions_are_deleted_brought_back_and_destroyed() {
    let server = server();
    let mut world = server.world();
    for (line, call, body) in [
        (&["kv", "delete", "secret/a/b"][..], "DELETE secret/data/a/b", ""),
        (&["kv", "delete", "-versions=1,2", "secret/a/b"], "PUT secret/delete/a/b", r#"{"versions":[1,2]}"#),
        (
            &["kv", "undelete", "-versions=1", "-mount=secret", "a/b"],
            "PUT secret/undelete/a/b",
            r#"{"versions":[1]}"#,
        ),
        (&["kv", "destroy", "-versions", "2", "secret/a/b"], "PUT secret/destroy/a/b", r#"{"versions":[2]}"#),
        (
            &["kv", "rollback", "-version=1", "secret/a/b"],
            "PUT secret/data/a/b",
            r#"{"options":{"cas":2},"data":{"n":7,"pass":"s3cret"}}"#,
        ),
        (
            &[
                "kv",
                "metadata",
                "put",
                "-max-versions=5",
                "-cas-required",
                "-custom-metadata=a=b",
                "secret/a/b",
            ],
            "PUT secret/metadata/a/b",
            r#"{"max_versions":5,"cas_required":true,"custom_metadata":{"a":"b"}}"#,
        ),
        (
            &[
                "kv",
                "metadata",
                "patch",
                "-delete-version-after=1h",
                "-remove-custom-metadata=a",
                "secret/a/b",
            ],
            "PATCH secret/metadata/a/b",
            r#"{"delete_version_after":"1h","custom_metadata":{"a":null}}"#,
        ),
        (&["kv", "metadata", "delete", "secret/a/b"], "DELETE secret/metadata/a/b", ""),
    ] {
        let (code, _, err) = world.run(line);
        assert_eq!(code, 0, "{line:?}: {err}");
        assert_eq!(server.last(), (call.to_owned(), body.to_owned()), "{line:?}");
    }
    for wrong in [
        &["kv", "destroy", "secret/a/b"][..],
        &["kv", "destroy", "-versions=x", "secret/a/b"],
        &["kv", "undelete", "-versions=1", "kv/x"],
    ] {
        assert_eq!(world.run(wrong).0, 1, "{wrong:?}");
    }
}

#[test]
fn metadata_lists_versions_in_order() {
    let server = server();
    let (_, out, _) = server.world().run(&["kv", "metadata", "get", "secret/a/b"]);
    let (two, ten) = (out.find("Version 2").unwrap(), out.find("Version 10").unwrap());
    assert!(
        two < ten && out.contains(r#"custom_metadata         {"owner":"x"}"#) && out.contains("d2"),
        "{out}"
    );
}

#[test]
fn lists_and_mounts_without_versions() {
    let server = server();
    let mut world = server.world();
    for line in [
        &["kv", "list", "secret"][..],
        &["kv", "list", "secret/"],
        &["kv", "list", "-mount=secret"],
        &["kv", "list", "secret/dir/"],
        &["kv", "list", "-mount=secret", "dir"],
        &["kv", "list", "kv/"],
        &["kv", "list", "kv/dir"],
    ] {
        assert_eq!(world.run(line).1, "Keys\n----\na/\nx\n", "{line:?}");
    }
    assert_eq!(world.run(&["kv", "list", "secret/none"]).0, 2);
    assert_eq!(world.run(&["kv", "list"]).0, 1);
    assert_eq!(world.run(&["kv", "get", "kv/x"]).1, "=== Data ===\nKey    Value\n---    -----\nk      v\n");
    assert!(world.run(&["kv", "put", "kv/x", "k=w"]).1.contains("Success!"));
    assert_eq!(server.last(), ("PUT kv/x".into(), r#"{"k":"w"}"#.into()));
    world.run(&["kv", "delete", "kv/x"]);
    assert_eq!(server.last().0, "DELETE kv/x");
    for wrong in [
        &["kv", "put", "-cas=1", "kv/x", "k=w"][..],
        &["kv", "get", "-version=1", "kv/x"],
        &["kv", "patch", "kv/x", "k=w"],
    ] {
        assert_eq!(world.run(wrong).0, 1, "{wrong:?}");
    }
    assert_eq!(
        world.run(&["kv", "get", "-field=k", "blind/x"]).1,
        "v",
        "a mount that the server says nothing about"
    );
    for line in [&["kv", "get", "closed/x"][..], &["kv", "put", "-mount=closed", "x", "k=v"]] {
        let (code, out, err) = world.run(line);
        assert!(code == 2 && out.is_empty() && err.contains("closed/x: nothing is mounted there"), "{err}");
        assert!(server.last().0.starts_with("GET sys/internal"), "nothing is guessed");
    }
}
