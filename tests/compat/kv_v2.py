"""KV version 2."""

import hvac.exceptions as e

from steps import raises, step


def kv(w):
    return w.client.secrets.kv.v2


def read(w, path, **kwargs):
    return kv(w).read_secret_version(path, raise_on_deleted_version=True, **kwargs)


@step("kv v2: enable, found by option")
def _(w):
    w.client.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
    assert w.client.sys.retrieve_mount_option("secret", "version") == "2"
    assert w.client.secrets.kv.default_kv_version == "2"


@step("kv v2: configuration")
def _(w):
    before = kv(w).read_configuration()["data"]
    assert before["cas_required"] is False and before["delete_version_after"] == "0s", before
    assert kv(w).configure(max_versions=5, delete_version_after="3h", cas_required=False).status_code == 204
    after = kv(w).read_configuration()["data"]
    assert (after["max_versions"], after["delete_version_after"]) == (5, "3h0m0s"), after
    kv(w).configure(max_versions=0, delete_version_after="0s", cas_required=False)


@step("kv v2: read of nothing is InvalidPath")
def _(w):
    raises(e.InvalidPath, read, w, "none")
    raises(e.InvalidPath, kv(w).read_secret_metadata, "none")
    raises(e.InvalidPath, kv(w).list_secrets, "")


@step("kv v2: create, read, types kept")
def _(w):
    secret = {"s": "ü\n\"", "n": 12345678901234567890, "b": False, "l": ["x", None], "o": {"k": []}}
    made = kv(w).create_or_update_secret("app/db", secret)["data"]
    assert made["version"] == 1 and made["destroyed"] is False and made["deletion_time"] == "", made
    assert made["created_time"] and made["custom_metadata"] is None
    got = read(w, "app/db")["data"]
    assert got["data"] == secret and got["metadata"]["version"] == 1
    assert kv(w).read_secret("app/db", raise_on_deleted_version=True)["data"]["data"] == secret


@step("kv v2: versions")
def _(w):
    for n in (2, 3):
        assert kv(w).create_or_update_secret("app/db", {"n": n})["data"]["version"] == n
    assert read(w, "app/db")["data"]["data"] == {"n": 3}
    assert read(w, "app/db", version=2)["data"]["data"] == {"n": 2}
    raises(e.InvalidPath, read, w, "app/db", version=9)


@step("kv v2: check-and-set")
def _(w):
    raises(e.InvalidRequest, kv(w).create_or_update_secret, "app/db", {"n": 0}, cas=1,
           containing="check-and-set parameter did not match the current version")
    raises(e.InvalidRequest, kv(w).create_or_update_secret, "app/db", {"n": 0}, cas=0)
    assert kv(w).create_or_update_secret("app/db", {"n": 4}, cas=3)["data"]["version"] == 4
    assert kv(w).create_or_update_secret("app/new", {"n": 1}, cas=0)["data"]["version"] == 1
    kv(w).configure(cas_required=True)
    raises(e.InvalidRequest, kv(w).create_or_update_secret, "app/new", {"n": 2},
           containing="check-and-set parameter required for this call")
    kv(w).configure(max_versions=0, cas_required=False)


@step("kv v2: patch keeps what it does not name")
def _(w):
    kv(w).create_or_update_secret("app/patch", {"a": "1", "b": "2"})
    assert kv(w).patch("app/patch", {"b": "3", "c": "4"})["data"]["version"] == 2
    assert read(w, "app/patch")["data"]["data"] == {"a": "1", "b": "3", "c": "4"}
    raises(e.InvalidPath, kv(w).patch, "app/none", {"a": "1"}, containing="patch only works on existing data")


@step("kv v2: delete the latest, and its metadata in the 404")
def _(w):
    assert kv(w).delete_latest_version_of_secret("app/db").status_code == 204
    error = raises(e.InvalidPath, read, w, "app/db")
    assert error.json["data"]["data"] is None and error.json["data"]["metadata"]["deletion_time"] != ""
    kept = kv(w).read_secret_version("app/db", raise_on_deleted_version=False)
    assert kept["data"]["metadata"]["version"] == 4 and kept["data"]["data"] is None
    assert read(w, "app/db", version=3)["data"]["data"] == {"n": 3}


@step("kv v2: undelete")
def _(w):
    assert kv(w).undelete_secret_versions("app/db", versions=[4]).status_code == 204
    assert read(w, "app/db")["data"]["data"] == {"n": 4}


@step("kv v2: delete and undelete by version")
def _(w):
    assert kv(w).delete_secret_versions("app/db", versions=[1, 2]).status_code == 204
    raises(e.InvalidPath, read, w, "app/db", version=1)
    assert kv(w).undelete_secret_versions("app/db", versions=[1]).status_code == 204
    assert read(w, "app/db", version=1)["data"]["metadata"]["version"] == 1
    raises(e.InvalidPath, read, w, "app/db", version=2)


@step("kv v2: destroy cannot be undone")
def _(w):
    assert kv(w).destroy_secret_versions("app/db", versions=[3]).status_code == 204
    error = raises(e.InvalidPath, read, w, "app/db", version=3)
    assert error.json["data"]["metadata"]["destroyed"] is True
    kv(w).undelete_secret_versions("app/db", versions=[3])
    raises(e.InvalidPath, read, w, "app/db", version=3)


@step("kv v2: metadata")
def _(w):
    data = kv(w).read_secret_metadata("app/db")["data"]
    assert (data["current_version"], data["oldest_version"]) == (4, 0), data
    assert sorted(data["versions"]) == ["1", "2", "3", "4"]
    assert data["versions"]["2"]["deletion_time"] and data["versions"]["3"]["destroyed"] is True
    assert data["cas_required"] is False and data["max_versions"] == 0


@step("kv v2: metadata, update")
def _(w):
    answer = kv(w).update_metadata(
        "app/db", max_versions=2, cas_required=True, delete_version_after="768h", custom_metadata={"owner": "me"})
    assert answer.status_code == 204
    data = kv(w).read_secret_metadata("app/db")["data"]
    assert (data["max_versions"], data["cas_required"], data["custom_metadata"]) == (2, True, {"owner": "me"}), data
    assert data["delete_version_after"] == "768h0m0s"
    raises(e.InvalidRequest, kv(w).create_or_update_secret, "app/db", {"n": 5})
    kv(w).create_or_update_secret("app/db", {"n": 5}, cas=4)
    got = read(w, "app/db")["data"]["metadata"]
    assert got["custom_metadata"] == {"owner": "me"} and got["deletion_time"] != "", got
    got = kv(w).read_secret_metadata("app/db")["data"]
    assert (sorted(got["versions"]), got["oldest_version"]) == (["4", "5"], 4), got


@step("kv v2: metadata may precede data")
def _(w):
    kv(w).update_metadata("app/empty", custom_metadata={"k": "v"})
    assert kv(w).read_secret_metadata("app/empty")["data"]["current_version"] == 0
    raises(e.InvalidPath, read, w, "app/empty")


@step("kv v2: ten versions are kept")
def _(w):
    for n in range(1, 13):
        kv(w).create_or_update_secret("many", {"n": n})
    data = kv(w).read_secret_metadata("many")["data"]
    assert (data["oldest_version"], data["current_version"], len(data["versions"])) == (3, 12, 10), data
    raises(e.InvalidPath, read, w, "many", version=2)


@step("kv v2: list")
def _(w):
    assert kv(w).list_secrets("")["data"]["keys"] == ["app/", "many"]
    assert kv(w).list_secrets("app")["data"]["keys"] == ["db", "empty", "new", "patch"]


@step("kv v2: delete everything of a key")
def _(w):
    assert kv(w).delete_metadata_and_all_versions("many").status_code == 204
    raises(e.InvalidPath, kv(w).read_secret_metadata, "many")
    raises(e.InvalidPath, read, w, "many")
    assert kv(w).create_or_update_secret("many", {"n": 1})["data"]["version"] == 1


@step("kv v2: a v1 call on a v2 mount is told so")
def _(w):
    error = raises(e.InvalidPath, w.client.secrets.kv.v1.read_secret, "app", mount_point="secret")
    assert "Invalid path for a versioned K/V secrets engine" in str(error.json) + str(error.text), error.text
