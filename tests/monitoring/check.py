#!/usr/bin/env python3
"""The dashboard and the alert rules of packaging/monitoring, checked with promtool against the metrics of a running vaultd.

  tests/monitoring/check.py VAULTD
"""

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
RULES = os.path.join(ROOT, "packaging", "monitoring")
sys.path.insert(0, os.path.join(ROOT, "tests", "torture"))

from vault import PATIENCE, POLL, Daemon, Refused, make_certificate, make_config

# Vault's own names, which promtool would have otherwise.
VAULTS_NAMES = {
    "vault_audit_log_request_failure", "vault_audit_log_response_failure", "vault_token_creation",
    "vault_token_count", "vault_secret_kv_count",
}
# What Prometheus adds to every series, or has by itself.
OF_PROMETHEUS = {"job", "instance", "le"}
NAME = re.compile(r"\b(?:vault|vaultd|process)_[a-z0-9_]+\b|\bup\b")


def promtool(*args, text=None):
    done = subprocess.run(["promtool", *args], cwd=RULES, input=text, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def must(*args):
    code, said = promtool(*args)
    assert code == 0, f"promtool {' '.join(args)}:\n{said}"


def scrape(daemon):
    """The text that Prometheus would read, without a token, from the gateway's listener."""
    connection = http.client.HTTPSConnection(*daemon.gateway.rsplit(":", 1), context=daemon.context, timeout=PATIENCE)
    connection.request("GET", "/.vaultd/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0,*/*;q=0.1"})
    answer = connection.getresponse()
    text = answer.read().decode()
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"), text
    return text


def busy(daemon):
    """Does a little of everything, so that every series is there."""
    _, root = daemon.init()
    call = lambda method, path, body=None: daemon.call(method, path, body, root)
    call("POST", "secret/data/openai", {"data": {"key": "sk-a-key-of-some-length"}})
    call("GET", "secret/data/openai")
    call("POST", "sys/storage/snapshot", {})
    call("POST", "sys/mounts/gateway", {"type": "gateway"})
    call("POST", "gateway/services/openai", {
        "upstream": "https://localhost:1", "credential": {"path": "secret/data/openai", "field": "key"},
        "inject": {"header": "authorization", "template": "Bearer {{credential}}"},
        "allow": [{"methods": ["GET"], "path": "/*"}], "auth": [{"type": "token"}], "allow_private": True})
    call("POST", "sys/policies/acl/app", {"policy": 'path "gateway/proxy/openai/*" { capabilities = ["invoke"] }'})
    app = call("POST", "auth/token/create", {"policies": ["app"]})["auth"]["client_token"]
    try:
        daemon.call("GET", "secret/data/openai", None, app)
        raise AssertionError("an app reads the key")
    except Refused as e:
        assert e.status == 403, e
    connection = http.client.HTTPSConnection(*daemon.gateway.rsplit(":", 1), context=daemon.context, timeout=PATIENCE)
    connection.request("GET", "/openai/v1/models", headers={"Authorization": f"Bearer {app}"})
    answer = connection.getresponse()
    assert answer.status == 502, answer.read()


def series(text):
    """Metric name -> label names, of every series."""
    out = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels = re.match(r"([a-z0-9_]+)(?:\{(.*)\})? ", line).groups()
            out.setdefault(name, set()).update(re.findall(r'([a-z_]+)="', labels or ""))
    out["up"] = set()
    return out


def check_query(where, expr, there):
    """Every metric and label of a query is in the scrape. Its label names."""
    names = set(NAME.findall(expr))
    assert names, f"{where}: no metric in {expr}"
    for name in names:
        assert name in there, f"{where}: there is no metric {name}"
    known = set().union(*(there[n] for n in names)) | OF_PROMETHEUS
    used = set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)\s*\"", expr))
    for group in re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", expr):
        used |= {l.strip() for l in group.split(",")}
    assert used <= known, f"{where}: no label {used - known} in {expr}"
    return known


def check_alerts(there):
    must("check", "rules", "alerts.yml")
    must("test", "rules", "alerts_test.yml")
    text, tests = (open(os.path.join(RULES, f)).read() for f in ("alerts.yml", "alerts_test.yml"))
    alerts = re.findall(r"- alert: (\w+)\n\s+expr: \|-\n\s+(.*)\n", text)
    assert len(alerts) == text.count("- alert:") and len(alerts) > 15, "an alert in another form"
    for name, expr in alerts:
        known = check_query(f"alert {name}", expr, there)
        block = text.split(f"- alert: {name}\n")[1].split("- alert:")[0]
        assert all(word in block for word in ("severity:", "summary:", "description:")), f"{name} says too little"
        told = set(re.findall(r"\$labels\.([a-z_]+)", block))
        assert told <= known, f"{name} tells of labels that it has not: {told - known}"
        for what in ("fires", "is quiet"):
            assert f"- name: {name} {what}\n" in tests, f"no test that {name} {what}"
    return len(alerts)


def check_dashboard(there, directory):
    board = json.load(open(os.path.join(RULES, "dashboard.json")))
    panels = [p for p in board["panels"] if p["type"] != "row"]
    ids = [p["id"] for p in board["panels"]]
    assert len(ids) == len(set(ids)) and len(panels) > 20
    variables = {v["name"] for v in board["templating"]["list"]}
    queries = []
    for panel in panels:
        for target in panel["targets"]:
            where, expr = f"panel {panel['title']!r}", target["expr"]
            assert set(re.findall(r"\$(\w+)", expr)) <= variables | {"__rate_interval"}, where
            known = check_query(where, expr, there)
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert shown <= known, f"{where}: its legend names {shown - known}"
            queries.append(re.sub(r"\$__rate_interval", "5m", expr).replace("$job", "x").replace("$instance", "x"))
    # As rules, so that promtool reads every query.
    rules = os.path.join(directory, "queries.json")
    named = [{"record": f"q:{n}", "expr": q} for n, q in enumerate(dict.fromkeys(queries))]
    with open(rules, "w") as f:
        json.dump({"groups": [{"name": "dashboard", "rules": named}]}, f)
    must("check", "rules", rules)
    return len(panels)


def check_names(text):
    """promtool finds nothing to say, but for names that are Vault's."""
    _, said = promtool("check", "metrics", text=text)
    other = [l for l in said.splitlines() if l and l.split()[0] not in VAULTS_NAMES]
    assert not other, "promtool check metrics:\n" + "\n".join(other)
    code, said = promtool("check", "metrics", text="no metric\n")
    assert code != 0, f"promtool takes anything: {said}"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    directory = tempfile.mkdtemp(prefix="monitoring-")
    daemon = None
    try:
        cert, key = make_certificate(directory)
        home, config = os.path.join(directory, "home"), os.path.join(directory, "vaultd.hcl")
        make_config(config, "redb", home, cert, key)
        with open(config, "a") as f:
            f.write(f'gateway {{\n  address = "127.0.0.1:0"\n  tls_cert_file = "{cert}"\n  tls_key_file = "{key}"\n'
                    "  telemetry {\n    unauthenticated_metrics_access = true\n  }\n}\n"
                    f'snapshot {{\n  path = "{home}/snapshots"\n}}\n')
        daemon = Daemon(os.path.abspath(sys.argv[1]), config, cert, os.path.join(directory, "log"))
        check_names(scrape(daemon))
        busy(daemon)
        until = time.monotonic() + PATIENCE
        while True:
            text = scrape(daemon)
            # Written when the call has ended, and counted in the background.
            if "vaultd_gateway_calls_total{" in text and "\nvault_secret_kv_count " in text:
                break
            assert time.monotonic() < until, "the figures are not there:\n" + text
            time.sleep(POLL)
        check_names(text)
        there = series(text)
        alerts = check_alerts(there)
        panels = check_dashboard(there, directory)
        print(f"monitoring: {len(there) - 1} metrics, {alerts} alerts with their tests, {panels} panels: in order")
    finally:
        if daemon is not None:
            daemon.process.kill()
            daemon.process.wait()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
