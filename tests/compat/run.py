#!/usr/bin/env python3
"""hvac and providers' SDKs, unmodified, against a running vaultd over TLS: `run.py VAULTD`."""

import importlib.metadata
import os
import shutil
import sys
import tempfile
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "torture"))

import hvac
import stripe

import steps
# In the order in which they run: the first opens the vault, the last closes it.
import opening, kv_v1, kv_v2, policies, tokens, mounts, devices, jwt_login, sdks, keys
from vault import Daemon, make_certificate, make_config

warnings.simplefilter("ignore", DeprecationWarning)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    directory = tempfile.mkdtemp(prefix="compat-")
    daemon = None
    try:
        cert, key = make_certificate(directory)
        home, config = os.path.join(directory, "home"), os.path.join(directory, "vaultd.hcl")
        make_config(config, "sled", home, cert, key)
        with open(config, "a") as f:
            f.write(f'gateway {{\n  address = "127.0.0.1:0"\n  tls_cert_file = "{cert}"\n  tls_key_file = "{key}"\n}}\n')
        # What each SDK's own documentation says for a CA of one's own.
        os.environ["SSL_CERT_FILE"] = stripe.ca_bundle_path = cert
        daemon = Daemon(os.path.abspath(sys.argv[1]), config, cert, os.path.join(directory, "log"))

        def connect(token=None):
            return hvac.Client(url="https://" + daemon.address, token=token, verify=cert)

        print("hvac " + importlib.metadata.version("hvac"))
        world = steps.World(daemon, connect(), connect, os.path.join(home, "audit"))
        world.pair = cert, key
        good = steps.run(world)
        if not good:
            print(daemon.last_words())
        return 0 if good else 1
    finally:
        if daemon:
            daemon.kill()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    # Environment variables that the clients take defaults from.
    for name in [n for n in os.environ if n.startswith(("VAULT_", "OPENAI_", "ANTHROPIC_", "STRIPE_"))]:
        del os.environ[name]
    sys.exit(main())
