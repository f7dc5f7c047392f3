"""Secrets engines and auth methods: enable, list, tune, disable."""

import hvac.exceptions as e

from steps import raises, step


@step("secrets engines: list")
def _(w):
    answer = w.client.sys.list_mounted_secrets_engines()
    data = answer["data"]
    assert {"secret/", "plain/", "cubbyhole/", "sys/"} <= set(data), set(data)
    assert answer["secret/"]["type"] == "kv", "hvac's older calls read the top level"
    entry = data["secret/"]
    assert entry["options"] == {"version": "2"} and entry["uuid"] and entry["accessor"].startswith("kv_")
    assert {"default_lease_ttl", "max_lease_ttl", "force_no_cache"} <= set(entry["config"])


@step("secrets engines: enable, with description and config")
def _(w):
    answer = w.client.sys.enable_secrets_engine(
        "kv", path="tuned", description="some", config={"default_lease_ttl": "1h", "max_lease_ttl": "2h"})
    assert answer.status_code == 204
    entry = w.client.sys.list_mounted_secrets_engines()["data"]["tuned/"]
    assert entry["description"] == "some" and entry["config"]["default_lease_ttl"] == 3600, entry


@step("secrets engines: a taken path, an unknown type, a reserved path are 400")
def _(w):
    raises(e.InvalidRequest, w.client.sys.enable_secrets_engine, "kv", path="tuned", containing="path is already in use")
    raises(e.InvalidRequest, w.client.sys.enable_secrets_engine, "kv", path="tuned/below")
    raises(e.InvalidRequest, w.client.sys.enable_secrets_engine, "nonsense", path="other")
    raises(e.InvalidRequest, w.client.sys.enable_secrets_engine, "kv", path="sys/x")


@step("secrets engines: read and tune the configuration")
def _(w):
    data = w.client.sys.read_mount_configuration("tuned")["data"]
    assert (data["default_lease_ttl"], data["max_lease_ttl"]) == (3600, 7200), data
    answer = w.client.sys.tune_mount_configuration("tuned", default_lease_ttl="30m", max_lease_ttl="3h", description="new")
    assert answer.status_code == 204
    data = w.client.sys.read_mount_configuration("tuned")["data"]
    assert (data["default_lease_ttl"], data["max_lease_ttl"], data["description"]) == (1800, 10800, "new"), data


@step("secrets engines: disable takes the secrets along")
def _(w):
    kv = w.client.secrets.kv.v1
    kv.create_or_update_secret("x", {"k": "v"}, mount_point="tuned")
    assert w.client.sys.disable_secrets_engine("tuned").status_code == 204
    assert "tuned/" not in w.client.sys.list_mounted_secrets_engines()["data"]
    raises(e.InvalidPath, kv.read_secret, "x", mount_point="tuned", containing="no handler for route")
    w.client.sys.enable_secrets_engine("kv", path="tuned")
    raises(e.InvalidPath, kv.read_secret, "x", mount_point="tuned")
    w.client.sys.disable_secrets_engine("tuned")
    assert w.client.sys.disable_secrets_engine("tuned").status_code == 204, "once more is no error"
    raises(e.InvalidRequest, w.client.sys.disable_secrets_engine, "sys")


@step("auth methods: list")
def _(w):
    answer = w.client.sys.list_auth_methods()
    assert answer["data"]["token/"]["type"] == "token" and answer["token/"]["type"] == "token"


@step("auth methods: enable, tune, read, disable")
def _(w):
    assert w.client.sys.enable_auth_method("jwt", path="second", description="d").status_code == 204
    assert w.client.sys.list_auth_methods()["data"]["second/"]["description"] == "d"
    raises(e.InvalidRequest, w.client.sys.enable_auth_method, "jwt", path="second", containing="path is already in use")
    assert w.client.sys.tune_auth_method("second", default_lease_ttl="20m", description="e").status_code == 204
    tuning = w.client.sys.read_auth_method_tuning("second")["data"]
    assert tuning["default_lease_ttl"] == 1200 and tuning["description"] == "e", tuning
    assert w.client.sys.disable_auth_method("second").status_code == 204
    assert "second/" not in w.client.sys.list_auth_methods()["data"]
    raises(e.InvalidRequest, w.client.sys.enable_auth_method, "nonsense")


@step("built-in mounts, login methods below sys/mounts, a name with a space")
def _(w):
    sys = w.client.sys
    assert sys.tune_auth_method("token", default_lease_ttl="700h", description="tokens").status_code == 204
    assert sys.read_auth_method_tuning("token")["data"]["default_lease_ttl"] == 700 * 3600
    assert sys.tune_auth_method("token", default_lease_ttl="system").status_code == 204
    assert sys.read_mount_configuration("auth/token")["data"]["default_lease_ttl"] == 768 * 3600
    assert sys.tune_mount_configuration("cubbyhole", description="mine").status_code == 204
    assert sys.enable_secrets_engine("kv", path="my team").status_code == 204
    tuned = sys.tune_mount_configuration("my team", passthrough_request_headers=["X-A"], max_lease_ttl="")
    assert tuned.status_code == 204
    assert sys.read_mount_configuration("my team")["data"]["passthrough_request_headers"] == ["X-A"]
    assert sys.disable_secrets_engine("my team").status_code == 204
    raises(e.InvalidRequest, sys.enable_secrets_engine, "cubbyhole", path="mine", containing="not mountable")
    raises(e.InvalidRequest, sys.read_mount_configuration, "none", containing="cannot fetch sysview")


@step("what is not built says so")
def _(w):
    error = raises(e.InvalidPath, w.client.sys.unwrap, "hvs.x")
    assert "not supported" in str(error), error
