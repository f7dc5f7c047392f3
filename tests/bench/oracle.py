#!/usr/bin/env python3
"""Can a caller without the right tell by the clock what exists?

For each pair (a thing that is there, one that is not) the same refused call is made many times,
interleaved in random order over one connection. AUC is the chance that a call of the one kind takes
longer than one of the other: 0.5 tells nothing, 1.0 everything. The answers must be equal too.

    tests/bench/oracle.py                 2 x 2,000 calls a pair, AUC below 0.55 or it fails
    tests/bench/oracle.py --full          2 x 20,000 calls a pair, AUC at most 0.52
    tests/bench/oracle.py --vaultd PATH   the binary (default: target/debug/vaultd)

A pair over its bound is measured once more: chance does not come twice, a leak does.
"""

import argparse
import http.client
import json
import os
import random
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from wares import Issuer, Pki, Vaultd  # noqa: E402

PATIENCE = 30.0
WARM = 50


class Caller:
    """One keep-alive connection, opened anew (off the clock) when the server closes it."""

    def __init__(self, address, context):
        host, port = address.rsplit(":", 1)
        self.connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=PATIENCE)

    def call(self, request):
        """Nanoseconds until the whole answer was there; its status; its body without the request's id."""
        method, path, headers, body = request
        if self.connection.sock is None:
            self.connection.connect()
        began = time.perf_counter_ns()
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        took = time.perf_counter_ns() - began
        return took, answer.status, plain(text)


def plain(text):
    """The answer without what differs in every answer."""
    try:
        body = json.loads(text)
    except ValueError:
        return text
    for holder in (body, body.get("error") if isinstance(body.get("error"), dict) else {}):
        holder.pop("request_id", None)
    return json.dumps(body, sort_keys=True)


def auc(a, b):
    """The chance that one of `a` is greater than one of `b` (ties count half), away from 0.5."""
    ranked = sorted([(v, 0) for v in a] + [(v, 1) for v in b])
    total, i = 0.0, 0
    while i < len(ranked):
        j = i
        while j < len(ranked) and ranked[j][0] == ranked[i][0]:
            j += 1
        total += sum(1 for _, kind in ranked[i:j] if kind == 0) * (i + j + 1) / 2
        i = j
    u = total - len(a) * (len(a) + 1) / 2
    p = u / (len(a) * len(b))
    return max(p, 1 - p)


def measure(caller, there, absent, calls):
    """AUC of a pair; the answers of both, which must be one."""
    times, answers = ([], []), (set(), set())
    for n in range(calls + WARM):
        order = [0, 1]
        random.shuffle(order)
        for kind in order:
            took, status, text = caller.call((there, absent)[kind])
            answers[kind].add((status, text))
            if n >= WARM:
                times[kind].append(took)
    medians = [sorted(t)[len(t) // 2] / 1000 for t in times]
    return auc(*times), medians, answers[0] | answers[1]


def stage(vaultd, issuer):
    """Things that exist, and a token without a right to any."""
    vaultd.call("POST", "sys/mounts/kv", {"type": "kv"})
    vaultd.call("POST", "secret/data/there", {"data": {"k": "v" * 200}})
    vaultd.call("POST", "kv/there", {"k": "v" * 200})
    vaultd.bind_gateway(issuer, "https://127.0.0.1:9")
    service = vaultd.call("GET", "gateway/services/openai")["data"]
    service["auth"].append({"type": "token"})
    vaultd.call("POST", "gateway/services/openai", {k: v for k, v in service.items() if v is not None})
    return vaultd.token_for('path "x" { capabilities = ["read"] }')


def pairs(token, issuer, stranger):
    """(name, on the gateway's listener, the call to what is there, the call to what is not)."""
    vault = {"X-Vault-Token": token}
    body = json.dumps({"data": {"k": 1}, "k": 1})

    def login(role, jwt):
        return "POST", "/v1/auth/jwt/login", {}, json.dumps({"role": role, "jwt": jwt})

    def call(service, credential):
        return "GET", f"/{service}/v1/x", {"Authorization": f"Bearer {credential}"}, None

    yield ("denied write, kv v2", False, ("POST", "/v1/secret/data/there", vault, body),
           ("POST", "/v1/secret/data/other", vault, body))
    yield ("denied write, kv v1", False, ("POST", "/v1/kv/there", vault, body),
           ("POST", "/v1/kv/other", vault, body))
    yield "HELP, mount", False, ("HELP", "/v1/secret/x", vault, None), ("HELP", "/v1/absent/x", vault, None)
    forged = stranger.jwt("mallory")
    yield "role, forged JWT", False, login("app", forged), login("off", forged)
    other = issuer.jwt("mallory", audience="elsewhere")
    yield "role, JWT for others", False, login("app", other), login("off", other)
    for name, credential in (("no such token", "hvs." + "A" * 24), ("token without rights", token),
                             ("forged JWT", forged), ("JWT for others", other)):
        yield f"service, {name}", True, call("openai", credential), call("absent", credential)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--vaultd", default="target/debug/vaultd")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--calls", type=int)
    args = parser.parse_args()
    calls, bound = (20_000, 0.52) if args.full else (2_000, 0.55)
    calls = args.calls or calls
    failed = False
    with tempfile.TemporaryDirectory() as home:
        pki = Pki(home)
        for name in ("idp", "stranger"):
            os.mkdir(os.path.join(home, name))
        issuer, stranger = Issuer(os.path.join(home, "idp")), Issuer(os.path.join(home, "stranger"))
        vaultd = Vaultd(args.vaultd, "redb", os.path.join(home, "vault"), pki).ready()
        try:
            token = stage(vaultd, issuer)
            print(f"{'pair':32} {'AUC':>6} {'there':>9} {'absent':>9}   (medians in microseconds, {calls} calls each)")
            for name, gateway, there, absent in pairs(token, issuer, stranger):
                address = vaultd.gateway if gateway else vaultd.daemon.address
                for attempt in (1, 2):
                    found, medians, answers = measure(Caller(address, pki.context), there, absent, calls)
                    over = found > bound if args.full else found >= bound
                    verdict = "answers differ" if len(answers) > 1 else ("TELLS" if over else "")
                    print(f"{name:32} {found:6.3f} {medians[0]:9.1f} {medians[1]:9.1f}   {verdict}", flush=True)
                    if not verdict or len(answers) > 1:
                        break
                if len(answers) > 1:
                    print(*sorted(map(str, answers)), sep="\n")
                failed |= bool(verdict)
        finally:
            vaultd.stop()
    print("no oracle found" if not failed else "AN ORACLE")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
