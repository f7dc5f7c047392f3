//! Every token that must not log in, beside the one that does.

use super::sign::{Key, b64, ed, other_p256, p256, p384, pem, rsa, segments, token};
use super::*;
use crate::limits::JWT_MAX_BYTES;
use crate::testing::run;
use base64::Engine as _;
use serde_json::json;
use vault_logical::ErrorKind;

async fn refused(b: &Bench, what: &str, jwt: &str) {
    match login(b, jwt).await {
        Ok(_) => panic!("accepted: {what}"),
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::InvalidRequest, "{what}");
            // One text for all of them.
            assert_eq!(e.message(), "the token was refused for this role", "{what}");
        }
    }
}

#[test]
fn headers() {
    run(async {
        let k = p256();
        let b = bench(&[k]).await;
        let body = claims(json!({})).to_string();
        login(&b, &token(k, r#"{"alg":"ES256"}"#, &body)).await.unwrap();
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"nOnE"}"#,
            r#"{"alg":"NONE"}"#,
            r#"{"alg":""}"#,
            r#"{"alg":null}"#,
            r#"{"alg":["ES256"]}"#,
            r#"{}"#,
            r#"{"typ":"JWT"}"#,
            r#"{"alg":"es256"}"#,
            r#"{"alg":"ES256 "}"#,
            r#"{"alg":"ES512"}"#,
            r#"{"alg":"HS256"}"#,
            r#"{"alg":"RS256"}"#,
            r#"{"alg":"ES384"}"#,
            r#"{"alg":"ES256","alg":"ES256"}"#,
            r#"{"alg":"none","alg":"ES256"}"#,
            r#"{"alg":"ES256","\u0061lg":"ES256"}"#,
            r#"{"alg":"ES256","crit":["exp"]}"#,
            r#"{"alg":"ES256","crit":["b64"],"b64":false}"#,
            r#"{"alg":"ES256","crit":[]}"#,
            r#"{"alg":"ES256","crit":["alg","alg"]}"#,
            r#"{"alg":"ES256","crit":null}"#,
            r#"{"alg":"ES256","b64":false}"#,
            r#"{"alg":"ES256","zip":"DEF"}"#,
            r#"{"alg":"ES256","enc":"A256GCM"}"#,
            r#"{"alg":"ES256","cty":"JWT"}"#,
            r#"{"alg":"ES256","typ":"logout+jwt"}"#,
            r#"{"alg":"ES256","typ":"secevent+jwt"}"#,
            r#"{"alg":"ES256","typ":"dpop+jwt"}"#,
            r#"{"alg":"ES256","typ":"JOSE"}"#,
            r#"{"alg":"ES256","typ":null}"#,
            r#"{"alg":"ES256","typ":["JWT"]}"#,
            r#"{"alg":"ES256","kid":1}"#,
            r#"{"alg":"ES256","kid":null}"#,
            r#"["ES256"]"#,
            r#""ES256""#,
            "{\"alg\":\"ES256\"}\n{}",
            "{\"alg\":\"ES256\",}",
            "",
        ] {
            refused(&b, header, &token(k, header, &body)).await;
        }
        let long = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(2000));
        refused(&b, "a long kid", &token(k, &long, &body)).await;
        for (typ, header) in [
            ("no typ", r#"{"alg":"ES256"}"#),
            ("jwt", r#"{"alg":"ES256","typ":"jwt"}"#),
            ("at+jwt", r#"{"alg":"ES256","typ":"at+jwt"}"#),
            ("application/at+jwt", r#"{"alg":"ES256","typ":"application/at+JWT"}"#),
        ] {
            login(&b, &token(k, header, &body)).await.unwrap_or_else(|_| panic!("{typ}"));
        }
    });
}

/// The classic: the public key's text as the secret of an HMAC.
#[test]
fn a_public_key_is_no_shared_secret() {
    use aws_lc_rs::hmac;
    run(async {
        for k in [rsa(), p256(), ed()] {
            let b = bench(&[k]).await;
            let spki = k.der();
            let text = k.pem();
            for secret in [
                text.clone().into_bytes(),
                format!(" {text}").into_bytes(),
                text.trim().as_bytes().to_vec(),
                format!("{text}\n").into_bytes(),
                spki,
                k.jwk("a").to_string().into_bytes(),
                Vec::new(),
            ] {
                for (alg, mac) in
                    [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
                {
                    let message = format!(
                        "{}.{}",
                        b64(json!({"alg": alg}).to_string()),
                        b64(claims(json!({})).to_string())
                    );
                    let tag = hmac::sign(&hmac::Key::new(mac, &secret), message.as_bytes());
                    refused(&b, alg, &format!("{message}.{}", b64(tag))).await;
                    // And under a name that the key does fit.
                    let message = message.replacen(
                        &b64(json!({"alg": alg}).to_string()),
                        &b64(json!({"alg": k.alg()}).to_string()),
                        1,
                    );
                    refused(&b, "its name changed", &format!("{message}.{}", b64(tag))).await;
                }
            }
        }
    });
}

#[test]
fn signatures() {
    run(async {
        for k in [rsa(), p256(), p384(), ed()] {
            let b = bench(&[k]).await;
            let good = jwt(k, &claims(json!({})));
            login(&b, &good).await.unwrap();
            let (message, signature) = good.rsplit_once('.').unwrap();
            let raw = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(signature).unwrap();
            let with = |sig: &[u8]| format!("{message}.{}", b64(sig));
            let mut flipped = raw.clone();
            flipped[3] ^= 1;
            refused(&b, "one bit", &with(&flipped)).await;
            refused(&b, "zeros", &with(&vec![0; raw.len()])).await;
            refused(&b, "short", &with(&raw[1..])).await;
            refused(&b, "long", &with(&[&raw[..], &[0]].concat())).await;
            refused(&b, "empty", &format!("{message}.")).await;
            refused(&b, "of another key", &{
                let other = other_p256().sign(message.as_bytes(), "ES256");
                with(&other)
            })
            .await;
            let other_claims = b64(claims(json!({"sub": "root"})).to_string());
            let (header, _) = message.split_once('.').unwrap();
            refused(&b, "other claims", &format!("{header}.{other_claims}.{signature}")).await;
        }
        // r = s = 0, and its DER spelling.
        let b = bench(&[p256()]).await;
        let good = jwt(p256(), &claims(json!({})));
        let message = good.rsplit_once('.').unwrap().0;
        refused(&b, "DER", &format!("{message}.{}", b64([0x30, 6, 2, 1, 0, 2, 1, 0]))).await;
    });
}

#[test]
fn forms() {
    run(async {
        let k = ed();
        let b = bench(&[k]).await;
        let good = jwt(k, &claims(json!({})));
        let parts: Vec<&str> = good.split('.').collect();
        let (h, c, s) = (parts[0], parts[1], parts[2]);
        let megabyte = ".".repeat(1024 * 1024);
        let huge = format!("{h}.{}.{s}", "A".repeat(JWT_MAX_BYTES));
        for bad in [
            "",
            ".",
            "..",
            "...",
            megabyte.as_str(),
            huge.as_str(),
            h,
            &format!("{h}.{c}"),
            &format!("{h}.{c}."),
            &format!(".{c}.{s}"),
            &format!("{h}..{s}"),
            &format!("{good}."),
            &format!("{good}.{s}"),
            &format!("{h}.{c}.{s}.{s}.{s}"),
            &format!("{good} "),
            &format!(" {good}"),
            &format!("{good}\n"),
            &format!("{good}="),
            &format!("{h}=.{c}.{s}"),
            &format!("Bearer {good}"),
            &good.replacen('.', "..", 1),
        ] {
            if bad.is_empty() {
                continue; // "missing token", another answer
            }
            refused(&b, &bad.chars().take(60).collect::<String>(), bad).await;
        }
        // The same bytes in another spelling: padding bits, padding, the other alphabet.
        let header = b64(r#"{"alg":"EdDSA"}"#); // 15 bytes: no spare bits
        let header_spare = b64(r#"{"alg":"EdDSA" }"#); // 16 bytes: four spare bits
        let body = b64(claims(json!({})).to_string());
        login(&b, &segments(k, &header, &body)).await.unwrap();
        login(&b, &segments(k, &header_spare, &body)).await.unwrap();
        let last = header_spare.chars().last().unwrap();
        let sibling = char::from_u32(last as u32 + 1).unwrap();
        let respelt = format!("{}{sibling}", &header_spare[..header_spare.len() - 1]);
        refused(&b, "spare bits", &segments(k, &respelt, &body)).await;
        refused(&b, "padding", &segments(k, &format!("{header_spare}=="), &body)).await;
        let odd =
            b64([b"{\"alg\":\"EdDSA\",\"x\":\"".as_slice(), "\u{7ff}\u{fff}>?".as_bytes(), b"\"}"].concat());
        assert!(odd.contains(['-', '_']));
        login(&b, &segments(k, &odd, &body)).await.unwrap();
        refused(&b, "alphabet", &segments(k, &odd.replace('-', "+").replace('_', "/"), &body)).await;
        refused(&b, "invalid UTF-8", &segments(k, &b64(b"{\"alg\":\"EdDSA\",\"x\":\"\xff\"}"), &body)).await;
    });
}

#[test]
fn claim_texts() {
    run(async {
        let k = ed();
        let b = bench(&[k]).await;
        let now = crate::testing::START;
        let base = format!(r#""iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"svc""#);
        let with = |more: &str| format!("{{{base}{more}}}");
        login(&b, &token(k, r#"{"alg":"EdDSA"}"#, &with(&format!(r#","exp":{}"#, now + 5)))).await.unwrap();
        let mut bad = vec![
            String::new(),
            "{".into(),
            "[]".into(),
            "null".into(),
            "\"text\"".into(),
            with(""),
            format!("{} {{}}", with(&format!(r#","exp":{}"#, now + 5))),
            with(&format!(r#","exp":{},"exp":{}"#, now - 500, now + 5)),
            with(&format!(r#","exp":{},"sub":"root""#, now + 5)),
            with(&format!(r#","exp":{},"x":{{"a":1,"a":2}}"#, now + 5)),
            with(&format!(r#","exp":{},"x":{}1{}"#, now + 5, r#"{"a":"#.repeat(100), "}".repeat(100))),
            with(&format!(r#","exp":{},"x":{}{}"#, now + 5, "[".repeat(500), "]".repeat(500))),
            with(&format!(r#","exp":{{"$serde_json::private::Number":"{}"}}"#, now + 5)),
        ];
        for name in ["exp", "nbf", "iat"] {
            let exp = if name == "exp" { String::new() } else { format!(r#","exp":{}"#, now + 5) };
            let right = if name == "exp" { now + 5 } else { now - 5 };
            for value in [
                format!("\"{right}\""),
                format!("{right}.0"),
                format!("{right}.5"),
                format!("{right}e0"),
                format!("-{right}"),
                format!("[{right}]"),
                format!("{{\"t\":{right}}}"),
                "null".into(),
                "true".into(),
                "1e400".into(),
                "-1".into(),
                "1e10".into(),
                "99999999999999999999999999".into(),
                "9223372036854775807".into(),
                "18446744073709551615".into(),
                "10000000000000".into(),
            ] {
                bad.push(with(&format!(r#"{exp},"{name}":{value}"#)));
            }
        }
        for text in bad {
            refused(&b, &text, &token(k, r#"{"alg":"EdDSA"}"#, &text)).await;
        }
    });
}

#[test]
fn claim_values() {
    run(async {
        let k = ed();
        let b = bench(&[k]).await;
        let now = crate::testing::START;
        for more in [
            json!({"exp": null}),
            json!({"exp": 0}),
            json!({"exp": now - 60}),
            json!({"nbf": now + 61}),
            json!({"iat": now + 61}),
            json!({"iss": null}),
            json!({"iss": 1}),
            json!({"iss": [ISSUER]}),
            json!({"iss": format!("{ISSUER}/")}),
            json!({"iss": ISSUER.to_uppercase()}),
            json!({"iss": ""}),
            json!({"aud": null}),
            json!({"aud": ""}),
            json!({"aud": []}),
            json!({"aud": 7}),
            json!({"aud": {"a": AUDIENCE}}),
            json!({"aud": [AUDIENCE, 7]}),
            json!({"aud": "*"}),
            json!({"aud": format!("{AUDIENCE}.evil")}),
            json!({"aud": format!("x{AUDIENCE}")}),
            json!({"aud": AUDIENCE.to_uppercase()}),
            json!({"aud": format!("{AUDIENCE},other")}),
            json!({"aud": ["other"]}),
            json!({"sub": null}),
            json!({"sub": ""}),
            json!({"sub": 7}),
            json!({"sub": ["svc"]}),
            json!({"sub": "a\nb"}),
            json!({"sub": "x".repeat(600)}),
            json!({"jti": 7}),
            json!({"cnf": {"jkt": "x"}}),
            json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
        ] {
            // `null` removes in `claims`, so what is tested there is the absence.
            refused(&b, &more.to_string(), &jwt(k, &claims(more.clone()))).await;
        }
        for more in [
            json!({"aud": ["other", AUDIENCE]}),
            json!({"exp": now - 59}),
            json!({"nbf": now + 60}),
            json!({"iat": now + 60}),
            json!({"nbf": null, "iat": null}),
            json!({"azp": "whoever"}),
        ] {
            login(&b, &jwt(k, &claims(more.clone()))).await.unwrap_or_else(|_| panic!("{more}"));
        }
    });
}

#[test]
fn a_key_in_the_token_is_not_looked_at() {
    run(async {
        let b = bench(&[p256()]).await;
        let other = other_p256();
        for header in [
            json!({"alg": "ES256", "jwk": other.jwk("x")}),
            json!({"alg": "ES256", "jku": "https://evil.example/jwks"}),
            json!({"alg": "ES256", "x5u": "https://evil.example/cert"}),
            json!({"alg": "ES256", "x5c": ["AAAA"]}),
        ] {
            let body = claims(json!({})).to_string();
            refused(&b, "its own key", &token(other, &header.to_string(), &body)).await;
            // Ignored, not refused, where the signature is of a known key.
            login(&b, &token(p256(), &header.to_string(), &body)).await.unwrap();
        }
        assert!(b.egress.calls.lock().is_empty());
    });
}

#[test]
fn the_mounts_algorithms_and_the_key_decide() {
    run(async {
        let Key::Rsa(pair, _) = rsa() else { panic!() };
        let b = Bench::mount("jwt", &[]);
        let config = json!({"jwt_validation_pubkeys": [rsa().pem(), p256().pem()], "jwt_supported_algs": "RS512,ES256"});
        b.write("config", config).await.unwrap();
        b.write("role/app", role(json!({}))).await.unwrap();
        let body = claims(json!({})).to_string();
        for alg in ["RS256", "RS384", "PS256", "PS384", "PS512"] {
            refused(&b, alg, &token(rsa(), &json!({ "alg": alg }).to_string(), &body)).await;
        }
        login(&b, &token(rsa(), r#"{"alg":"RS512"}"#, &body)).await.unwrap();
        login(&b, &token(p256(), r#"{"alg":"ES256"}"#, &body)).await.unwrap();
        // One key's signature under another key's algorithm.
        let message = format!("{}.{}", b64(r#"{"alg":"ES256"}"#), b64(&body));
        let signature = rsa().sign(message.as_bytes(), "RS256");
        refused(&b, "RSA as EC", &format!("{message}.{}", b64(signature))).await;
        assert!(pair.public_modulus_len() >= 256);
    });
}

#[test]
fn weak_and_broken_keys_cannot_be_configured() {
    run(async {
        let b = Bench::mount("jwt", &[]);
        // DER of an RSA key with a modulus of `n` bytes.
        let pkcs1 = |n: usize, e: u8| {
            let mut modulus = vec![0xA5; n];
            modulus[n - 1] |= 1;
            let mut inner = vec![0x02, 0x82, ((n + 1) >> 8) as u8, ((n + 1) & 255) as u8, 0];
            inner.extend(modulus);
            inner.extend([0x02, 0x01, e]);
            let len = inner.len();
            [vec![0x30, 0x82, (len >> 8) as u8, (len & 255) as u8], inner].concat()
        };
        let config = |pem: String| json!({ "jwt_validation_pubkeys": [pem] });
        b.write("config", config(pem("RSA PUBLIC KEY", &pkcs1(256, 3)))).await.unwrap();
        let cut = &p256().der()[..60];
        let mut compressed = p256().der();
        compressed[26] = 2;
        for bad in [
            pem("RSA PUBLIC KEY", &pkcs1(128, 3)),
            pem("RSA PUBLIC KEY", &pkcs1(255, 3)),
            pem("RSA PUBLIC KEY", &pkcs1(2048, 3)),
            pem("RSA PUBLIC KEY", &pkcs1(256, 1)),
            pem("RSA PUBLIC KEY", &pkcs1(256, 4)),
            pem("PUBLIC KEY", &pkcs1(256, 3)),
            pem("PUBLIC KEY", cut),
            pem("PUBLIC KEY", &compressed),
            pem("PRIVATE KEY", &p256().der()),
            pem("CERTIFICATE", &p256().der()),
            format!("{}{}", p256().pem(), p256().pem()),
            p256().pem().replace("BEGIN", "START"),
            "secret".into(),
            String::from("-----BEGIN PUBLIC KEY-----"),
        ] {
            let e = b.write("config", config(bad.clone())).await.expect_err(&bad);
            assert_eq!(e.kind(), ErrorKind::InvalidRequest);
        }
        b.write("config", config(format!("\n  {}", p384().pem()))).await.unwrap();
    });
}

/// Whichever form of an ECDSA signature comes first is the token; the other is refused. Neither is
/// refused for what it is: issuers produce both.
#[test]
fn each_token_has_one_accepted_spelling() {
    use crate::auth::jwt::spelling::other_form;
    use crate::auth::jwt::token::Family;
    run(async {
        for (k, family) in [(p256(), Family::P256), (p384(), Family::P384)] {
            for other_first in [false, true] {
                let b = bench(&[k]).await;
                let good = jwt(k, &claims(json!({})));
                let (message, signature) = good.rsplit_once('.').unwrap();
                let raw = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(signature).unwrap();
                let other = format!("{message}.{}", b64(other_form(family, &raw)));
                let (first, second) = if other_first { (&other, &good) } else { (&good, &other) };
                login(&b, first).await.unwrap();
                refused(&b, "the other form", second).await;
                login(&b, first).await.unwrap();
                // The same claims signed again are another token.
                login(&b, &jwt(k, &claims(json!({})))).await.unwrap();
            }
        }
    });
}

#[test]
fn lifetimes() {
    run(async {
        let day = 24 * 3600;
        let b = bench(&[ed()]).await;
        let t = |more: Value| jwt(ed(), &claims(more));
        login(&b, &t(json!({"exp": START - 10 + day}))).await.unwrap();
        refused(&b, "a second more than a day", &t(json!({"exp": START - 9 + day}))).await;
        refused(&b, "ten years", &t(json!({"exp": START + 3650 * day}))).await;
        let old = json!({"iat": START - 30 * day, "nbf": START - 10});
        refused(&b, "a month old", &t(old)).await;
        let undated = |exp: i64| t(json!({"iat": null, "nbf": null, "exp": exp}));
        login(&b, &undated(START + day)).await.unwrap();
        refused(&b, "no date, two days left", &undated(START + 2 * day)).await;
        refused(&b, "no iat, an old nbf", &t(json!({"iat": null, "nbf": START - 2 * day}))).await;
        let config = json!({"jwt_validation_pubkeys": [ed().pem()], "bound_issuer": ISSUER});
        b.write("config", merged(config.clone(), json!({"max_lifetime": "1h"}))).await.unwrap();
        refused(&b, "more than its hour", &t(json!({"exp": START - 9 + 3600}))).await;
        b.write("config", merged(config.clone(), json!({"max_lifetime": "90d"}))).await.unwrap();
        login(&b, &t(json!({"exp": START + 80 * day}))).await.unwrap();
        let endless = merged(config, json!({"max_lifetime": "9999d"}));
        assert!(b.write("config", endless).await.is_err());
    });
}

#[test]
fn a_refresh_token_is_never_an_access_token() {
    run(async {
        let k = ed();
        let b = bench(&[k]).await;
        for typ in ["JWT", "at+jwt", "application/at+jwt"] {
            let header = json!({"alg": "EdDSA", "typ": typ}).to_string();
            let with = |more: Value| token(k, &header, &claims(more).to_string());
            login(&b, &with(json!({"type": "access"}))).await.unwrap();
            for name in ["type", "typ", "token_type", "token_use"] {
                refused(&b, name, &with(json!({name: "refresh"}))).await;
            }
        }
        let config = json!({"jwt_validation_pubkeys": [k.pem()], "bound_issuer": ISSUER});
        b.write("config", merged(config.clone(), json!({"token_kind": "access"}))).await.unwrap();
        refused(&b, "no kind", &jwt(k, &claims(json!({})))).await;
        refused(&b, "an id token", &jwt(k, &claims(json!({"token_use": "id"})))).await;
        login(&b, &jwt(k, &claims(json!({"token_use": "access"})))).await.unwrap();
        assert!(b.write("config", merged(config, json!({"token_kind": "refresh"}))).await.is_err());
    });
}

/// A role that a gateway service names pins issuer and audience; elsewhere Vault's rules hold.
#[test]
fn the_gateway_takes_no_role_that_is_open_to_other_issuers_or_audiences() {
    run(async {
        let identify = async |b: &Bench, jwt: &str| {
            b.inspect(async |e, cx| {
                e.auth_method().expect("an auth method").identify(cx, jwt, Some("app")).await
            })
            .await
        };
        let b = bench(&[ed()]).await;
        let good = jwt(ed(), &claims(json!({})));
        identify(&b, &good).await.unwrap();
        b.write("config", json!({"jwt_validation_pubkeys": [ed().pem()]})).await.unwrap();
        assert!(identify(&b, &good).await.is_err(), "any issuer");
        login(&b, &good).await.unwrap();
        let b = bench(&[ed()]).await;
        b.write("role/app", json!({"bound_audiences": [], "bound_subject": "svc"})).await.unwrap();
        let meant_for_nobody = jwt(ed(), &claims(json!({"aud": null})));
        assert!(identify(&b, &meant_for_nobody).await.is_err(), "any audience");
        login(&b, &meant_for_nobody).await.unwrap();
    });
}
