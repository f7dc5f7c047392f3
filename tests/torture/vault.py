"""A vaultd process under torture, and the thinnest client for it. Standard library only."""

import http.client
import json
import os
import resource
import signal
import ssl
import subprocess
import threading
import time

PATIENCE = 30.0
POLL = 0.002


class Refused(Exception):
    """The daemon answered, but not with success."""

    def __init__(self, status, text):
        super().__init__(f"{status} {text[:300]}")
        self.status = status
        self.text = text


class Unopenable(Exception):
    """The daemon did not start, or did not unseal, or took the store for a new one."""


def make_certificate(directory):
    """A self-signed certificate for 127.0.0.1: (certificate, key), both PEM files."""
    cert, key = os.path.join(directory, "server.pem"), os.path.join(directory, "server-key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-addext", "basicConstraints=critical,CA:TRUE", "-out", cert, "-keyout", key],
        check=True, stderr=subprocess.DEVNULL)
    return cert, key


def make_config(path, backend, home, cert, key):
    """A config whose store, anchor and audit file all lie below `home`."""
    audit = os.path.join(home, "audit")
    os.makedirs(audit, exist_ok=True)
    with open(path, "w") as f:
        f.write(f'''storage "{backend}" {{
  path = "{home}/data"
}}
state_dir = "{home}/state"
listener "tcp" {{
  address       = "127.0.0.1:0"
  tls_cert_file = "{cert}"
  tls_key_file  = "{key}"
}}
audit_dirs = ["{audit}"]
audit "file" "file" {{ options = {{ file_path = "{audit}/audit.log" }} }}
''')


class Client:
    """One keep-alive connection."""

    def __init__(self, address, context, token=""):
        self.token = token
        host, port = address.rsplit(":", 1)
        self.connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=PATIENCE)

    def call(self, method, path, body=None):
        """The answer's JSON; Refused on 4xx and 5xx; OSError or HTTPException when there is none."""
        headers = {"X-Vault-Token": self.token} if self.token else {}
        payload = None if body is None else json.dumps(body).encode()
        self.connection.request(method, "/v1/" + path, payload, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise Refused(answer.status, text.decode("utf-8", "replace"))
        return json.loads(text) if text else {}

    def close(self):
        self.connection.close()


class Daemon:
    """A running vaultd; `wrapper` is a command to run it under, such as strace; `nofile` its descriptors."""

    def __init__(self, binary, config, cert, log, wrapper=(), nofile=None):
        self.context = ssl.create_default_context(cafile=cert)
        self.log = log
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))

        with open(log, "ab") as err:
            self.process = subprocess.Popen(
                [*wrapper, binary, "server", "-config=" + config],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err,
                preexec_fn=limit if nofile else None)
        timer = threading.Timer(PATIENCE, self.process.kill)
        timer.start()
        self.address = self.gateway = None
        for line in self.process.stdout:
            words = line.decode().split()
            if words[:2] == ["vaultd", "ready:"]:
                self.address = next(w for w in words if w.startswith("api=")).removeprefix("api=https://")
                self.gateway = next((w.removeprefix("gateway=https://") for w in words if w.startswith("gateway=")), None)
                break
        timer.cancel()
        if self.address is None:
            raise Unopenable(f"did not start, exit code {self.process.wait()}: {self.last_words()}")
        self.pid = self._child() if wrapper else self.process.pid

    def _child(self):
        pid = self.process.pid
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return int(f.read().split()[0])

    def last_words(self):
        with open(self.log, "rb") as f:
            return f.read()[-2000:].decode("utf-8", "replace")

    def client(self, token=""):
        return Client(self.address, self.context, token)

    def call(self, method, path, body=None, token=""):
        client = self.client(token)
        try:
            return client.call(method, path, body)
        finally:
            client.close()

    def init(self):
        """A new vault, unsealed, with KV v2 at `secret/`: (share, root token)."""
        answer = self.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        share, token = answer["keys"][0], answer["root_token"]
        self.unseal(share)
        self.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}}, token)
        return share, token

    def unseal(self, share):
        """Opens an initialised vault; what stands in the way is Unopenable."""
        try:
            if not self.call("GET", "sys/seal-status")["initialized"]:
                raise Unopenable("reports itself uninitialised")
            if self.call("PUT", "sys/unseal", {"key": share})["sealed"]:
                raise Unopenable("still sealed")
        except (Refused, OSError, http.client.HTTPException) as e:
            raise Unopenable(f"does not unseal: {e}") from e

    def freeze(self):
        """Stops every thread, and returns when they have stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if all(state in "TtZ" for state in self._states()):
                return
            time.sleep(POLL)
        raise RuntimeError("the daemon cannot be stopped")

    def _states(self):
        for task in os.listdir(f"/proc/{self.pid}/task"):
            try:
                with open(f"/proc/{self.pid}/task/{task}/stat") as f:
                    yield f.read().rsplit(")", 1)[1].split()[0]
            except OSError:
                pass

    def kill(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
        except OSError:
            pass
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        """SIGTERM; the exit code."""
        os.kill(self.pid, signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        self.process.stdout.close()
        return code
