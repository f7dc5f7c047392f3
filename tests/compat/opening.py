"""From nothing to an open vault."""

import hvac.exceptions as e

from steps import raises, step


@step("health: uninitialised is 501")
def _(w):
    answer = w.client.sys.read_health_status(method="GET")
    assert answer.status_code == 501, answer.status_code
    assert answer.json()["initialized"] is False
    assert w.client.sys.read_health_status(method="HEAD").status_code == 501


@step("init: status before")
def _(w):
    assert w.client.sys.read_init_status() == {"initialized": False}
    assert w.client.sys.is_initialized() is False


@step("init: thresholds that cannot be are 400")
def _(w):
    raises(e.InvalidRequest, w.client.sys.initialize, secret_shares=1, secret_threshold=3)
    raises(e.InvalidRequest, w.client.sys.initialize, secret_shares=5, secret_threshold=1)


@step("init: 5 shares, 3 needed")
def _(w):
    answer = w.client.sys.initialize(secret_shares=5, secret_threshold=3)
    assert len(answer["keys"]) == len(answer["keys_base64"]) == 5
    assert answer["root_token"].startswith("hvs.")
    w.keys, w.root = answer["keys"], answer["root_token"]
    assert w.client.sys.is_initialized() is True


@step("init: a second one is 400")
def _(w):
    raises(e.InvalidRequest, w.client.sys.initialize, containing="already initialized")


@step("seal status: sealed, 3 of 5, none given")
def _(w):
    status = w.client.sys.read_seal_status()
    assert status["sealed"] is True and status["initialized"] is True and w.client.sys.is_sealed()
    assert (status["t"], status["n"], status["progress"]) == (3, 5, 0), status
    assert status["type"] == "shamir"
    assert w.client.seal_status["sealed"] is True


@step("sealed: requests are VaultDown, health 503")
def _(w):
    client = w.fresh(w.root)
    raises(e.VaultDown, client.secrets.kv.v2.read_secret_version, "x", raise_on_deleted_version=True, containing="sealed")
    assert client.sys.read_health_status(method="GET").status_code == 503
    assert client.sys.read_health_status(method="GET", sealed_code=299).status_code == 299


@step("unseal: junk is 400")
def _(w):
    raises(e.InvalidRequest, w.client.sys.submit_unseal_key, key="nonsense")


@step("unseal: all keys sent, the third opens")
def _(w):
    first = w.client.sys.submit_unseal_key(key=w.keys[0])
    assert (first["sealed"], first["progress"]) == (True, 1), first
    assert first["nonce"]
    again = w.client.sys.submit_unseal_key(reset=True)
    assert (again["sealed"], again["progress"], again["nonce"]) == (True, 0, ""), again
    last = w.client.sys.submit_unseal_keys(keys=w.keys)
    assert last["sealed"] is False, last
    assert w.client.sys.is_sealed() is False


@step("health: active is 200")
def _(w):
    answer = w.client.sys.read_health_status(method="GET")
    assert answer["initialized"] is True and answer["sealed"] is False and answer["standby"] is False
    assert answer["performance_standby"] is False
    head = w.client.sys.read_health_status(method="HEAD")
    assert head.status_code == 200 and head.text == ""


@step("leader")
def _(w):
    answer = w.client.sys.read_leader_status()
    assert answer["ha_enabled"] is False and "is_self" in answer, answer


@step("authentication: none, wrong, root")
def _(w):
    assert w.client.is_authenticated() is False
    assert w.fresh("hvs.wrong").is_authenticated() is False
    raises(e.Forbidden, w.fresh("hvs.wrong").sys.list_mounted_secrets_engines)
    raises(e.Forbidden, w.client.sys.list_mounted_secrets_engines)
    w.client.token = w.root
    assert w.client.is_authenticated() is True
    assert w.client.lookup_token()["data"]["policies"] == ["root"]
