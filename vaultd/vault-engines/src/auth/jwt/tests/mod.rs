mod accepted;
mod config;
mod fetched;
mod refused;
mod sign;

use crate::testing::{Bench, START};
use serde_json::{Value, json};
use sign::{Key, token};
use vault_logical::{Auth, Result};

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "vault.example";

/// A mount with `keys` as PEM and the role `app`.
async fn bench(keys: &[&Key]) -> Bench {
    let b = Bench::mount("jwt", &[]);
    let pems: Vec<String> = keys.iter().map(|k| k.pem()).collect();
    b.write("config", json!({"jwt_validation_pubkeys": pems, "bound_issuer": ISSUER})).await.unwrap();
    b.write("role/app", role(json!({}))).await.unwrap();
    b
}

fn merged(mut base: Value, more: Value) -> Value {
    for (k, v) in more.as_object().unwrap() {
        base[k] = v.clone();
    }
    base
}

fn role(more: Value) -> Value {
    let base = json!({
        "role_type": "jwt", "bound_audiences": AUDIENCE, "user_claim": "sub", "token_policies": "app", "token_ttl": "10m",
    });
    merged(base, more)
}

/// Claims that log in; `null` in `more` removes one.
fn claims(more: Value) -> Value {
    let base = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "svc", "iat": START - 10, "nbf": START - 10, "exp": START + 300,
    });
    let mut c = merged(base, more.clone());
    for (k, v) in more.as_object().unwrap() {
        if v.is_null() {
            c.as_object_mut().unwrap().remove(k);
        }
    }
    c
}

/// The JWT of ordinary header and given claims.
fn jwt(key: &Key, claims: &Value) -> String {
    token(key, &json!({"alg": key.alg(), "typ": "JWT"}).to_string(), &claims.to_string())
}

async fn login(b: &Bench, jwt: &str) -> Result<Auth> {
    let r = b.write("login", json!({"jwt": jwt, "role": "app"})).await?;
    Ok(r.auth.expect("an identity"))
}
