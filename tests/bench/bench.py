#!/usr/bin/env python3
"""vaultd beside nginx and a raw append, in one run. Started by `run`; see README.md."""

import argparse
import datetime
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import sampling
from rounds import Append, Failed, Over, series
from wares import (FIXED, NGINX, PROVIDER_KEY, PROXY, PROXY_HTTP, UPSTREAM, Issuer, Nginx, Pki, Vaultd, fetch)

BACKENDS = ["sled", "redb"]
SECTIONS = ["read", "write", "gateway", "idle", "profile"]
VALUE_BYTES = 300
WRITERS = (1, 16)
STARTS = 10
# An audit file grows by tens of MB a second under reads.
ROOM_GIB = 8


class Bench:
    def __init__(self, args, directory):
        self.args, self.directory = args, directory
        self.pki = Pki(directory)
        self.rounds = 3
        self.seconds = 2 if args.quick else 4
        self.running = []
        self.number = 0

    def vaultd(self, backend):
        self.number += 1
        home = os.path.join(self.directory, f"vaultd-{self.number}")
        os.makedirs(home)
        v = Vaultd(self.args.vaultd, backend, home, self.pki)
        self.running.append(v)
        return v.ready()

    def nginx(self, server, http_block=""):
        self.number += 1
        n = Nginx(os.path.join(self.directory, f"nginx-{self.number}"), self.pki, server, http_block)
        self.running.append(n)
        return n

    def stop(self):
        """Ends what runs and gives its disk space back."""
        while self.running:
            ware = self.running.pop()
            ware.stop()
            shutil.rmtree(ware.home, ignore_errors=True)

    def check(self, contender, want):
        """The contender answers what it should before it is measured."""
        status, body = fetch(self.pki.context, contender.url, contender.headers)
        if status != 200 or want not in body:
            raise Failed(f"{contender.name}: {status} {body[:200]}")
        return body

    # --- the sections ---

    def reader(self, v):
        """A small secret, and an app's token that may read it."""
        v.call("POST", "secret/data/app", {"data": {"username": "app", "password": "correct horse battery"}})
        token = v.token_for('path "secret/data/app" { capabilities = ["read"] }')
        return Over("vaultd, KV v2 read", v, v.url("secret/data/app"), {"X-Vault-Token": token})

    def writer(self, v, backend):
        token = v.token_for('path "secret/data/load/*" { capabilities = ["create", "update"] }')
        return Over(f"vaultd, {backend}", v, v.url("secret"),
                    {"X-Vault-Token": token, "Content-Type": "application/json"},
                    ("/v1/secret/data/load/", VALUE_BYTES))

    def read(self):
        v = self.vaultd("sled")
        ours = self.reader(v)
        body = self.check(ours, b"correct horse")
        theirs = Over("nginx, return 200", self.nginx(FIXED.format(body="x" * len(body))), "")
        theirs.url = theirs.server.url("secret")
        if len(self.check(theirs, b"xxx")) != len(body):
            raise Failed("the bodies are not of the same size")
        written = os.path.getsize(v.audit)
        for shape in [(1, 16)] if self.args.quick else [(1, 16), (2, 32)]:
            series(f"KV v2 read, {len(body)} bytes of body", [ours, theirs], shape, self.rounds, self.seconds)
        self.audit_cost(v, written)
        self.stop()

    def audit_cost(self, v, before):
        """What a read leaves in the audit file, from the file's next megabytes after `before`."""
        with open(v.audit, "rb") as f:
            f.seek(before)
            sample = f.read(4_000_000)
        lines = sample.split(b"\n")[1:-1]
        pairs = sum(x.startswith(b'{"type":"response"') for x in lines)
        if not pairs:
            raise Failed("the reads are not in the audit file")
        print(f"  (audit: {len(lines) / pairs:.2f} records and {sum(map(len, lines)) / pairs:.0f} bytes a read)")

    def write(self):
        contenders = []
        for backend in BACKENDS:
            contenders.append(self.writer(self.vaultd(backend), backend))
        size = VALUE_BYTES + len('{"data":{"value":""}}')
        at = os.path.join(self.directory, "append")
        for mode in ("grow", "overwrite"):
            contenders.append(Append(f"raw append, {mode}", self.args.append, at, mode, size))
        series(f"KV v2 durable write, {VALUE_BYTES} bytes of value, random keys", contenders, WRITERS, self.rounds,
               self.seconds)
        self.stop()

    def gateway(self):
        upstream = self.nginx(UPSTREAM.format(key=PROVIDER_KEY, body='{"models":["demo"]}'))
        v, issuer = self.vaultd("sled"), Issuer(self.directory)
        v.bind_gateway(issuer, f"https://{upstream.address}")
        caller = {"Authorization": "Bearer " + issuer.jwt("app")}
        ours = Over("vaultd, gateway (JWT)", v, f"https://{v.gateway}/openai/v1/models", caller)
        proxy = self.nginx(PROXY.format(key=PROVIDER_KEY, ca=self.pki.ca), PROXY_HTTP.format(address=upstream.address))
        theirs = Over("nginx, proxy_pass", proxy, proxy.url("openai/v1/models"), caller)
        for contender in (ours, theirs):
            self.check(contender, b"demo")
        beside = [Over("upstream", upstream, "")]
        series("Gateway call, TLS on both sides", [ours, theirs], (1, 16), self.rounds, self.seconds, beside)
        self.stop()

    def idle(self):
        count = 2_000 if self.args.quick else 10_000
        print("\nMemory (resident MiB, of these anonymous), start-up, unseal")
        for backend in BACKENDS:
            v = self.vaultd(backend)
            empty, opening = v.memory(), self.openings(v)
            v.fill(count)
            full = v.memory()
            print(f"  {backend:5} after unseal {mib(empty)}, with {count} secrets written {mib(full)},"
                  f" reopened with them", end=" ", flush=True)
            refilled = self.openings(v)
            print(mib(v.memory()))
            for what, (start, unseal) in (("empty", opening), (f"{count} secrets", refilled)):
                print(f"        {what}: start to ready line {start:.0f} ms, unseal call {unseal:.0f} ms"
                      f" (medians of {STARTS})", flush=True)
            self.stop()

    def openings(self, v):
        """Medians, in milliseconds: exec to the ready line, and the call that unseals."""
        starts, unseals = [], []
        for _ in range(STARTS):
            v.stop()
            v.start()
            starts.append(v.started * 1000)
            client = v.daemon.client()
            client.call("GET", "sys/seal-status")
            began = time.monotonic()
            if client.call("PUT", "sys/unseal", {"key": v.share})["sealed"]:
                raise Failed("still sealed")
            unseals.append((time.monotonic() - began) * 1000)
            client.close()
        return statistics.median(starts), statistics.median(unseals)

    def profile(self):
        if not sampling.available():
            print("\nWhere the time goes: skipped, there is no perf (Debian: linux-perf)")
            return
        v = self.vaultd("sled")
        sampling.profile("KV v2 read", self.reader(v), (1, 16), 6, self.directory)
        for backend in BACKENDS:
            v = self.vaultd(backend)
            sampling.profile(f"KV v2 write on {backend}", self.writer(v, backend), WRITERS, 6, self.directory)
        self.stop()


def mib(pair):
    return f"{pair[0]:.1f} ({pair[1]:.1f})"


def machine(directory):
    def first(path, starts):
        with open(path) as f:
            return next((x.split(":", 1)[1].strip() for x in f if x.startswith(starts)), "?")
    kind = subprocess.run(["stat", "-f", "-c", "%T", directory], stdout=subprocess.PIPE, text=True).stdout.strip()
    nginx = subprocess.run([NGINX, "-v"], stderr=subprocess.PIPE, text=True).stderr.strip().rsplit(" ", 1)[-1]
    print(f"{datetime.date.today()}: {os.cpu_count()} cores, {first('/proc/cpuinfo', 'model name')},"
          f" {int(first('/proc/meminfo', 'MemTotal').split()[0]) >> 20} GiB, Linux {platform.release()}, {kind},"
          f" {nginx}, load {os.getloadavg()[0]:.1f}")
    if kind == "tmpfs":
        sys.exit("bench: this is a RAM disk; name a directory on a disk with --dir")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vaultd", required=True)
    parser.add_argument("--append", required=True)
    parser.add_argument("--dir", required=True, help="where the stores lie while it runs")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("sections", nargs="*", metavar="SECTION")
    args = parser.parse_args()
    sections = args.sections or [s for s in SECTIONS if not (args.quick and s == "profile")]
    if unknown := set(sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    if shutil.disk_usage(args.dir).free >> 30 < ROOM_GIB:
        sys.exit(f"bench: needs {ROOM_GIB} GiB free in {args.dir}")
    args.vaultd, args.append = os.path.abspath(args.vaultd), os.path.abspath(args.append)
    directory = tempfile.mkdtemp(prefix="bench-", dir=args.dir)
    os.chmod(directory, 0o755)
    began, bench = time.monotonic(), None
    try:
        machine(directory)
        bench = Bench(args, directory)
        for section in sections:
            getattr(bench, section)()
    except Failed as e:
        sys.exit(f"bench: {e}")
    finally:
        if bench is not None:
            bench.stop()
        shutil.rmtree(directory, ignore_errors=True)
    print(f"\nin all {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
