//! Keys from a JWKS URL.

use super::sign::{b64, ed, other_p256, p256, p384, rsa, token};
use super::*;
use crate::limits::*;
use crate::testing::{Answer, all};
use std::sync::Arc;
use std::time::Duration;
use vault_logical::ErrorKind;

const URL: &str = "https://issuer.example/jwks";

async fn fetching(keys: Value) -> Bench {
    let b = Bench::mount("jwt", &[]);
    b.write("config", json!({"jwks_url": URL, "bound_issuer": ISSUER})).await.unwrap();
    b.write("role/app", role(json!({}))).await.unwrap();
    serve(&b, keys);
    b
}

fn serve(b: &Bench, keys: Value) {
    answer(b, Answer::Body(200, json!({ "keys": keys }).to_string().into_bytes()));
}

fn answer(b: &Bench, answer: Answer) {
    b.egress.answers.lock().insert(URL.into(), answer);
}

fn fetches(b: &Bench) -> usize {
    b.egress.calls.lock().len()
}

fn named(key: &Key, kid: &str) -> String {
    token(key, &json!({"alg": key.alg(), "kid": kid}).to_string(), &claims(json!({})).to_string())
}

async fn pass(time: Duration) {
    tokio::time::advance(time).await;
}

/// Time of these tests moves only when they say so; it runs ahead by itself to a time-out when
/// everything waits.
fn run<T>(f: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(f)
}

#[test]
fn a_set_is_fetched_once_and_names_its_keys() {
    run(async {
        let b = fetching(json!([p256().jwk("a"), rsa().jwk("b"), ed().jwk("c")])).await;
        for (k, kid) in [(p256(), "a"), (rsa(), "b"), (ed(), "c")] {
            login(&b, &named(k, kid)).await.unwrap();
        }
        assert_eq!(fetches(&b), 1);
        for kid in ["b", "A", "", "a ", "../a", "a\u{0}", "' OR 1=1"] {
            assert!(login(&b, &named(p256(), kid)).await.is_err(), "{kid}");
        }
        // Without a name: only where one key fits.
        login(&b, &jwt(p256(), &claims(json!({})))).await.unwrap();
        let b = fetching(json!([p256().jwk("a"), other_p256().jwk("b")])).await;
        assert!(login(&b, &jwt(p256(), &claims(json!({})))).await.is_err());
        login(&b, &named(p256(), "a")).await.unwrap();
        // One name for two keys tells nothing; for two kinds of keys it does.
        let b = fetching(json!([p256().jwk("a"), other_p256().jwk("a"), ed().jwk("a")])).await;
        assert!(login(&b, &named(p256(), "a")).await.is_err());
        login(&b, &named(ed(), "a")).await.unwrap();
    });
}

#[test]
fn keys_that_are_not_for_this_are_left_out() {
    run(async {
        let with = |more: Value| merged(p256().jwk("k"), more);
        let without = |name: &str| {
            let mut k = p256().jwk("k");
            k.as_object_mut().unwrap().remove(name);
            k
        };
        for good in [
            json!({"use": "sig"}),
            json!({"key_ops": ["verify"]}),
            json!({"alg": "ES256"}),
            json!({"x5c": ["ignored"], "x5u": "https://evil.example"}),
        ] {
            let b = fetching(json!([with(good.clone())])).await;
            login(&b, &named(p256(), "k")).await.unwrap_or_else(|_| panic!("{good}"));
        }
        let short = b64([1; 31]);
        for bad in [
            with(json!({"use": "enc"})),
            with(json!({"use": null})),
            with(json!({"key_ops": ["sign"]})),
            with(json!({"key_ops": []})),
            with(json!({"key_ops": "verify"})),
            with(json!({"alg": "ES384"})),
            with(json!({"alg": "HS256"})),
            with(json!({"alg": "none"})),
            with(json!({"alg": 1})),
            with(json!({"kty": "oct", "k": b64("secret")})),
            with(json!({"kty": "RSA"})),
            with(json!({"kty": "OKP"})),
            with(json!({"crv": "P-384"})),
            with(json!({"crv": "P-521"})),
            with(json!({"crv": null})),
            with(json!({"x": short})),
            with(json!({"x": "not base64!"})),
            with(json!({"y": b64([7; 32])})),
            with(json!({"kid": 1})),
            without("kty"),
            without("crv"),
            without("x"),
            without("kid"),
            json!({"kty": "RSA", "kid": "k", "n": b64([0xff; 128]), "e": "AQAB"}),
            json!("text"),
        ] {
            // Beside a usable one, so that the set itself is usable.
            let b = fetching(json!([bad, ed().jwk("other")])).await;
            assert!(login(&b, &named(p256(), "k")).await.is_err(), "{bad}");
            login(&b, &named(ed(), "other")).await.unwrap();
        }
    });
}

#[test]
fn rotation_is_seen_after_one_fetch_and_the_old_key_is_gone() {
    run(async {
        let b = fetching(json!([p256().jwk("old")])).await;
        login(&b, &named(p256(), "old")).await.unwrap();
        serve(&b, json!([p384().jwk("new")]));
        // Claimed by the first fetch: not yet.
        assert!(login(&b, &named(p384(), "new")).await.is_err());
        assert_eq!(fetches(&b), 1);
        login(&b, &named(p256(), "old")).await.unwrap();
        pass(JWKS_MIN_INTERVAL).await;
        login(&b, &named(p384(), "new")).await.unwrap();
        assert_eq!(fetches(&b), 2);
        assert!(login(&b, &named(p256(), "old")).await.is_err());
    });
}

#[test]
fn the_interval_does_not_depend_on_what_came() {
    run(async {
        let duplicate = br#"{"keys":[],"keys":[]}"#.to_vec();
        let many: Vec<Value> = (0..=JWKS_MAX_KEYS).map(|n| p256().jwk(&n.to_string())).collect();
        for bad in [
            Answer::Fails,
            Answer::Body(500, json!({"keys": [p256().jwk("a")]}).to_string().into()),
            Answer::Body(302, Vec::new()),
            Answer::Body(200, b"<html>".to_vec()),
            Answer::Body(200, b"{}".to_vec()),
            Answer::Body(200, br#"{"keys":[]}"#.to_vec()),
            Answer::Body(200, br#"{"keys":{}}"#.to_vec()),
            Answer::Body(200, b"\xff".to_vec()),
            Answer::Body(200, duplicate),
            Answer::Body(200, json!({ "keys": many }).to_string().into()),
            Answer::Body(
                200,
                format!("{}{}", json!({"keys": [p256().jwk("a")]}), " ".repeat(JWKS_MAX_BYTES)).into(),
            ),
        ] {
            let b = fetching(json!([])).await;
            answer(&b, bad.clone());
            for _ in 0..5 {
                let e = login(&b, &named(p256(), "a")).await.unwrap_err();
                assert_eq!(e.kind(), ErrorKind::Upstream);
            }
            assert_eq!(fetches(&b), 1);
            pass(JWKS_MIN_INTERVAL).await;
            serve(&b, json!([p256().jwk("a")]));
            login(&b, &named(p256(), "a")).await.unwrap();
            assert_eq!(fetches(&b), 2);

            // And it takes nothing away that was known.
            answer(&b, bad);
            for n in 0..50 {
                pass(JWKS_MIN_INTERVAL).await;
                assert!(login(&b, &named(p256(), &format!("x{n}"))).await.is_err());
                login(&b, &named(p256(), "a")).await.unwrap();
            }
        }
    });
}

#[test]
fn ten_thousand_unknown_names_cost_one_fetch() {
    run(async {
        let b = fetching(json!([p256().jwk("a")])).await;
        login(&b, &named(p256(), "a")).await.unwrap();
        pass(JWKS_MIN_INTERVAL).await;
        let template = named(p256(), "a");
        let (_, rest) = template.split_once('.').unwrap();
        for n in 0..10_000 {
            let header = b64(json!({"alg": "ES256", "kid": format!("r{n}")}).to_string());
            assert!(login(&b, &format!("{header}.{rest}")).await.is_err());
        }
        assert_eq!(fetches(&b), 2);
    });
}

#[test]
fn one_fetch_serves_all_who_wait_and_known_keys_do_not_wait() {
    run(async {
        let b = fetching(json!([p256().jwk("a")])).await;
        let gate = b.egress.gate.lock().await;
        let open = async {
            for _ in 0..10_000 {
                tokio::task::yield_now().await;
            }
            drop(gate);
        };
        let t = named(p256(), "a");
        let (logins, ()) = tokio::join!(all((0..50).map(|_| login(&b, &t))), open);
        assert!(logins.iter().all(Result::is_ok));
        assert_eq!(fetches(&b), 1);

        // A hanging issuer does not hold up tokens of known keys, fresh or old.
        let _hanging = b.egress.gate.lock().await;
        pass(JWKS_FRESH).await;
        let before = tokio::time::Instant::now();
        login(&b, &t).await.unwrap();
        assert_eq!(fetches(&b), 2);
        login(&b, &t).await.unwrap();
        assert_eq!(before.elapsed(), Duration::ZERO);
        // An unknown one waits, for a bounded time.
        assert!(login(&b, &named(p256(), "x")).await.is_err());
        assert!(before.elapsed() <= JWKS_FETCH_TIMEOUT);
        assert_eq!(fetches(&b), 2);
    });
}

#[test]
fn a_caller_who_hangs_up_does_not_end_the_fetch() {
    run(async {
        let b = fetching(json!([p256().jwk("a")])).await;
        let gate = b.egress.gate.lock().await;
        let t = named(p256(), "a");
        let gone = tokio::time::timeout(Duration::from_millis(1), login(&b, &t)).await;
        assert!(gone.is_err());
        drop(gate);
        login(&b, &t).await.unwrap();
        assert_eq!(fetches(&b), 1);
    });
}

#[test]
fn old_keys_end() {
    run(async {
        let b = fetching(json!([p256().jwk("a")])).await;
        let t = named(p256(), "a");
        login(&b, &t).await.unwrap();
        answer(&b, Answer::Fails);
        pass(JWKS_MAX_STALE - Duration::from_secs(1)).await;
        login(&b, &t).await.unwrap();
        pass(Duration::from_secs(1)).await;
        assert_eq!(login(&b, &t).await.unwrap_err().kind(), ErrorKind::Upstream);
        serve(&b, json!([p256().jwk("a")]));
        pass(JWKS_MIN_INTERVAL).await;
        login(&b, &t).await.unwrap();
    });
}

#[test]
fn a_restart_fetches_before_the_first_login() {
    run(async {
        let mut b = fetching(json!([p256().jwk("a")])).await;
        b.restart();
        login(&b, &named(p256(), "a")).await.unwrap();
        let b = Arc::new(b);
        assert!(!b.engine.cold());
        b.write("config", json!({"jwks_url": "https://other.example/jwks"})).await.unwrap();
        assert!(b.engine.cold());
        assert_eq!(login(&b, &named(p256(), "a")).await.unwrap_err().kind(), ErrorKind::Upstream);
        assert_eq!(b.egress.calls.lock().last().unwrap(), "https://other.example/jwks");
    });
}

/// Kept identities fall with the key that made them; a key more, or the same set again, ends none.
#[test]
fn a_key_that_is_gone_raises_the_epoch() {
    run(async {
        let b = fetching(json!([p256().jwk("a"), ed().jwk("c")])).await;
        login(&b, &named(p256(), "a")).await.unwrap();
        let epoch = || b.engine.auth_method().expect("an auth method").epoch();
        let first = epoch();
        let refetched = async |keys: Value| {
            serve(&b, keys);
            let before = fetches(&b);
            pass(JWKS_MIN_INTERVAL).await;
            assert!(login(&b, &named(p256(), "unknown")).await.is_err());
            assert_eq!(fetches(&b), before + 1);
            epoch()
        };
        assert_eq!(refetched(json!([p256().jwk("a"), ed().jwk("c")])).await, first);
        assert_eq!(refetched(json!([p256().jwk("a"), ed().jwk("c"), rsa().jwk("b")])).await, first);
        let second = refetched(json!([p256().jwk("a"), rsa().jwk("b")])).await;
        assert!(second > first, "a key is gone");
        let third = refetched(json!([other_p256().jwk("a"), rsa().jwk("b")])).await;
        assert!(third > second, "another key under its name");
        let restricted = merged(rsa().jwk("b"), json!({"alg": "RS512"}));
        assert!(refetched(json!([other_p256().jwk("a"), restricted])).await > third, "for less than before");
    });
}
