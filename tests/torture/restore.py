#!/usr/bin/env python3
"""A vault whose disk is destroyed comes back from a snapshot, byte for byte, on another path and the other backend.

  tests/torture/restore.py --vaultd target/debug/vaultd [--secrets 10000] [--backend sled|redb]

While the snapshot is taken, secrets are written; each of the old ones must be in it as it was, every token of then must be
dead, and so must a one-time code that was used after it.
"""

import argparse
import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from vault import Client, Daemon, Refused, make_certificate, make_config

WRITERS = 4


def value(n):
    """The secret of number `n`: up to 3 KB, of every kind of character."""
    seed = hashlib.sha256(str(n).encode()).digest()
    raw = (seed * (1 + n % 96))[: 1 + (n * 37) % 3000]
    return {"n": n, "bytes": base64.b64encode(raw).decode(), "text": f"é\u0000{n}\U0001f511"}


def in_parallel(daemon, token, count, work):
    failures = []

    def run(first):
        client = daemon.client(token)
        try:
            for n in range(first, count, WRITERS):
                work(client, n)
        except Exception as e:  # noqa: BLE001 the main thread reports it
            failures.append(e)
        finally:
            client.close()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(WRITERS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]


def download(daemon, token, path):
    client = Client(daemon.address, daemon.context, token)
    client.connection.request("GET", "/v1/sys/storage/snapshot", None, {"X-Vault-Token": token})
    answer = client.connection.getresponse()
    assert answer.status == 200, answer.read()
    with open(path, "wb") as f:
        shutil.copyfileobj(answer, f)
    client.close()


def root_with_shares(daemon, socket, share):
    """generate-root through the operator's socket, as the command line does it."""
    import http.client
    import json
    import socket as sockets

    connection = http.client.HTTPConnection("localhost")
    connection.sock = sockets.socket(sockets.AF_UNIX)
    connection.sock.connect(socket)
    connection.request("PUT", "/v1/sys/generate-root/attempt", b"{}", {"Content-Type": "application/json"})
    answer = connection.getresponse()
    started = json.loads(answer.read())
    assert answer.status == 200, started
    connection.close()
    done = daemon.call("PUT", "sys/generate-root/update", {"key": share, "nonce": started["nonce"]})
    encoded = done["encoded_token"].rstrip("=")
    raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4))
    return bytes(a ^ b for a, b in zip(raw, started["otp"].encode())).decode()


def refused(daemon, token, path, status):
    try:
        daemon.call("GET", path, None, token)
    except Refused as e:
        assert e.status == status, e
        return
    raise AssertionError(f"{path} was served")


def vault_at(directory, name, backend):
    home = os.path.join(directory, name)
    os.makedirs(home)
    cert, key = make_certificate(home)
    config = os.path.join(home, "vaultd.hcl")
    make_config(config, backend, home, cert, key)
    socket = os.path.join(home, "operator.sock")
    with open(config, "a") as f:
        f.write(f'listener "unix" {{ address = "{socket}" }}\n')
    return home, config, cert, socket


def trial(binary, source, target, secrets):
    figures = {}
    with tempfile.TemporaryDirectory() as directory:
        home, config, cert, _ = vault_at(directory, "old", source)
        daemon = Daemon(binary, config, cert, os.path.join(directory, "old.log"))
        share, root = daemon.init()
        at = time.monotonic()
        in_parallel(daemon, root, secrets, lambda c, n: c.call("POST", f"secret/data/s/{n}", {"data": value(n)}))
        figures["written_s"] = time.monotonic() - at
        daemon.call("POST", "sys/mounts/totp", {"type": "totp"}, root)
        daemon.call("POST", "totp/keys/k", {"generate": True, "issuer": "i", "account_name": "a", "period": 3600}, root)
        app = daemon.call("POST", "auth/token/create", {"num_uses": 100}, root)["auth"]["client_token"]
        file = os.path.join(directory, "vault.snap")
        stop = threading.Event()
        written = [0]

        def write_on():
            client = daemon.client(root)
            while not stop.is_set():
                client.call("POST", f"secret/data/other/{written[0] % 50}", {"data": {"x": "y" * 2000}})
                written[0] += 1
            client.close()

        writer = threading.Thread(target=write_on)
        writer.start()
        at = time.monotonic()
        download(daemon, root, file)
        figures["snapshot_s"] = time.monotonic() - at
        stop.set()
        writer.join()
        figures["writes_meanwhile"] = written[0]
        figures["snapshot_bytes"] = os.path.getsize(file)
        code = daemon.call("GET", "totp/code/k", None, root)["data"]["code"]
        assert daemon.call("POST", "totp/code/k", {"code": code}, root)["data"]["valid"]
        # The disk is gone, anchor and all.
        daemon.process.kill()
        daemon.process.wait()
        shutil.rmtree(home)

        home, config, cert, socket = vault_at(directory, "new", target)
        at = time.monotonic()
        subprocess.run([binary, "storage", "restore", f"-config={config}", file], check=True, stdout=subprocess.DEVNULL)
        daemon = Daemon(binary, config, cert, os.path.join(directory, "new.log"))
        daemon.call("PUT", "sys/unseal", {"key": share, "accept_rollback": True})
        figures["restore_s"] = time.monotonic() - at
        for token in (root, app):
            refused(daemon, token, "auth/token/lookup-self", 403)
        root = root_with_shares(daemon, socket, share)

        def same(client, n):
            found = client.call("GET", f"secret/data/s/{n}")["data"]["data"]
            assert found == value(n), f"secret {n} differs"

        in_parallel(daemon, root, secrets, same)
        try:
            daemon.call("POST", "totp/code/k", {"code": code}, root)
            raise AssertionError("a used code was accepted again")
        except Refused as e:
            assert e.status == 400 and "already used" in e.text, e
        daemon.process.terminate()
        assert daemon.process.wait() == 0
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vaultd", required=True)
    parser.add_argument("--secrets", type=int, default=300)
    parser.add_argument("--backend", choices=["sled", "redb"], help="only from this one")
    args = parser.parse_args()
    for source, target in (("sled", "redb"), ("redb", "sled")):
        if args.backend in (None, source):
            figures = trial(os.path.abspath(args.vaultd), source, target, args.secrets)
            shown = ", ".join(f"{k} {v:.1f}" if isinstance(v, float) else f"{k} {v}" for k, v in figures.items())
            print(f"{source} -> {target}: {args.secrets} secrets, every one as it was; {shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
