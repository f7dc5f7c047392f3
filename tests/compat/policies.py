"""Policies, and what they do to a token."""

import hvac.exceptions as e

from steps import raises, step
from vault import Refused

READER = 'path "secret/data/app/*" {\n  capabilities = ["read"]\n}\n'
LEGACY = {"path": {"plain/*": {"policy": "write"}}}


@step("policies: default and root are there")
def _(w):
    assert set(w.client.sys.list_policies()["data"]["policies"]) == {"default", "root"}
    assert set(w.client.sys.list_acl_policies()["data"]["keys"]) == {"default", "root"}


@step("policies: acl create, read, list")
def _(w):
    assert w.client.sys.create_or_update_acl_policy("reader", READER).status_code == 204
    answer = w.client.sys.read_acl_policy("reader")["data"]
    assert (answer["name"], answer["policy"]) == ("reader", READER)
    assert "reader" in w.client.sys.list_acl_policies()["data"]["keys"]
    assert w.client.sys.read_policy("reader")["data"]["rules"] == READER


@step("policies: legacy create (JSON, old rules), read, list")
def _(w):
    assert w.client.sys.create_or_update_policy("legacy", LEGACY).status_code == 204
    answer = w.client.sys.read_policy("legacy")
    assert answer["data"]["name"] == "legacy" and answer["rules"] == answer["data"]["rules"]
    listed = w.client.sys.list_policies()
    assert "legacy" in listed["data"]["policies"] and "legacy" in listed["policies"]
    assert w.client.get_policy("legacy", parse=False) == answer["data"]["rules"]


@step("policies: nonsense is 400, root cannot be changed, default cannot be deleted")
def _(w):
    raises(e.InvalidRequest, w.client.sys.create_or_update_acl_policy, "bad", 'path "x" { capabilities = ["fly"] }')
    raises(e.InvalidRequest, w.client.sys.create_or_update_acl_policy, "bad", "path {")
    raises(e.InvalidRequest, w.client.sys.create_or_update_acl_policy, "root", READER)
    raises(e.InvalidRequest, w.client.sys.delete_acl_policy, "default")
    raises(e.InvalidRequest, w.client.sys.delete_acl_policy, "root")


@step("policies: what they allow and nothing beside it")
def _(w):
    token = w.client.auth.token.create(policies=["reader"], ttl="1h")["auth"]["client_token"]
    reader = w.fresh(token)
    kv = reader.secrets.kv.v2
    assert kv.read_secret_version("app/patch", raise_on_deleted_version=True)["data"]["data"]["a"] == "1"
    raises(e.Forbidden, kv.create_or_update_secret, "app/patch", {"x": "y"}, containing="permission denied")
    raises(e.Forbidden, kv.read_secret_version, "many", raise_on_deleted_version=True)
    raises(e.Forbidden, kv.list_secrets, "app")
    raises(e.Forbidden, reader.sys.list_mounted_secrets_engines)
    writer = w.fresh(w.client.auth.token.create(policies=["legacy"])["auth"]["client_token"])
    writer.secrets.kv.v1.create_or_update_secret("by/legacy", {"k": "v"}, mount_point="plain")
    assert writer.secrets.kv.v1.read_secret("by/legacy", mount_point="plain")["data"] == {"k": "v"}


@step("capabilities: of oneself, of a token, of an accessor")
def _(w):
    auth = w.client.auth.token.create(policies=["reader"])["auth"]
    paths = ["secret/data/app/x", "secret/data/other", "plain/x"]
    for answer in (
        w.fresh(auth["client_token"]).sys.get_capabilities(paths),
        w.client.sys.get_capabilities(paths, token=auth["client_token"]),
        w.client.sys.get_capabilities(paths, accessor=auth["accessor"]),
    ):
        data = answer["data"]
        assert data["secret/data/app/x"] == ["read"] and data["secret/data/other"] == ["deny"], data
        assert data["plain/x"] == ["deny"] and data["capabilities"] == ["read"]
    assert w.client.sys.get_capabilities(["secret/x"])["data"]["secret/x"] == ["root"]


@step("policies: a trailing slash is no way round a rule")
def _(w):
    w.client.sys.create_or_update_acl_policy("almost", '''
path "sys/policies/acl/*" { capabilities = ["create", "read", "update", "delete", "sudo"] }
path "sys/policies/acl/reader" { capabilities = ["deny"] }''')
    token = w.client.auth.token.create(policies=["almost"])["auth"]["client_token"]
    for path in ("sys/policies/acl/reader", "sys/policies/acl/reader/"):
        for method, body in (("GET", None), ("DELETE", None), ("POST", {"policy": READER}), ("PUT", {"policy": READER})):
            # Not through hvac, which takes the slash away.
            refused = raises(Refused, w.daemon.call, method, path, body, token)
            # Reading `x/` is judged, and answered, under that name: nothing is there.
            assert refused.status in ((403, 404) if method == "GET" else (400, 403)), f"{method} {path}: {refused}"
    assert w.client.sys.read_acl_policy("reader")["data"]["policy"] == READER
    w.client.sys.delete_acl_policy("almost")


@step("policies: delete")
def _(w):
    assert w.client.sys.delete_acl_policy("legacy").status_code == 204
    raises(e.InvalidPath, w.client.sys.read_acl_policy, "legacy")
    raises(e.InvalidPath, w.client.sys.read_policy, "legacy")
    w.client.sys.create_or_update_policy("legacy", READER)
    assert w.client.sys.delete_policy("legacy").status_code == 204
    assert "legacy" not in w.client.sys.list_acl_policies()["data"]["keys"]
