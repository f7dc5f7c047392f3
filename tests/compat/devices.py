"""Audit devices."""

import json
import os

import hvac.exceptions as e

from steps import raises, step


def devices(w):
    return w.client.sys.list_enabled_audit_devices()


@step("audit: the device of the config is listed")
def _(w):
    answer = devices(w)
    assert answer["data"]["file/"]["type"] == "file" and answer["file/"]["type"] == "file"


@step("audit: enable, records arrive and hide their secrets")
def _(w):
    path = os.path.join(w.audit_dir, "second.log")
    answer = w.client.sys.enable_audit_device("file", path="second", description="two", options={"file_path": path})
    assert answer.status_code == 204
    assert devices(w)["data"]["second/"]["description"] == "two"
    w.client.secrets.kv.v2.create_or_update_secret("audited", {"k": "canary-in-audit"})
    with open(path) as f:
        text = f.read()
    assert "canary-in-audit" not in text and w.root not in text
    records = [json.loads(line) for line in text.splitlines()]
    paths = [r["request"]["path"] for r in records if r.get("type") in ("request", "response")]
    assert paths.count("secret/data/audited") == 2, paths
    hashed = w.client.sys.calculate_hash("second", "canary-in-audit")["data"]["hash"]
    assert hashed.startswith("hmac-sha256:") and hashed in text


@step("audit: a second device of a name, a file elsewhere, an unknown type are 400")
def _(w):
    path = os.path.join(w.audit_dir, "third.log")
    enable = w.client.sys.enable_audit_device
    raises(e.InvalidRequest, enable, "file", path="second", options={"file_path": path})
    raises(e.InvalidRequest, enable, "file", path="third", options={"file_path": "/tmp/elsewhere.log"})
    raises(e.InvalidRequest, enable, "nonsense", path="third", options={"file_path": path})


@step("audit: disable")
def _(w):
    assert w.client.sys.disable_audit_device("second").status_code == 204
    assert "second/" not in devices(w)["data"]
