"""Login with a JWT that an outside key has signed."""

import time

import hvac.exceptions as e
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from steps import raises, step

ISSUER = "https://issuer.example"


def public(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def signed(key, algorithm="ES256", **claims):
    now = int(time.time())
    base = {"iss": ISSUER, "aud": "vault", "sub": "app-7", "iat": now, "nbf": now - 5, "exp": now + 300}
    return jwt.encode({**base, **claims}, key, algorithm=algorithm)


def method(w):
    return w.client.auth.jwt


@step("jwt: enable and configure with public keys")
def _(w):
    w.ec, w.rsa = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
    w.client.sys.enable_auth_method("jwt")
    answer = method(w).configure(jwt_validation_pubkeys=[public(w.ec), public(w.rsa)], bound_issuer=ISSUER)
    assert answer.status_code == 204
    config = method(w).read_config()["data"]
    assert config["bound_issuer"] == ISSUER and len(config["jwt_validation_pubkeys"]) == 2
    raises(e.InvalidRequest, method(w).configure, jwt_validation_pubkeys=["not a key"])


@step("jwt: roles")
def _(w):
    raises(e.InvalidPath, method(w).list_roles)
    answer = method(w).create_role(
        "app", user_claim="sub", allowed_redirect_uris=[], role_type="jwt", bound_audiences=["vault"],
        bound_subject="app-7", token_policies=["reader"], token_ttl=1200, bound_claims={"team": "blue"},
        claim_mappings={"team": "team"})
    assert getattr(answer, "status_code", 0) == 204, answer
    role = method(w).read_role("app")["data"]
    assert role["user_claim"] == "sub" and role["bound_audiences"] == ["vault"] and role["role_type"] == "jwt"
    assert role["token_policies"] == ["reader"] and role["token_ttl"] == 1200, role
    assert method(w).list_roles()["data"]["keys"] == ["app"]


@step("jwt: login, with either algorithm")
def _(w):
    for key, algorithm in ((w.ec, "ES256"), (w.rsa, "RS256")):
        client = w.fresh(None)
        answer = client.auth.jwt.jwt_login("app", signed(key, algorithm, team="blue"))["auth"]
        assert set(answer["policies"]) == {"default", "reader"} and answer["lease_duration"] == 1200, answer
        assert answer["metadata"] == {"role": "app", "team": "blue"}, answer
        assert client.token == answer["client_token"] and client.is_authenticated()
        got = client.secrets.kv.v2.read_secret_version("app/patch", raise_on_deleted_version=True)
        assert got["data"]["data"]["a"] == "1"
        raises(e.Forbidden, client.secrets.kv.v2.read_secret_version, "many", raise_on_deleted_version=True)
        assert client.auth.token.lookup_self()["data"]["path"] == "auth/jwt/login"


@step("jwt: what must not get in")
def _(w):
    login = w.fresh(None).auth.jwt.jwt_login
    stranger = ec.generate_private_key(ec.SECP256R1())
    good = signed(w.ec, team="blue")
    head, body, signature = good.split(".")
    for name, token in {
        "a stranger's key": signed(stranger, team="blue"),
        "expired": signed(w.ec, team="blue", exp=int(time.time()) - 3600),
        "another audience": signed(w.ec, team="blue", aud="other"),
        "another issuer": signed(w.ec, team="blue", iss="https://other.example"),
        "another subject": signed(w.ec, team="blue", sub="app-8"),
        "another claim": signed(w.ec, team="red"),
        "a claim missing": signed(w.ec),
        "no algorithm": jwt.encode({"sub": "app-7", "aud": "vault", "iss": ISSUER, "team": "blue"}, None, "none"),
        "no signature": f"{head}.{body}.",
        "nonsense": "nonsense",
        "two parts": f"{head}.{body}",
    }.items():
        try:
            answer = login("app", token)
        except (e.InvalidRequest, e.Forbidden):
            continue
        raise AssertionError(f"{name} got in: {answer}")
    raises(e.InvalidRequest, login, "none", good)


@step("jwt: delete the role, disable the method")
def _(w):
    assert method(w).delete_role("app").status_code == 204
    raises(e.InvalidPath, method(w).read_role, "app")
    raises(e.InvalidRequest, w.fresh(None).auth.jwt.jwt_login, "app", signed(w.ec, team="blue"))
    assert w.client.sys.disable_auth_method("jwt").status_code == 204
    raises((e.Forbidden), w.fresh(None).auth.jwt.jwt_login, "app", signed(w.ec, team="blue"))
