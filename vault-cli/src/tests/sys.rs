//! `policy`, `secrets`, `auth`, `audit`.

use crate::testing::Server;

const MOUNTS: &str = r#"{"data":{"secret/":{"type":"kv","accessor":"kv_1","description":"for apps","uuid":"u","options":{"version":"2"},"config":{"default_lease_ttl":0,"max_lease_ttl":3600}},"sys/":{"type":"system","accessor":"sys_1","config":{}}}}"#;

#[test]
fn policies() {
    let server = Server::table(&[
        ("GET sys/policies/acl?list=true", 200, r#"{"data":{"keys":["default","root"]}}"#),
        ("GET sys/policies/acl/dev", 200, r#"{"data":{"name":"dev","policy":"path \"a\" {}\n"}}"#),
        ("PUT sys/policies/acl/dev", 204, ""),
        ("DELETE sys/policies/acl/dev", 204, ""),
    ]);
    let mut world = server.world().input("path \"b\" {}");
    assert_eq!(world.run(&["policy", "list"]).1, "default\nroot\n");
    assert_eq!(world.run(&["policy", "read", "dev"]).1, "path \"a\" {}\n");
    assert_eq!(world.run(&["policy", "read", "none"]).0, 2);
    assert_eq!(world.run(&["policy", "write", "dev", "-"]).1, "Success! Uploaded policy: dev\n");
    assert_eq!(server.last().1, r#"{"policy":"path \"b\" {}"}"#);
    let file = world.home().join("p.hcl");
    std::fs::write(&file, "path \"c\" {}").unwrap();
    world.run(&["policy", "write", "dev", file.to_str().unwrap()]);
    assert_eq!(server.last().1, r#"{"policy":"path \"c\" {}"}"#);
    assert_eq!(world.run(&["policy", "write", "dev", "/nonexistent"]).0, 1);
    assert_eq!(world.run(&["policy", "delete", "dev"]).1, "Success! Deleted policy: dev\n");
}

#[test]
fn secrets_engines() {
    let server = Server::table(&[
        ("GET sys/mounts", 200, MOUNTS),
        ("PUT sys/mounts/kv", 204, ""),
        ("PUT sys/mounts/kv-v2", 204, ""),
        ("PUT sys/mounts/team/app", 204, ""),
        ("PUT sys/mounts/secret/tune", 204, ""),
        ("DELETE sys/mounts/secret", 204, ""),
    ]);
    let mut world = server.world();
    assert_eq!(
        world.run(&["secrets", "list"]).1,
        "Path       Type      Accessor    Description\n----       ----      --------    -----------\n\
         secret/    kv        kv_1        for apps\nsys/       system    sys_1       n/a\n"
    );
    let (_, out, _) = world.run(&["secrets", "list", "-detailed"]);
    assert!(out.contains("version=2") && out.contains("system") && out.contains("1h"), "{out}");
    assert!(world.run(&["secrets", "list", "-format=json"]).1.contains("\"kv_1\""));
    let body = |s: &Server| serde_json::from_str::<serde_json::Value>(&s.last().1).unwrap();
    assert_eq!(world.run(&["secrets", "enable", "kv"]).1, "Success! Enabled the kv secrets engine at: kv/\n");
    assert_eq!(body(&server)["options"], serde_json::Value::Null);
    world.run(&["secrets", "enable", "kv-v2"]);
    assert_eq!(
        (server.last().0.as_str(), &body(&server)["type"], &body(&server)["options"]["version"]),
        ("PUT sys/mounts/kv-v2", &"kv".into(), &"2".into())
    );
    world.run(&[
        "secrets",
        "enable",
        "-path=team/app/",
        "-version=2",
        "-description=x",
        "-max-lease-ttl=1h",
        "kv",
    ]);
    assert_eq!(
        (server.last().0.as_str(), &body(&server)["config"]["max_lease_ttl"]),
        ("PUT sys/mounts/team/app", &"1h".into())
    );
    world.run(&["secrets", "tune", "-default-lease-ttl=5m", "secret/"]);
    assert_eq!(server.last(), ("PUT sys/mounts/secret/tune".into(), r#"{"default_lease_ttl":"5m"}"#.into()));
    assert!(world.run(&["secrets", "disable", "secret/"]).1.contains("at: secret/\n"));
}

#[test]
fn login_methods_and_audit_devices() {
    let server = Server::table(&[
        (
            "GET sys/auth",
            200,
            r#"{"data":{"token/":{"type":"token","accessor":"t1","description":"d","config":{}}}}"#,
        ),
        ("PUT sys/auth/ci", 204, ""),
        ("DELETE sys/auth/ci", 204, ""),
        (
            "GET sys/audit",
            200,
            r#"{"data":{"file/":{"type":"file","path":"file/","description":"","options":{"file_path":"/x"}}}}"#,
        ),
        ("PUT sys/audit/file", 204, ""),
        (
            "GET sys/audit-head",
            200,
            r#"{"data":{"public_key":"00","time":"t","heads":[{"device":"file/","seq":7,"chain":"aa"}]}}"#,
        ),
        ("DELETE sys/audit/file", 204, ""),
    ]);
    let mut world = server.world();
    assert!(world.run(&["auth", "list"]).1.contains("token/    token    t1"));
    assert_eq!(
        world.run(&["auth", "enable", "-path=ci", "jwt"]).1,
        "Success! Enabled jwt auth method at: ci/\n"
    );
    assert!(server.last().1.contains(r#""type":"jwt""#));
    assert_eq!(world.run(&["auth", "disable", "ci"]).0, 0);
    assert!(world.run(&["audit", "list", "-detailed"]).1.contains("file_path=/x"));
    assert_eq!(
        world.run(&["audit", "enable", "file", "file_path=/var/log/a.log"]).1,
        "Success! Enabled the file audit device at: file/\n"
    );
    assert!(server.last().1.contains(r#""options":{"file_path":"/var/log/a.log"}"#));
    assert_eq!(world.run(&["audit", "disable", "file"]).0, 0);
    assert!(world.run(&["audit", "head"]).1.contains("\"seq\": 7"));
    let none = Server::table(&[("GET sys/audit", 200, r#"{"data":{}}"#)]);
    assert!(none.world().run(&["audit", "list"]).2.contains("No audit devices"));
}
