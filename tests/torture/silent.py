#!/usr/bin/env python3
"""Gateway calls against an upstream that never answers, and everybody else meanwhile.

Many callers on many HTTP/2 connections attempt `--calls` calls while the daemon has no more than
`--nofile` descriptors. All the time the API (on new and on kept connections), the operator's unix
socket and, in the end, sealing must answer; afterwards nothing may be left.
"""

import argparse
import http.client
import multiprocessing
import os
import shutil
import socket
import sys
import tempfile
import time
from collections import Counter

from h2load import Connection
from vault import PATIENCE, Client, Daemon, Refused, make_certificate, make_config

CALLERS = 8
SERVICES = 3
CALLS_PER_CONNECTION = 400
PROBE_EVERY_S = 0.05
# Memory that the first load may leave behind: caches, threads, and what the allocator keeps (locked
# pages do not go back to the system one by one).
WARM_KIB = 32 * 1024
# Memory that all loads after the second may leave behind together: fragmentation, which tends to
# nothing. Some kilobytes lost with every call would be more.
LEFT_KIB = 16 * 1024


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self.path)


class OverUnix(Client):
    def __init__(self, path, token=""):
        self.token = token
        self.connection = Unix(path)


def load(address, cert, tokens, connections, calls, results, enough):
    """One process of callers; holds what waits until `enough` is set."""
    import ssl
    held, left, seen = [], calls, Counter()
    for n in range(connections):
        context = ssl.create_default_context(cafile=cert)
        try:
            held.append(Connection(address, context, f"/silent{n % SERVICES}/v1/x", tokens[n % len(tokens)]))
        except OSError:
            seen["no connection"] += 1
    until = time.monotonic() + PATIENCE
    while left > 0 and not all(c.closed for c in held) and time.monotonic() < until:
        for c in held:
            if not c.closed:
                begun = c.ask(left)
                left -= begun
                if begun:
                    until = time.monotonic() + PATIENCE
                seen.update(c.receive(0.001))
    results.put(("attempted", calls - left, dict(seen)))
    while not enough.is_set():
        for c in held:
            if not c.closed:
                seen.update(c.receive(0.01))
        time.sleep(0.01)
    waiting = sum(len(c.open) for c in held)
    for c in held:
        c.close()
    results.put(("ended", waiting, dict(seen)))


class Probes:
    """Asks as the others do, one after the other, and notes how long each answer took."""

    def __init__(self, daemon, unix, token):
        self.daemon, self.unix, self.token = daemon, unix, token
        self.took = {}
        self.failed = Counter()
        self.kept = daemon.client(token)
        self.n = 0

    def once(self):
        self.n += 1
        self._time("api, new connection", lambda: self.daemon.call("GET", "sys/health"))
        self._time("api, write", lambda: self._kept("POST", "secret/data/probe", {"data": {"n": self.n}}))
        self._time("api, read", lambda: self._kept("GET", "secret/data/probe"))
        self._time("unix socket", lambda: self._once(OverUnix(self.unix), "GET", "sys/seal-status"))

    def _kept(self, *request):
        try:
            return self.kept.call(*request)
        except (OSError, http.client.HTTPException):
            # It idled for too long, or the vault was sealed.
            self.kept.close()
            return self.kept.call(*request)

    @staticmethod
    def _once(client, *request):
        try:
            return client.call(*request)
        finally:
            client.close()

    def _time(self, what, ask):
        began = time.monotonic()
        try:
            ask()
        except (Refused, OSError, http.client.HTTPException) as e:
            self.failed[f"{what}: {type(e).__name__} {e}"[:160]] += 1
        self.took.setdefault(what, []).append(1000 * (time.monotonic() - began))

    def seal(self):
        self._time("seal", lambda: self._once(OverUnix(self.unix, self.token), "PUT", "sys/seal", {}))

    def report(self):
        for what, took in self.took.items():
            took = sorted(took)
            at = lambda q: took[min(len(took) - 1, int(q * len(took)))]
            print(f"  {what:22} {len(took):6} answers, ms: median {at(.5):6.1f}  p99 {at(.99):6.1f}  max {took[-1]:6.1f}")

    def slowest(self):
        return max(max(t) for t in self.took.values())


def descriptors(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return -1


def resident(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def settle(what, fine):
    until = time.monotonic() + 2 * PATIENCE
    while not fine():
        if time.monotonic() > until:
            print(f"  LEFT BEHIND: {what}")
            return False
        time.sleep(0.1)
    return True


def bind(daemon, root, upstream):
    """The services, and tokens that may do nothing but call them."""
    call = lambda path, body: daemon.call("POST", path, body, root)
    call("secret/data/key", {"data": {"key": "sk-provider-0123456789abcdef"}})
    call("sys/mounts/gateway", {"type": "gateway"})
    service = {
        "upstream": upstream, "allow_private": True, "timeout": "10m",
        "credential": {"path": "secret/data/key", "field": "key"},
        "inject": {"header": "Authorization", "template": "Bearer {{credential}}"},
        "allow": [{"methods": ["GET"], "path": "/v1/*"}], "auth": [{"type": "token"}],
        "caller_header": "authorization"}
    for n in range(SERVICES):
        call(f"gateway/services/silent{n}", service)
    call("sys/policies/acl/caller", {"policy": 'path "gateway/proxy/*" { capabilities = ["invoke"] }'})
    made = [call("auth/token/create", {"policies": ["caller"]}) for _ in range(CALLERS)]
    return [m["auth"]["client_token"] for m in made]


def torture(args, directory):
    cert, key = make_certificate(directory)
    config, unix = os.path.join(directory, "vaultd.hcl"), os.path.join(directory, "sock")
    make_config(config, args.backend, directory, cert, key)
    with open(config, "a") as f:
        f.write(f'gateway {{\n  address = "127.0.0.1:0"\n  tls_cert_file = "{cert}"\n  tls_key_file = "{key}"\n}}\n')
        f.write(f'listener "unix" {{\n  address = "{unix}"\n}}\n')
    silent = socket.create_server(("127.0.0.1", 0), backlog=4096)
    daemon = Daemon(os.path.abspath(args.vaultd), config, cert, os.path.join(directory, "log"), nofile=args.nofile)
    share, root = daemon.init()
    tokens = bind(daemon, root, "http://127.0.0.1:%d" % silent.getsockname()[1])
    probes = Probes(daemon, unix, root)
    probes.once()
    idle, ok = (descriptors(daemon.pid), resident(daemon.pid)), True
    bound = idle[1] + WARM_KIB
    for n in range(args.rounds):
        ok &= run_load(args, daemon, cert, tokens, probes)
        ok &= settle("descriptors", lambda: descriptors(daemon.pid) <= idle[0] + 4)
        daemon.unseal(share)
        probes.once()
        ok &= settle("memory", lambda: resident(daemon.pid) <= bound)
        now = resident(daemon.pid)
        print(f"  after load {n + 1}: {descriptors(daemon.pid)} descriptors (idle before: {idle[0]}), {now} KiB (before: {idle[1]})")
        bound = now + (WARM_KIB if n == 0 else LEFT_KIB) if n < 2 else bound
    ok &= daemon.stop() == 0
    probes.report()
    for failure, times in probes.failed.items():
        print(f"  FAILED {times} times: {failure}")
    if args.max_ms and probes.slowest() > args.max_ms:
        print(f"  TOO SLOW: {probes.slowest():.1f} ms")
        ok = False
    return ok and not probes.failed


def run_load(args, daemon, cert, tokens, probes):
    results, enough = multiprocessing.Queue(), multiprocessing.Event()
    connections = max(2, -(-args.calls // CALLS_PER_CONNECTION))
    workers = []
    for n in range(2):
        share = args.calls // 2 + (args.calls % 2 if n == 0 else 0)
        args_of = (daemon.gateway, cert, tokens, -(-connections // 2), share, results, enough)
        workers.append(multiprocessing.Process(target=load, args=args_of))
    began = time.monotonic()
    for w in workers:
        w.start()
    attempted, most = 0, 0
    waiting_for = len(workers)
    while waiting_for:
        probes.once()
        most = max(most, descriptors(daemon.pid))
        while not results.empty():
            attempted += results.get()[1]
            waiting_for -= 1
        time.sleep(PROBE_EVERY_S)
    took = time.monotonic() - began
    for _ in range(args.hold):
        probes.once()
        time.sleep(PROBE_EVERY_S)
    print(f"  {attempted} calls attempted in {took:.1f} s; at most {most} of {args.nofile} descriptors in use")
    probes.seal()
    enough.set()
    seen, hanging = Counter(), 0
    for _ in workers:
        _, still, answers = results.get(timeout=2 * PATIENCE)
        hanging += still
        seen.update(answers)
    for w in workers:
        w.join()
    print("  answers: " + ", ".join(f"{n} x {s or 'none'}" for s, n in sorted(seen.items(), key=str)) + f", {hanging} unanswered")
    return attempted == args.calls and seen[429] + seen[503] > 0 and most < args.nofile


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vaultd", required=True, help="the binary")
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=4, help="loads, one after the other")
    parser.add_argument("--nofile", type=int, default=1024)
    parser.add_argument("--backend", default="redb", choices=["redb", "sled"])
    parser.add_argument("--hold", type=int, default=20, help="rounds of probes while every place is taken")
    parser.add_argument("--max-ms", type=float, help="fail when any answer took longer")
    args = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="silent-")
    try:
        good = torture(args, directory)
        print("silent upstream:", "ok" if good else "FAILED")
        return 0 if good else 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
