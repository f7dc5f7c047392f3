"""The barrier key, the shares, and the end."""

import hvac.exceptions as e

from steps import raises, step


@step("key status and rotate")
def _(w):
    before = w.client.sys.get_encryption_key_status()
    assert before["data"]["term"] == before["term"] and before["data"]["install_time"], before
    assert w.client.key_status["term"] == before["term"]
    answer = w.client.sys.rotate_encryption_key()
    assert answer.status_code in (200, 204) if hasattr(answer, "status_code") else answer["data"]
    assert w.client.sys.get_encryption_key_status()["data"]["term"] == before["term"] + 1
    got = w.client.secrets.kv.v2.read_secret_version("app/patch", raise_on_deleted_version=True)
    assert got["data"]["data"]["a"] == "1"


@step("rekey: status, start, cancel")
def _(w):
    assert w.client.sys.read_rekey_progress()["started"] is False
    started = w.client.sys.start_rekey(secret_shares=3, secret_threshold=2)
    assert started["started"] is True and (started["n"], started["t"], started["required"]) == (3, 2, 3), started
    raises(e.InvalidRequest, w.client.sys.start_rekey, secret_shares=3, secret_threshold=2)
    assert w.client.rekey_status["nonce"] == started["nonce"]
    assert w.client.sys.cancel_rekey().status_code == 204
    assert w.client.sys.read_rekey_progress()["started"] is False


@step("rekey: from 5/3 to 3/2, verified")
def _(w):
    nonce = w.client.sys.start_rekey(secret_shares=3, secret_threshold=2, require_verification=True)["nonce"]
    raises(e.InvalidRequest, w.client.sys.rekey, w.keys[0], nonce="wrong")
    assert w.client.sys.rekey(w.keys[0], nonce=nonce)["progress"] == 1
    answer = w.client.sys.rekey_multi(w.keys[1:3], nonce=nonce)
    assert answer["complete"] is True and len(answer["keys"]) == 3 and answer["verification_required"] is True, answer
    new, verify = answer["keys"], answer["verification_nonce"]
    assert w.client.sys.read_rekey_verify_progress()["nonce"] == verify
    again = w.client.sys.cancel_rekey_verify()
    again = again.json() if hasattr(again, "json") else again
    assert again["nonce"] not in ("", verify) and again["progress"] == 0, again
    verify = again["nonce"]
    done = w.client.sys.rekey_verify_multi(new[:2], nonce=verify)
    assert done["complete"] is True, done
    w.old_keys, w.keys = w.keys, new


@step("seal: everything is VaultDown")
def _(w):
    assert w.client.sys.seal().status_code == 204
    assert w.client.sys.is_sealed() is True
    raises(e.VaultDown, w.client.sys.list_mounted_secrets_engines)
    raises(e.VaultDown, w.client.auth.token.lookup_self)


@step("unseal with the new shares only")
def _(w):
    raises(e.InvalidRequest, w.client.sys.submit_unseal_key, key=w.old_keys[0])
    assert w.client.sys.submit_unseal_key(key=w.keys[2])["progress"] == 1
    assert w.client.sys.submit_unseal_key(key=w.keys[0])["sealed"] is False
    got = w.client.secrets.kv.v2.read_secret_version("app/patch", raise_on_deleted_version=True)
    assert got["data"]["data"]["a"] == "1"


@step("the root token may end itself")
def _(w):
    w.client.logout(revoke_token=True)
    assert w.fresh(w.root).is_authenticated() is False
