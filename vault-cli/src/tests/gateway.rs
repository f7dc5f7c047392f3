//! `gateway`: services in JSON, in and out.

use crate::testing::Server;
use serde_json::Value;

const SERVICE: &str = r#"{"data":{"upstream":"https://api.example","ca_cert":"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n","credential":{"path":"secret/data/k","field":"f","version":null},"timeout":30,"rate_limit":null,"allow":[{"methods":["GET"],"path":"/*"}]}}"#;

fn server() -> Server {
    Server::table(&[
        ("PUT sys/mounts/gateway", 204, ""),
        ("PUT sys/mounts/edge", 204, ""),
        ("GET gateway/services?list=true", 200, r#"{"data":{"keys":["a","b"]}}"#),
        ("GET gateway/services/a", 200, SERVICE),
        ("PUT gateway/services/a", 204, ""),
        ("PUT gateway/services/open", 200, r#"{"data":null,"warnings":["every caller is refused"]}"#),
        ("PUT gateway/services/bad", 400, r#"{"errors":["missing required field \"upstream\""]}"#),
        (
            "PUT gateway/services/stolen",
            403,
            r#"{"errors":["permission denied: needs read on the credential's path"]}"#,
        ),
        ("PUT edge/services/a", 404, r#"{"errors":["no handler for route \"edge/services/a\""]}"#),
        ("PUT gateway/services/a/b", 404, r#"{"errors":["unsupported path"]}"#),
        ("DELETE gateway/services/a", 204, ""),
    ])
}

#[test]
fn services_go_in_and_come_out_as_they_were() {
    let server = server();
    let mut world = server.world();
    let (_, text, _) = world.run(&["gateway", "read", "a", "-format=json"]);
    let read: Value = serde_json::from_str(&text).unwrap();
    let mut world = server.world().input(&text);
    assert_eq!(world.run(&["gateway", "write", "a", "-"]).1, "Success! Uploaded service: a\n");
    let (call, sent) = server.last();
    assert_eq!(
        (call.as_str(), serde_json::from_str::<Value>(&sent).unwrap()),
        ("PUT gateway/services/a", read)
    );
    let file = world.home().join("s.json");
    std::fs::write(&file, r#"{"upstream":"x"}"#).unwrap();
    let file = file.to_str().unwrap();
    for spelling in [file, &format!("@{file}")] {
        assert_eq!(
            world.run(&["gateway", "write", "a", spelling, "-format=json"]),
            (0, String::new(), String::new())
        );
        assert_eq!(server.last().1, r#"{"upstream":"x"}"#);
    }
    let (code, out, err) = world.run(&["gateway", "write", "open", file]);
    assert_eq!((code, err.as_str()), (0, "WARNING! every caller is refused\n"));
    assert_eq!(out, "Success! Uploaded service: open\n");
}

#[test]
fn people_get_a_table_and_programs_the_values() {
    let server = server();
    let mut world = server.world();
    assert_eq!(
        world.run(&["gateway", "read", "a"]).1,
        "Key           Value\n---           -----\nallow         [{\"methods\":[\"GET\"],\"path\":\"/*\"}]\n\
         ca_cert       1 certificate; see -field=ca_cert\n\
         credential    {\"field\":\"f\",\"path\":\"secret/data/k\",\"version\":null}\n\
         rate_limit    <nil>\ntimeout       30s\nupstream      https://api.example\n"
    );
    assert!(world.run(&["gateway", "read", "a", "-field=ca_cert"]).1.starts_with("-----BEGIN"));
    assert_eq!(world.run(&["gateway", "read", "a", "-field=timeout"]).1, "30");
    assert!(
        world
            .run(&["gateway", "read", "a", "-format=yaml"])
            .1
            .contains("\nupstream: \"https://api.example\"\n")
    );
    assert_eq!(world.run(&["gateway", "list"]).1, "Keys\n----\na\nb\n");
    assert_eq!(world.run(&["gateway", "list", "-format=json"]).1, "[\n  \"a\",\n  \"b\"\n]\n");
}

#[test]
fn mounted_and_deleted() {
    let server = server();
    let mut world = server.world();
    assert_eq!(world.run(&["gateway", "enable"]).1, "Success! Enabled the gateway at: gateway/\n");
    let (call, body) = server.last();
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((call.as_str(), &body["type"]), ("PUT sys/mounts/gateway", &"gateway".into()));
    assert_eq!(world.run(&["gateway", "enable", "-mount=edge/", "-description=x"]).0, 0);
    assert_eq!(server.last().0, "PUT sys/mounts/edge");
    assert_eq!(world.run(&["gateway", "delete", "a"]).1, "Success! Deleted service (if it existed): a\n");
    assert_eq!(server.last().0, "DELETE gateway/services/a");
}

#[test]
fn errors_say_what_to_do_next() {
    let server = server();
    let mut world = server.world().input(r#"{"upstream":"https://hunter2"}"#);
    for (line, code, says) in [
        (&["gateway", "read", "none"][..], 2, "vault-cli gateway list"),
        (&["gateway", "list", "-mount=empty"], 2, "No value found at empty/services"),
        (&["gateway", "write", "bad", "-"], 2, "missing required field"),
        (&["gateway", "write", "stolen", "-"], 2, "read on the credential"),
        (&["gateway", "write", "a", "-", "-mount=edge"], 2, "vault-cli gateway enable -mount=edge"),
        (&["gateway", "write", "a/b", "-"], 2, "no '/'"),
        (&["gateway", "write", "a", "/nonexistent"], 1, "/nonexistent"),
        (&["gateway", "write", "a"], 1, "FILE"),
    ] {
        let (got, out, err) = world.run(line);
        assert!(got == code && out.is_empty() && err.contains(says), "{line:?}: {got} {err}");
    }
    let (code, _, err) = server.world().input("[\"hunter2\"]").run(&["gateway", "write", "a", "-"]);
    assert!(code == 1 && err.contains("not a JSON object") && !err.contains("hunter2"), "{err}");
}
