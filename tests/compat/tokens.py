"""The token auth method."""

import hvac.exceptions as e

from steps import raises, step


def auth(w):
    return w.client.auth.token


@step("tokens: create with ttl, meta, display name; look up")
def _(w):
    made = auth(w).create(policies=["reader"], ttl="1h", meta={"k": "v"}, display_name="app")["auth"]
    assert made["client_token"].startswith("hvs.") and made["lease_duration"] == 3600 and made["renewable"] is True
    assert set(made["policies"]) == {"default", "reader"} and made["metadata"] == {"k": "v"}
    assert made["token_type"] == "service" and made["orphan"] is False
    data = auth(w).lookup(made["client_token"])["data"]
    assert data["id"] == made["client_token"] and data["accessor"] == made["accessor"]
    assert 3590 < data["ttl"] <= 3600 and data["creation_ttl"] == 3600 and data["display_name"] == "token-app"
    assert data["meta"] == {"k": "v"} and data["path"] == "auth/token/create" and data["expire_time"]
    own = w.fresh(made["client_token"]).auth.token.lookup_self()["data"]
    assert own["accessor"] == made["accessor"]
    w.made = made


@step("tokens: look up by accessor does not tell the token")
def _(w):
    data = auth(w).lookup_accessor(w.made["accessor"])["data"]
    assert data["id"] == "" and data["accessor"] == w.made["accessor"]
    assert w.made["accessor"] in auth(w).list_accessors()["data"]["keys"]
    raises(e.Forbidden, auth(w).lookup, "hvs.unknown")
    raises(e.InvalidRequest, auth(w).lookup_accessor, "unknown", containing="invalid accessor")


@step("tokens: renew, itself and by accessor, never past the most")
def _(w):
    token = w.made["client_token"]
    assert 7190 < auth(w).renew(token, increment="2h")["auth"]["lease_duration"] <= 7200
    assert w.fresh(token).auth.token.renew_self(increment="30m")["auth"]["lease_duration"] <= 1800
    answer = auth(w).renew_accessor(w.made["accessor"], increment="1h")["auth"]
    assert 3590 < answer["lease_duration"] <= 3600
    short = auth(w).create(ttl="1h", explicit_max_ttl="90m", policies=["default"])["auth"]["client_token"]
    assert auth(w).renew(short, increment="5h")["auth"]["lease_duration"] <= 5400
    fixed = auth(w).create(ttl="1h", renewable=False, policies=["default"])["auth"]["client_token"]
    raises(e.InvalidRequest, auth(w).renew, fixed, containing="not renewable")


@step("tokens: revoke, itself and by accessor")
def _(w):
    assert auth(w).revoke(w.made["client_token"]).status_code == 204
    assert w.fresh(w.made["client_token"]).is_authenticated() is False
    made = auth(w).create(policies=["default"])["auth"]
    assert auth(w).revoke_accessor(made["accessor"]).status_code == 204
    raises(e.Forbidden, auth(w).lookup, made["client_token"])
    client = w.fresh(auth(w).create(policies=["default"])["auth"]["client_token"])
    token = client.token
    client.logout(revoke_token=True)
    assert client.token is None and w.fresh(token).is_authenticated() is False


@step("tokens: so many uses and no more")
def _(w):
    made = auth(w).create(policies=["reader"], num_uses=2)["auth"]
    assert made["num_uses"] == 2
    client = w.fresh(made["client_token"])
    assert client.auth.token.lookup_self()["data"]["num_uses"] == 1
    client.auth.token.lookup_self()
    raises(e.Forbidden, client.auth.token.lookup_self)


@step("tokens: periodic")
def _(w):
    made = auth(w).create(policies=["default"], period="24h")["auth"]
    assert made["lease_duration"] == 86400
    assert auth(w).lookup(made["client_token"])["data"]["period"] == 86400
    renewed = auth(w).renew(made["client_token"], increment="1h")["auth"]
    assert 86390 < renewed["lease_duration"] <= 86400


@step("tokens: children fall with their parent, orphans do not")
def _(w):
    w.client.sys.create_or_update_acl_policy("maker", '''
path "auth/token/create" { capabilities = ["update", "create", "sudo"] }
path "auth/token/create-orphan" { capabilities = ["update", "create", "sudo"] }''')
    w.client.sys.create_or_update_acl_policy("plain-maker", 'path "auth/token/create" { capabilities = ["update"] }')
    plain = w.fresh(auth(w).create(policies=["plain-maker"])["auth"]["client_token"])
    raises(e.InvalidRequest, plain.auth.token.create, policies=["reader"], containing="subset")
    raises(e.InvalidRequest, plain.auth.token.create, no_parent=True)
    parent = w.fresh(auth(w).create(policies=["maker"])["auth"]["client_token"])
    child = parent.auth.token.create(policies=["default"])["auth"]["client_token"]
    orphan = parent.auth.token.create_orphan(policies=["default"])["auth"]
    assert orphan["orphan"] is True
    also = parent.auth.token.create(policies=["default"], no_parent=True)["auth"]["client_token"]
    parent.logout(revoke_token=True)
    assert w.fresh(child).is_authenticated() is False
    assert w.fresh(orphan["client_token"]).is_authenticated() and w.fresh(also).is_authenticated()


@step("tokens: revoke one and orphan its children")
def _(w):
    parent = auth(w).create(policies=["maker"])["auth"]["client_token"]
    child = w.fresh(parent).auth.token.create(policies=["default"])["auth"]["client_token"]
    assert auth(w).revoke_and_orphan_children(parent).status_code == 204
    assert w.fresh(parent).is_authenticated() is False and w.fresh(child).is_authenticated() is True
    assert auth(w).lookup(child)["data"]["orphan"] is True


@step("tokens: roles")
def _(w):
    raises(e.InvalidPath, auth(w).list_roles)
    made = auth(w).create_or_update_role(
        "app", allowed_policies=["reader"], orphan=True, renewable=True, path_suffix="suffix", token_period="1h",
        token_explicit_max_ttl="10h")
    assert made.status_code == 204
    assert auth(w).list_roles()["data"]["keys"] == ["app"]
    role = auth(w).read_role("app")["data"]
    assert role["allowed_policies"] == ["reader"] and role["orphan"] is True and role["path_suffix"] == "suffix"
    assert role["token_period"] == 3600 and role["token_explicit_max_ttl"] == 36000, role
    token = auth(w).create(role_name="app")["auth"]
    assert token["orphan"] is True and "reader" in token["policies"] and token["lease_duration"] == 3600
    assert auth(w).lookup(token["client_token"])["data"]["path"] == "auth/token/create/app/suffix"
    raises(e.InvalidRequest, auth(w).create, role_name="app", policies=["maker"])
    raises(e.InvalidRequest, auth(w).create, role_name="none")
    assert auth(w).delete_role("app").status_code == 204
    raises(e.InvalidPath, auth(w).read_role, "app")


@step("tokens: expired is unknown")
def _(w):
    import time
    token = auth(w).create(policies=["default"], ttl="1s")["auth"]["client_token"]
    until = time.monotonic() + 10
    while w.fresh(token).is_authenticated():
        assert time.monotonic() < until, "a token of one second lives on"
        time.sleep(0.1)


@step("tokens: tidy says that it is not needed")
def _(w):
    raises(e.InvalidPath, auth(w).tidy, containing="removed all the time")
