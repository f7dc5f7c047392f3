"""KV version 1."""

import hvac.exceptions as e

from steps import raises, step
from vault import Refused

AT = "plain"


def kv(w):
    return w.client.secrets.kv.v1


@step("kv v1: enable")
def _(w):
    answer = w.client.sys.enable_secrets_engine("kv", path=AT, options={"version": "1"})
    assert answer.status_code == 204
    assert w.client.sys.retrieve_mount_option(AT, "version") == "1"


@step("kv v1: read and list of nothing are InvalidPath")
def _(w):
    raises(e.InvalidPath, kv(w).read_secret, "none", mount_point=AT)
    raises(e.InvalidPath, kv(w).list_secrets, "", mount_point=AT)


@step("kv v1: create, read, types kept")
def _(w):
    secret = {"s": "ü\n\"", "n": 12345678901234567890, "f": 1.5, "b": True, "l": [1, None], "o": {"k": {}}}
    assert kv(w).create_or_update_secret("app/one", secret, mount_point=AT).status_code == 204
    answer = kv(w).read_secret("app/one", mount_point=AT)
    assert answer["data"] == secret, answer["data"]
    assert answer["lease_duration"] == 2764800 and answer["renewable"] is False
    assert answer["request_id"] and answer["lease_id"] == ""


@step("kv v1: replace, with either method")
def _(w):
    for method, value in ((None, "2"), ("POST", "3"), ("PUT", "4")):
        kv(w).create_or_update_secret("app/one", {"v": value}, method=method, mount_point=AT)
        assert kv(w).read_secret("app/one", mount_point=AT)["data"] == {"v": value}


@step("kv v1: list, folders end in a slash")
def _(w):
    kv(w).create_or_update_secret("app/two/deep", {"k": "v"}, mount_point=AT)
    kv(w).create_or_update_secret("zero", {"k": "v"}, mount_point=AT)
    assert kv(w).list_secrets("", mount_point=AT)["data"]["keys"] == ["app/", "zero"]
    assert kv(w).list_secrets("app", mount_point=AT)["data"]["keys"] == ["one", "two/"]


@step("kv v1: generic read, write, list, delete")
def _(w):
    assert w.client.write_data(f"{AT}/generic", data={"a": "b"}).status_code == 204
    assert w.client.read(f"{AT}/generic")["data"] == {"a": "b"}
    assert "generic" in w.client.list(AT)["data"]["keys"]
    w.client.delete(f"{AT}/generic")
    assert w.client.read(f"{AT}/generic") is None
    assert w.client.list(f"{AT}/none") is None


@step("kv v1: a folder is not a secret")
def _(w):
    for path in ("", "app", "app/two"):
        raises(e.InvalidPath, kv(w).read_secret, path, mount_point=AT)
        # Not through hvac, which takes the slash away.
        for method, status in (("GET", 404), ("POST", 400), ("PUT", 400), ("DELETE", 400)):
            body = {"k": "v"} if status == 400 else None
            refused = raises(Refused, w.daemon.call, method, f"{AT}/{path}/".replace("//", "/"), body, w.root)
            assert refused.status == status, f"{method} {path}/: {refused}"
    assert w.client.read(AT) is None
    raises(e.InvalidRequest, w.client.write_data, AT, data={"k": "v"})


@step("kv v1: delete, twice")
def _(w):
    for _ in range(2):
        assert kv(w).delete_secret("app/one", mount_point=AT).status_code == 204
    raises(e.InvalidPath, kv(w).read_secret, "app/one", mount_point=AT)
    assert kv(w).list_secrets("app", mount_point=AT)["data"]["keys"] == ["two/"]


@step("cubbyhole: a token's own")
def _(w):
    w.client.write_data("cubbyhole/mine", data={"k": "v"})
    assert w.client.read("cubbyhole/mine")["data"] == {"k": "v"}
    other = w.fresh(w.client.auth.token.create(policies=["default"])["auth"]["client_token"])
    assert other.read("cubbyhole/mine") is None
    w.client.delete("cubbyhole/mine")
