//! `login` and `token`.

use crate::testing::{Server, World};
use std::fs;

const LOOKUP: &str = r#"{"data":{"accessor":"acc","id":"hvs.t","policies":["default","dev"],"ttl":3600,"renewable":true,"type":"service","meta":null,"display_name":"token","num_uses":0}}"#;
const AUTH: &str = r#"{"data":null,"auth":{"client_token":"hvs.new","accessor":"acc","policies":["default"],"token_policies":["default"],"metadata":{"role":"app"},"lease_duration":3600,"renewable":true,"token_type":"service"}}"#;

fn server() -> Server {
    Server::table(&[
        ("GET auth/token/lookup-self", 200, LOOKUP),
        ("PUT auth/token/lookup", 200, LOOKUP),
        ("PUT auth/token/lookup-accessor", 200, LOOKUP),
        ("PUT auth/token/create", 200, AUTH),
        ("PUT auth/token/create-orphan", 200, AUTH),
        ("PUT auth/token/renew", 200, AUTH),
        ("PUT auth/token/renew-self", 200, AUTH),
        ("PUT auth/token/renew-accessor", 200, AUTH),
        ("PUT auth/token/revoke", 204, ""),
        ("PUT auth/token/revoke-self", 204, ""),
        ("PUT auth/token/revoke-orphan", 204, ""),
        ("PUT auth/token/revoke-accessor", 204, ""),
        ("PUT auth/jwt/login", 200, AUTH),
        ("PUT auth/ci/login", 200, AUTH),
        (
            "PUT sys/capabilities-self",
            200,
            r#"{"data":{"capabilities":["update","read"],"a/b":["update","read"]}}"#,
        ),
        ("PUT sys/capabilities", 200, r#"{"data":{"capabilities":["deny"],"a/b":["deny"]}}"#),
    ])
}

fn kept(world: &World) -> Option<String> {
    fs::read_to_string(world.home().join(".vault-token")).ok()
}

#[test]
fn login_with_a_token_proves_and_keeps_it() {
    let server = server();
    let mut world = World::new().var("VAULT_ADDR", &server.address).types("hvs.typed").input("hvs.piped\n");
    let (code, out, _) = world.run(&["login"]);
    assert!(code == 0 && out.contains("Success!") && out.contains("token_duration       1h"), "{out}");
    assert_eq!(kept(&world).as_deref(), Some("hvs.typed"));
    assert_eq!(server.seen()[0].token.as_deref(), Some("hvs.typed"));
    let (_, out, _) = world.run(&["login", "-no-print", "-"]);
    assert_eq!(kept(&world).as_deref(), Some("hvs.piped"));
    assert!(!out.contains("hvs."), "{out}");
    world.run(&["login", "-no-store", "token=hvs.argv"]);
    assert_eq!(kept(&world).as_deref(), Some("hvs.piped"));
    assert_eq!(world.run(&["login", "-token-only", "hvs.argv"]).1, "hvs.argv");
    let mut world = world.var("VAULT_TOKEN", "hvs.old");
    let (_, _, err) = world.run(&["login", "-"]);
    assert!(err.contains("VAULT_TOKEN is set"), "{err}");
}

#[test]
fn a_refused_login_keeps_nothing() {
    let server = Server::table(&[("GET auth/token/lookup-self", 403, r#"{"errors":["permission denied"]}"#)]);
    let mut world = World::new().var("VAULT_ADDR", &server.address).types("hvs.bad");
    let (code, _, err) = world.run(&["login"]);
    assert_eq!(code, 2);
    assert!(kept(&world).is_none() && !err.contains("hvs.bad"));
    assert!(err.contains("does not know this token"), "{err}");
}

#[test]
fn login_with_a_jwt() {
    let server = server();
    let mut world = World::new().var("VAULT_ADDR", &server.address).types("a.b.c");
    let file = world.home().join("jwt");
    fs::write(&file, "x.y.z\n").unwrap();
    let jwt = format!("jwt=@{}", file.display());
    let (code, out, _) = world.run(&["login", "-method=jwt", "role=app", &jwt]);
    assert!(code == 0 && out.contains("token_meta_role      app"), "{out}");
    assert_eq!(server.last(), ("PUT auth/jwt/login".into(), r#"{"jwt":"x.y.z","role":"app"}"#.into()));
    assert_eq!((server.seen()[0].token.clone(), kept(&world).as_deref()), (None, Some("hvs.new")));
    world.run(&["login", "-method=jwt", "-path=ci/", "role=app"]);
    assert_eq!(server.last(), ("PUT auth/ci/login".into(), r#"{"jwt":"a.b.c","role":"app"}"#.into()));
    assert_eq!(world.run(&["login", "-method=ldap", "username=x"]).0, 1);
}

#[test]
fn create_lookup_renew_revoke() {
    let server = server();
    let mut world = server.world();
    let (_, out, _) = world.run(&[
        "token",
        "create",
        "-policy=a",
        "-policy=b",
        "-ttl=1h",
        "-use-limit=3",
        "-metadata",
        "k=v",
        "-renewable=false",
        "-display-name=ci",
    ]);
    assert!(
        out.contains("token                hvs.new") && out.contains(r#"token_policies       ["default"]"#),
        "{out}"
    );
    assert_eq!(
        server.last(),
        ("PUT auth/token/create".into(), r#"{"policies":["a","b"],"meta":{"k":"v"},"no_parent":false,"no_default_policy":false,"renewable":false,"ttl":"1h","display_name":"ci","num_uses":3}"#.into())
    );
    assert_eq!(world.run(&["token", "create", "-orphan", "-field=token"]).1, "hvs.new");
    assert_eq!(server.last().0, "PUT auth/token/create-orphan");
    let (_, out, _) = world.run(&["token", "lookup"]);
    assert!(out.contains("ttl             1h") && out.contains("meta            <nil>"), "{out}");
    world.run(&["token", "lookup", "hvs.x"]);
    assert_eq!(server.last(), ("PUT auth/token/lookup".into(), r#"{"token":"hvs.x"}"#.into()));
    world.run(&["token", "lookup", "-accessor", "acc"]);
    assert_eq!(server.last(), ("PUT auth/token/lookup-accessor".into(), r#"{"accessor":"acc"}"#.into()));
    world.run(&["token", "renew", "-increment=2h"]);
    assert_eq!(server.last(), ("PUT auth/token/renew-self".into(), r#"{"increment":"2h"}"#.into()));
    world.run(&["token", "renew", "hvs.x"]);
    assert_eq!(server.last(), ("PUT auth/token/renew".into(), r#"{"token":"hvs.x"}"#.into()));
    world.run(&["token", "renew", "-accessor", "acc"]);
    assert_eq!(server.last().0, "PUT auth/token/renew-accessor");
    for (line, call) in [
        (&["token", "revoke", "hvs.x"][..], "PUT auth/token/revoke"),
        (&["token", "revoke", "-mode=orphan", "hvs.x"], "PUT auth/token/revoke-orphan"),
        (&["token", "revoke", "-accessor", "acc"], "PUT auth/token/revoke-accessor"),
        (&["token", "revoke", "-self"], "PUT auth/token/revoke-self"),
    ] {
        assert_eq!(world.run(line).0, 0, "{line:?}");
        assert_eq!(server.last().0, call);
    }
    for wrong in [
        &["token", "revoke"][..],
        &["token", "revoke", "-self", "x"],
        &["token", "revoke", "-accessor", "-mode=orphan", "x"],
        &["token", "lookup", "-accessor"],
    ] {
        assert_eq!(world.run(wrong).0, 1, "{wrong:?}");
    }
}

#[test]
fn revoking_the_kept_token_removes_its_file() {
    let server = server();
    let mut world = World::new().var("VAULT_ADDR", &server.address).types("hvs.t");
    world.run(&["login"]);
    world.run(&["token", "revoke", "-self"]);
    assert_eq!(server.seen().pop().unwrap().token.as_deref(), Some("hvs.t"));
    assert!(kept(&world).is_none());
}

#[test]
fn capabilities_of_this_and_of_another_token() {
    let server = server();
    let mut world = server.world();
    assert_eq!(world.run(&["token", "capabilities", "a/b"]).1, "read, update\n");
    assert_eq!(world.run(&["token", "capabilities", "hvs.x", "a/b"]).1, "deny\n");
    assert_eq!(server.last().1, r#"{"paths":["a/b"],"token":"hvs.x"}"#);
    assert_eq!(
        world.run(&["token", "capabilities", "a/b", "-format=json"]).1,
        "[\n  \"read\",\n  \"update\"\n]\n"
    );
}
