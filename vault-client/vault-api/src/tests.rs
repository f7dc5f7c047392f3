use super::auth::token::Lookup;
use super::secrets::kv2::{Metadata, ReadVersion};
use super::sys::{InitResponse, MountEntry, SealStatus, UnsealRequest};
use super::{Envelope, ExposeSecret, Keys, Map};

#[test]
fn an_envelope_with_nulls_everywhere_is_read() {
    let e: Envelope<Keys> = serde_json::from_str(
        r#"{"request_id":"x","lease_id":"","renewable":false,"lease_duration":0,"data":null,
            "wrap_info":null,"warnings":null,"auth":null,"mount_type":"kv"}"#,
    )
    .unwrap();
    assert!(e.data.is_none() && e.auth.is_none() && e.warnings.is_empty());
    let e: Envelope<Keys> =
        serde_json::from_str(r#"{"data":{"keys":["a","b/"]},"warnings":["w"],"new":1}"#).unwrap();
    assert_eq!(e.data.unwrap().keys, ["a", "b/"]);
}

#[test]
fn auth_is_read_and_does_not_print() {
    let e: Envelope<Map> = serde_json::from_str(
        r#"{"data":null,"auth":{"client_token":"hvs.secret","accessor":"acc","policies":["default"],
            "token_policies":["default"],"metadata":null,"lease_duration":2764800,"renewable":true,
            "entity_id":"","token_type":"service","orphan":true,"mfa_requirement":null,"num_uses":0}}"#,
    )
    .unwrap();
    assert!(!format!("{e:?}").contains("hvs.secret"));
    let auth = e.auth.unwrap();
    assert_eq!(auth.client_token.expose_secret(), "hvs.secret");
    assert_eq!((auth.lease_duration, auth.orphan), (2_764_800, true));
}

#[test]
fn shares_do_not_print_and_are_written_only_where_a_field_says_so() {
    let init: InitResponse = serde_json::from_str(
        r#"{"keys":["0a0b"],"keys_base64":["Cgs="],"recovery_keys":null,"root_token":"hvs.root"}"#,
    )
    .unwrap();
    let shown = format!("{init:?}");
    assert!(!shown.contains("0a0b") && !shown.contains("hvs.root"), "{shown}");
    let unseal = UnsealRequest { key: Some("0a0b".into()), ..UnsealRequest::default() };
    assert_eq!(serde_json::to_string(&unseal).unwrap(), r#"{"key":"0a0b","reset":false}"#);
    assert!(!format!("{unseal:?}").contains("0a0b"));
}

#[test]
fn answers_of_several_servers_are_read() {
    let s: SealStatus = serde_json::from_str(
        r#"{"type":"shamir","initialized":true,"sealed":false,"t":3,"n":5,"progress":0,"nonce":"",
            "version":"1.14.9","build_date":"2023-01-01T00:00:00Z","migration":false,
            "recovery_seal":false,"storage_type":"inmem","hcp_link_status":"x","warnings":null}"#,
    )
    .unwrap();
    assert_eq!((s.t, s.n, s.sealed), (3, 5, false));
    let m: MountEntry = serde_json::from_str(
        r#"{"type":"kv","description":"","accessor":"kv_1","uuid":"u","local":false,"seal_wrap":false,
            "external_entropy_access":false,"options":{"version":"2"},"plugin_version":"",
            "config":{"default_lease_ttl":0,"max_lease_ttl":0,"force_no_cache":false}}"#,
    )
    .unwrap();
    assert_eq!(m.options["version"], "2");
    let t: Lookup = serde_json::from_str(
        r#"{"accessor":"a","creation_time":1,"creation_ttl":0,"display_name":"root","entity_id":"",
            "expire_time":null,"explicit_max_ttl":0,"id":"hvs.x","meta":null,"num_uses":0,
            "orphan":true,"path":"auth/token/root","policies":["root"],"ttl":0,"type":"service"}"#,
    )
    .unwrap();
    assert!(t.id.is_some() && t.meta.is_empty() && !t.renewable);
}

#[test]
fn kv2_versions_keep_large_numbers_and_tell_deleted_from_absent() {
    let v: ReadVersion<Map> = serde_json::from_str(
        r#"{"data":{"n":123456789012345678901234567890},"metadata":{"version":2,"created_time":"t",
            "deletion_time":"","destroyed":false,"custom_metadata":null}}"#,
    )
    .unwrap();
    assert_eq!(v.data.unwrap()["n"].to_string(), "123456789012345678901234567890");
    let gone: ReadVersion<Map> = serde_json::from_str(
        r#"{"data":null,"metadata":{"version":1,"deletion_time":"2026-01-01T00:00:00Z"}}"#,
    )
    .unwrap();
    assert!(gone.data.is_none() && !gone.metadata.deletion_time.is_empty());
    let m: Metadata = serde_json::from_str(
        r#"{"versions":{"1":{"created_time":"a","deletion_time":"","destroyed":false}},"max_versions":0,
            "current_version":1,"custom_metadata":{"owner":"x"},"delete_version_after":"0s"}"#,
    )
    .unwrap();
    assert_eq!((m.versions.len(), m.current_version), (1, 1));
}
