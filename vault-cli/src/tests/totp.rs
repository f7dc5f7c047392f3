//! `totp`: keys, codes, and secrets that never stand on the command line.

use crate::testing::Server;

const KEY: &str = "MFRGGZDFMZTWQ2LKNNWG23TPOA";
const URL: &str = "otpauth://totp/Ex:a?secret=MFRGGZDF";

fn server() -> Server {
    Server::table(&[
        ("PUT totp/keys/made", 200, r#"{"data":{"url":"otpauth://totp/x?secret=S","barcode":"iVBO"}}"#),
        ("PUT totp/keys/in", 204, ""),
        ("PUT mfa/app/keys/in", 204, ""),
        ("GET totp/keys?list=true", 200, r#"{"data":{"keys":["in","made"]}}"#),
        (
            "GET totp/keys/in",
            200,
            r#"{"data":{"account_name":"a","algorithm":"SHA1","digits":6,"issuer":"Ex","period":30}}"#,
        ),
        ("DELETE totp/keys/in", 204, ""),
        ("GET totp/code/in", 200, r#"{"data":{"code":"012345"}}"#),
        ("PUT totp/code/in", 200, r#"{"data":{"valid":true}}"#),
        ("PUT totp/code/wrong", 200, r#"{"data":{"valid":false}}"#),
        ("PUT totp/code/used", 400, r#"{"errors":["code already used; wait until the next time period"]}"#),
        ("GET totp/code/none", 400, r#"{"errors":["unknown key: none"]}"#),
        ("GET totp/code/a/b", 404, r#"{"errors":["unsupported path"]}"#),
        ("GET mfa/app/code/in", 404, r#"{"errors":["no handler for route \"mfa/app/code/in\""]}"#),
    ])
}

#[test]
fn a_generated_key_is_shown_once() {
    let server = server();
    let mut world = server.world();
    let line = ["totp", "create", "made", "-generate", "-issuer=Ex", "-account=a"];
    let (code, out, err) = world.run(&line);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("url        otpauth://totp/x?secret=S\n"), "{out}");
    let sent = r#"{"generate":true,"qr_size":0,"issuer":"Ex","account_name":"a"}"#;
    assert_eq!(server.last(), ("PUT totp/keys/made".into(), sent.into()));
    let more = [
        "-qr-size=200",
        "-period=1m",
        "-digits=8",
        "-algorithm=sha256",
        "-skew=0",
        "-key-size=32",
        "-exported=false",
        "-field=barcode",
    ];
    assert_eq!(world.run(&[&line[..], &more].concat()).1, "iVBO");
    let sent: serde_json::Value = serde_json::from_str(&server.last().1).unwrap();
    assert_eq!(
        sent,
        serde_json::json!({ "generate": true, "exported": false, "key_size": 32, "qr_size": 200, "issuer": "Ex",
            "account_name": "a", "period": "1m", "algorithm": "SHA256", "digits": 8, "skew": 0 })
    );
    let (_, out, _) = world.run(&[&line[..], &["-format=json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["url"], "otpauth://totp/x?secret=S");
}

#[test]
fn an_imported_key_is_asked_for_or_read() {
    let server = server();
    let body = |key: &str| format!(r#"{{"generate":false,{key},"issuer":"Ex","account_name":"a"}}"#);
    let line = ["totp", "create", "in", "-issuer=Ex", "-account=a"];
    let mut world = server.world().types(KEY).input(&format!("{URL}\n"));
    assert_eq!(world.run(&line).1, "Success! Created key: in\n");
    assert_eq!(world.prompts(), ["Key, in base32 or as otpauth:// URL (will be hidden): "]);
    assert_eq!(server.last(), ("PUT totp/keys/in".into(), body(&format!(r#""key":"{KEY}""#))));
    assert_eq!(world.run(&[&line[..], &["-"]].concat()).0, 0);
    assert_eq!(server.last().1, body(&format!(r#""url":"{URL}""#)));
    let file = world.home().join("key");
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    let at = format!("@{}", file.display());
    assert_eq!(world.run(&["totp", "create", "-mount=/mfa/app/", "in", &at]).0, 0);
    assert_eq!(
        server.last(),
        ("PUT mfa/app/keys/in".into(), format!(r#"{{"generate":false,"key":"{KEY}"}}"#))
    );
    let (code, _, err) = world.run(&line);
    assert!(code == 1 && err.contains("standard input"), "no terminal: {err}");
    let (code, _, err) = world.run(&["totp", "create", "in", KEY]);
    assert!(code == 0 && err.contains("history") && !err.contains(KEY), "{err}");
    assert_eq!(world.run(&["totp", "create", "in", KEY, "-format=json"]).1, "", "programs get no sentences");
}

#[test]
fn codes_are_read_and_verified() {
    let server = server();
    let mut world = server.world().input("123 456\n").types("123456").types("000000").types("111111");
    assert_eq!(world.run(&["totp", "code", "in", "-field=code"]).1, "012345");
    assert_eq!(world.run(&["totp", "code", "in"]).1, "Key     Value\n---     -----\ncode    012345\n");
    assert_eq!(
        world.run(&["totp", "code", "in", "-format=yaml"]).1,
        "code: \"012345\"\n",
        "a text, no number"
    );
    let (code, out, _) = world.run(&["totp", "verify", "in", "-"]);
    assert_eq!((code, out.as_str()), (0, "Key      Value\n---      -----\nvalid    true\n"));
    assert_eq!(server.last(), ("PUT totp/code/in".into(), r#"{"code":"123 456"}"#.into()));
    assert_eq!(world.run(&["totp", "verify", "in", "-field=valid"]).1, "true");
    assert_eq!(world.prompts(), ["Code (will be hidden): "]);
    let (code, out, _) = world.run(&["totp", "verify", "wrong", "-format=json"]);
    assert_eq!((code, out.as_str()), (2, "{\n  \"valid\": false\n}\n"), "a script sees it by the exit code");
    let (code, out, err) = world.run(&["totp", "verify", "used"]);
    assert!(code == 2 && out.is_empty() && err.contains("already used") && !err.contains("111111"), "{err}");
}

#[test]
fn keys_are_listed_read_and_deleted() {
    let server = server();
    let mut world = server.world();
    assert_eq!(world.run(&["totp", "list"]).1, "Keys\n----\nin\nmade\n");
    assert_eq!(
        world.run(&["totp", "read", "in"]).1,
        "Key             Value\n---             -----\naccount_name    a\nalgorithm       SHA1\n\
         digits          6\nissuer          Ex\nperiod          30s\n"
    );
    assert_eq!(world.run(&["totp", "delete", "in"]).1, "Success! Deleted key (if it existed): in\n");
    assert_eq!(server.last().0, "DELETE totp/keys/in");
}

#[test]
fn errors_say_what_to_do_next() {
    let server = server();
    let mut world = server.world();
    for (line, code, says) in [
        (&["totp", "code", "none"][..], 2, "vault-cli totp list\n"),
        (&["totp", "read", "none"], 2, "vault-cli totp list\n"),
        (&["totp", "read", "none", "-mount=mfa"], 2, "vault-cli totp list -mount=mfa\n"),
        (&["totp", "code", "in", "-mount=mfa/app"], 2, "vault-cli secrets enable -path=mfa/app totp\n"),
        (&["totp", "code", "a/b"], 2, "no '/'"),
        (&["totp", "list", "-mount=empty"], 2, "No value found at empty/keys"),
        (&["totp", "create", "in", "-generate"], 1, "--issuer"),
        (&["totp", "create", "in", "x", "-generate", "-issuer=a", "-account=b"], 1, "cannot be used with"),
        (&["totp", "create", "in", "-digits=7"], 1, "6, 8"),
        (&["totp", "create", "in", "@/nonexistent"], 1, "/nonexistent"),
    ] {
        let (got, out, err) = world.run(line);
        assert!(got == code && out.is_empty() && err.contains(says), "{line:?}: {got} {err}");
    }
}
