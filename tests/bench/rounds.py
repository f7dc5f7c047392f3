"""Side by side: contenders take turns under the same load, and are compared round by round."""

import json
import os
import resource
import statistics
import subprocess

from wares import cpu_seconds

HERE = os.path.dirname(os.path.abspath(__file__))
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A load met errors: its figures mean nothing."""


class Over:
    """HTTP load by wrk. `writes`: (KV v2 data path, bytes of a value), else the URL is fetched."""

    def __init__(self, name, server, url, headers=None, writes=None):
        self.name, self.server, self.url, self.headers, self.writes = name, server, url, headers or {}, writes

    def run(self, shape, seconds):
        threads, connections = shape
        script = os.path.join(HERE, "write.lua" if self.writes else "report.lua")
        command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script]
        for name, value in self.headers.items():
            command += ["-H", f"{name}: {value}"]
        command.append(self.url)
        if self.writes:
            command += ["--", *map(str, self.writes)]
        pids = self.server.pids()
        before = cpu_seconds(pids)
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        spent = cpu_seconds(pids) - before
        found = json.loads(next(x for x in out.splitlines() if x.startswith("RESULT ")).removeprefix("RESULT "))
        if found["errors"] or not found["requests"]:
            raise Failed(f"{self.name}: {found}\n{out}")
        return {"rate": found["requests"] / found["seconds"], "p50": found["p50"], "p99": found["p99"],
                "requests": found["requests"], "cpu": spent / found["requests"] * 1e6}


class Append:
    """The raw append: writers that share one `fdatasync`."""

    def __init__(self, name, binary, path, mode, size):
        self.name, self.binary, self.path, self.mode, self.size = name, binary, path, mode, size

    def run(self, shape, seconds):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        out = subprocess.run([self.binary, self.path, self.mode, str(shape[1]), str(self.size), str(seconds)],
                             check=True, stdout=subprocess.PIPE, text=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        os.remove(self.path)
        found = json.loads(out)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {**found, "cpu": spent / found["requests"] * 1e6}


def _machine():
    """Busy and all seconds of all cores since boot."""
    with open("/proc/stat") as f:
        times = [int(x) / TICKS for x in f.readline().split()[1:9]]
    return sum(times) - times[3] - times[4], sum(times)


def _ours(contenders):
    pids = {p for c in contenders if isinstance(c, Over) for p in c.server.pids()}
    own = resource.getrusage(resource.RUSAGE_CHILDREN), resource.getrusage(resource.RUSAGE_SELF)
    return cpu_seconds(pids) + sum(x.ru_utime + x.ru_stime for x in own)


def series(title, contenders, shape, rounds, seconds, beside=()):
    """Rounds of every contender in turn, the order reversed each time; prints a table.

    The ratios are of the first contenders' rates to the last one's in the same round. `beside`
    are processes that take part without being measured. Answers each contender's results.
    """
    threads, connections = shape
    print(f"\n{title}  ({connections} connections, {rounds} rounds of {seconds} s)")
    for c in contenders:
        c.run(shape, 1)
    found = {c.name: [] for c in contenders}
    everyone = [*contenders, *beside]
    busy, total, ours = *_machine(), _ours(everyone)
    for n in range(rounds):
        for c in contenders if n % 2 == 0 else contenders[::-1]:
            found[c.name].append(c.run(shape, seconds))
    busy, total, ours = _machine()[0] - busy, _machine()[1] - total, _ours(everyone) - ours
    _table(found)
    others = max(0.0, busy - ours) / total
    print(f"  (the machine was {busy / total:.0%} busy; programs that are no part of this took {others:.0%})")
    return found


def _table(found):
    print(f"  {'':26} {'rate /s':>9} {'p50 ms':>8} {'p99 ms':>8} {'CPU us':>8}   ratio (lowest..highest)   CPU ratio")
    names = list(found)
    last = found[names[-1]]
    for name in names:
        middle = {k: statistics.median(r[k] for r in found[name]) for k in ("rate", "p50", "p99", "cpu")}
        line = (f"  {name:26} {middle['rate']:9.0f} {middle['p50'] / 1000:8.2f} {middle['p99'] / 1000:8.2f}"
                f" {middle['cpu']:8.1f}")
        if name != names[-1]:
            ratios = sorted(mine["rate"] / theirs["rate"] for mine, theirs in zip(found[name], last))
            cpu = statistics.median(theirs["cpu"] / mine["cpu"] for mine, theirs in zip(found[name], last))
            line += f"   {statistics.median(ratios):5.2f} ({ratios[0]:.2f}..{ratios[-1]:.2f}){'':12} {cpu:5.2f}"
        print(line, flush=True)
