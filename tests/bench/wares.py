"""What is measured: vaultd and nginx as processes, one certificate for all, and a signer of JWTs."""

import base64
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "torture"))
from vault import PATIENCE, Daemon  # noqa: E402

PROVIDER_KEY = "sk-provider-key-0123456789abcdef"
NGINX = "nginx"
TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def openssl(*args, data=None):
    return subprocess.run(["openssl", *args], check=True, input=data, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout


class Pki:
    """A CA, and one certificate for 127.0.0.1 that every server here uses."""

    def __init__(self, directory):
        at = lambda name: os.path.join(directory, name)
        self.ca, self.cert, self.key = at("ca.pem"), at("cert.pem"), at("key.pem")
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl("req", "-x509", *curve, "-days", "2", "-subj", "/CN=bench CA", "-keyout", at("ca-key.pem"),
                "-out", self.ca, "-addext", "keyUsage=critical,keyCertSign")
        openssl("req", *curve, "-subj", "/CN=localhost", "-keyout", self.key, "-out", at("csr.pem"))
        with open(at("extensions"), "w") as f:
            f.write("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n"
                    "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n")
        openssl("x509", "-req", "-in", at("csr.pem"), "-CA", self.ca, "-CAkey", at("ca-key.pem"), "-days",
                "2", "-extfile", at("extensions"), "-out", self.cert)
        self.context = ssl.create_default_context(cafile=self.ca)


class Issuer:
    """An outside identity provider: signs JWTs with RS256."""

    def __init__(self, directory):
        self.key = os.path.join(directory, "issuer.pem")
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.key)
        self.public = openssl("pkey", "-in", self.key, "-pubout").decode()

    def jwt(self, subject, audience="gateway"):
        now = int(time.time())
        claims = {"iss": "https://idp.example", "aud": audience, "sub": subject, "iat": now, "exp": now + 900}
        text = b".".join(_b64(json.dumps(x).encode()) for x in ({"alg": "RS256", "typ": "JWT"}, claims))
        return (text + b"." + _b64(openssl("dgst", "-sha256", "-sign", self.key, data=text))).decode()


def _b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class Vaultd:
    """A daemon with an audit file, a gateway listener, and KV v2 at `secret/`."""

    def __init__(self, binary, backend, home, pki):
        self.binary, self.home, self.pki = binary, home, pki
        self.audit = os.path.join(home, "audit", "audit.log")
        os.makedirs(os.path.dirname(self.audit))
        self.gateway = f"127.0.0.1:{free_port()}"
        self.config = os.path.join(home, "vaultd.hcl")
        tls = f'tls_cert_file = "{pki.cert}"\n  tls_key_file = "{pki.key}"'
        with open(self.config, "w") as f:
            f.write(f'storage "{backend}" {{\n  path = "{home}/data"\n}}\nstate_dir = "{home}/state"\n'
                    f'listener "tcp" {{\n  address = "127.0.0.1:0"\n  {tls}\n}}\n'
                    f'gateway {{\n  address = "{self.gateway}"\n  {tls}\n}}\n'
                    f'audit_dirs = ["{home}/audit"]\n'
                    f'audit "file" "file" {{ options = {{ file_path = "{self.audit}" }} }}\n')
        self.daemon = self.share = self.root = None
        self.started = 0.0

    def start(self):
        began = time.monotonic()
        self.daemon = Daemon(self.binary, self.config, self.pki.ca, os.path.join(self.home, "log"))
        self.started = time.monotonic() - began
        return self

    def ready(self):
        """Started, initialised with one share, unsealed."""
        self.start()
        self.share, self.root = self.daemon.init()
        return self

    def stop(self):
        if self.daemon is not None:
            self.daemon.stop()
            self.daemon = None

    def call(self, method, path, body=None):
        return self.daemon.call(method, path, body, self.root)

    def token_for(self, policy):
        """A token with one policy of this text."""
        self.call("POST", "sys/policies/acl/bench", {"policy": policy})
        return self.call("POST", "auth/token/create", {"policies": ["bench"]})["auth"]["client_token"]

    def url(self, path):
        return f"https://{self.daemon.address}/v1/{path}"

    def pids(self):
        return [self.daemon.pid]

    def fill(self, count, writers=4):
        """Writes `count` small secrets."""
        def work(first):
            client = self.daemon.client(self.root)
            for n in range(first, count, writers):
                client.call("POST", f"secret/data/fill/{n // 1000}/{n}", {"data": {"value": f"{n:0300}"}})
            client.close()
        threads = [threading.Thread(target=work, args=(n,)) for n in range(writers)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def memory(self):
        """Resident MiB: in all, and of these not backed by a file."""
        with open(f"/proc/{self.daemon.pid}/status") as f:
            of = dict(line.split(":", 1) for line in f)
        return tuple(int(of[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon"))

    def bind_gateway(self, issuer, upstream):
        """A service `openai` at `upstream`, for the holders of the issuer's JWTs."""
        self.call("POST", "secret/data/openai", {"data": {"key": PROVIDER_KEY}})
        self.call("POST", "sys/mounts/gateway", {"type": "gateway"})
        self.call("POST", "sys/auth/jwt", {"type": "jwt"})
        self.call("POST", "auth/jwt/config",
                  {"jwt_validation_pubkeys": [issuer.public], "bound_issuer": "https://idp.example"})
        self.call("POST", "sys/policies/acl/app",
                  {"policy": 'path "gateway/proxy/openai/*" { capabilities = ["invoke"] }'})
        self.call("POST", "auth/jwt/role/app",
                  {"role_type": "jwt", "bound_audiences": ["gateway"], "user_claim": "sub",
                   "token_policies": ["app"]})
        with open(self.pki.ca) as f:
            ca = f.read()
        self.call("POST", "gateway/services/openai", {
            "upstream": upstream, "ca_cert": ca, "allow_private": True,
            "credential": {"path": "secret/data/openai", "field": "key"},
            "inject": {"header": "Authorization", "template": "Bearer {{credential}}"},
            "allow": [{"methods": ["GET"], "path": "/v1/*"}],
            "auth": [{"type": "jwt", "mount": "jwt", "role": "app"}],
            "caller_header": "authorization", "timeout": "5s"})


NGINX_CONF = """
daemon off; worker_processes {workers}; pid {home}/nginx.pid; error_log {home}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; server_tokens off; default_type application/json;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  keepalive_requests 1000000000; keepalive_timeout 600s;
  ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;
  {http}
  server {{ listen 127.0.0.1:{port} ssl reuseport; {server} }}
}}
"""

FIXED = "location / {{ return 200 '{body}'; }}"
UPSTREAM = "if ($http_authorization != 'Bearer {key}') {{ return 401; }} location / {{ return 200 '{body}'; }}"
PROXY_HTTP = ("upstream provider {{ server {address}; keepalive 64; keepalive_requests 1000000000; "
              "keepalive_timeout 600s; }}")
PROXY = ("location /openai/ {{ proxy_pass https://provider/; proxy_http_version 1.1; "
         "proxy_set_header Connection ''; proxy_set_header Authorization 'Bearer {key}'; "
         "proxy_ssl_protocols TLSv1.3; proxy_ssl_verify on; proxy_ssl_trusted_certificate {ca}; "
         "proxy_ssl_name localhost; proxy_ssl_server_name on; }}")


class Nginx:
    """One nginx with a worker for each core; `server` and `http` are its own lines of config."""

    def __init__(self, home, pki, server, http_block=""):
        os.makedirs(home)
        self.home, self.address = home, f"127.0.0.1:{free_port()}"
        conf = NGINX_CONF.format(workers=os.cpu_count(), home=home, cert=pki.cert, key=pki.key,
                                 port=self.address.rsplit(":", 1)[1], server=server, http=http_block)
        with open(os.path.join(home, "nginx.conf"), "w") as f:
            f.write(conf)
        with open(os.path.join(home, "stderr"), "wb") as err:
            self.process = subprocess.Popen([NGINX, "-p", home, "-c", os.path.join(home, "nginx.conf")],
                                            stdin=subprocess.DEVNULL, stderr=err)
        host, port = self.address.split(":")
        until = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection((host, int(port)), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    with open(os.path.join(home, "stderr")) as f:
                        raise RuntimeError(f"nginx did not start: {f.read()[-500:]}") from None
                time.sleep(0.01)

    def url(self, path):
        return f"https://{self.address}/{path}"

    def pids(self):
        pid = self.process.pid
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [pid, *map(int, f.read().split())]

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)


def fetch(context, url, headers, method="GET", body=None):
    """One request over TLS 1.3: (status, body)."""
    host, path = url.removeprefix("https://").split("/", 1)
    connection = http.client.HTTPSConnection(host, context=context, timeout=PATIENCE)
    try:
        connection.request(method, "/" + path, body, headers)
        if connection.sock.version() != "TLSv1.3":
            raise RuntimeError(f"{url} speaks {connection.sock.version()}")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def cpu_seconds(pids):
    """User and system time that these processes have taken so far."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS
