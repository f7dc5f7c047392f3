use super::*;
use http_body_util::BodyExt;
use secmem::SecretString;
use std::collections::BTreeMap;
use std::time::Duration;
use vault_logical::{Data, Error, RawBody, Response as EngineResponse};

async fn shown(reply: ReplyBody) -> (u16, Value) {
    let id = RequestId::from_u128(7);
    let response = encode(Reply { request_id: id, body: reply, close: false });
    let status = response.status().as_u16();
    assert_eq!(response.headers().get(CACHE_CONTROL), Some(&NO_STORE));
    let typed = response.headers().get(CONTENT_TYPE) == Some(&JSON);
    let body = response.into_body().collect().await.expect("body").to_bytes();
    assert!(typed, "exactly application/json, of a 204 too");
    if body.is_empty() {
        return (status, Value::Null);
    }
    (status, serde_json::from_slice(&body).expect("JSON"))
}

fn object(v: Value) -> Data {
    match v {
        Value::Object(o) => o,
        _ => panic!("object"),
    }
}

fn answer(response: EngineResponse, flatten: bool, list: bool) -> ReplyBody {
    ReplyBody::Envelope { response, auth: None, flatten, mount_type: "kv".into(), list }
}

#[tokio::test]
async fn the_envelope_has_every_key_always() {
    let data = object(json!({"a": "x\u{1}\"", "n": 12}));
    let (status, body) = shown(answer(EngineResponse::data(data), false, false)).await;
    assert_eq!(status, 200);
    assert_eq!(
        body,
        json!({
            "request_id": "00000000-0000-0000-0000-000000000007", "lease_id": "", "renewable": false,
            "lease_duration": 0, "data": {"a": "x\u{1}\"", "n": 12}, "wrap_info": null,
            "warnings": null, "auth": null, "mount_type": "kv"
        })
    );
}

#[tokio::test]
async fn flattened_answers_repeat_data_but_never_an_envelope_key() {
    let data = object(json!({"keys": ["a"], "data": 1, "auth": {}}));
    let (_, body) = shown(answer(EngineResponse::data(data), true, false)).await;
    assert_eq!(body.get("keys"), Some(&json!(["a"])));
    assert_eq!(body.get("auth"), Some(&Value::Null));
    assert_eq!(body.pointer("/data/data"), Some(&json!(1)));
}

#[tokio::test]
async fn nothing_is_204_and_an_empty_list_404() {
    assert_eq!(shown(answer(EngineResponse::empty(), false, false)).await, (204, Value::Null));
    let none = (404, json!({"errors": []}));
    assert_eq!(shown(answer(EngineResponse::keys(vec![]), false, true)).await, none);
    assert_eq!(shown(answer(EngineResponse::empty(), false, true)).await, none);
    assert_eq!(shown(answer(EngineResponse::keys(vec!["a".into()]), false, true)).await.0, 200);
    assert_eq!(shown(answer(EngineResponse::keys(vec![]).warn("w"), false, true)).await.0, 200);
    let extra = EngineResponse::data(object(json!({"keys": [], "total": 0})));
    assert_eq!(shown(answer(extra, false, true)).await.0, 200);
    let (status, body) = shown(answer(EngineResponse::empty().warn("w"), false, false)).await;
    assert_eq!((status, body.get("warnings")), (200, Some(&json!(["w"]))));
}

#[tokio::test]
async fn a_deleted_version_is_404_with_its_envelope() {
    let mut r = EngineResponse::data(object(json!({"data": null, "metadata": {"destroyed": true}})));
    r.not_found = true;
    let (status, body) = shown(answer(r, false, false)).await;
    assert_eq!((status, body.pointer("/data/metadata/destroyed")), (404, Some(&json!(true))));
}

#[tokio::test]
async fn a_login_shows_the_token_once() {
    let auth = IssuedAuth {
        client_token: SecretString::from("hvs.x"),
        accessor: "acc".into(),
        policies: vec!["default".into()],
        token_policies: vec!["default".into()],
        metadata: BTreeMap::from([("role".into(), "r".into())]),
        lease_duration: Duration::from_secs(60),
        renewable: true,
        entity_id: String::new(),
        token_type: "service",
        orphan: true,
        num_uses: 3,
    };
    let reply = ReplyBody::Envelope {
        response: EngineResponse::empty(),
        auth: Some(auth),
        flatten: false,
        mount_type: "token".into(),
        list: false,
    };
    let (status, body) = shown(reply).await;
    assert_eq!(status, 200);
    assert_eq!(
        body.get("auth"),
        Some(&json!({
            "client_token": "hvs.x", "accessor": "acc", "policies": ["default"],
            "token_policies": ["default"], "metadata": {"role": "r"}, "lease_duration": 60,
            "renewable": true, "entity_id": "", "token_type": "service", "orphan": true,
            "mfa_requirement": null, "num_uses": 3
        }))
    );
    assert_eq!(body.get("lease_duration"), Some(&json!(0)));
}

#[tokio::test]
async fn bare_raw_and_error_answers() {
    let bare = ReplyBody::Bare { status: 503, json: json!({"sealed": true}) };
    assert_eq!(shown(bare).await, (503, json!({"sealed": true})));
    assert_eq!(shown(ReplyBody::Error(Error::not_found())).await, (404, json!({"errors": []})));
    assert_eq!(
        shown(ReplyBody::Error(Error::denied())).await,
        (403, json!({"errors": ["1 error occurred:\n\t* permission denied\n\n"]}))
    );
    let (status, body) = shown(ReplyBody::Error(Error::internal("/secret/path"))).await;
    assert_eq!((status, body), (500, json!({"errors": ["internal error"]})));
    let mut raw = EngineResponse::empty();
    raw.raw = Some(RawBody { content_type: "image/png", body: vec![1, 2] });
    let response =
        encode(Reply { request_id: RequestId::nil(), body: answer(raw, false, false), close: true });
    assert_eq!(response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes), Some(&b"image/png"[..]));
    assert!(response.extensions().get::<CloseAfter>().is_some());
}
