# SPDX-License-Identifier: Apache-2.0
"""How the bench measures: CPU and memory of a process, and what one run of a load generator says."""
import dataclasses
import json
import os
import re
import statistics

from lab import binary

TICKS = os.sysconf("SC_CLK_TCK")
PROXY_CORE, LOAD_CORE = 0, 1


class LoadError(Exception):
    """A run that says nothing: errors, or replies that are not 2xx."""


@dataclasses.dataclass
class Run:
    """One run of a load generator. Latencies in ms, where it knows them."""
    requests: int
    rate: float
    p50: float | None = None
    p99: float | None = None


def cpu_seconds(pid):
    """(user, system) of all threads, and of all children that live."""
    user = system = 0.0
    for process in [pid, *children(pid)]:
        try:
            fields = open(f"/proc/{process}/stat").read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        user += int(fields[11]) / TICKS
        system += int(fields[12]) / TICKS
    return user, system


def children(pid):
    found = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            for child in open(f"/proc/{pid}/task/{thread}/children").read().split():
                found += [int(child), *children(int(child))]
    except OSError:
        pass
    return found


def _rollup(pid, fields):
    total = 0
    for process in [pid, *children(pid)]:
        text = open(f"/proc/{process}/smaps_rollup").read()
        total += sum(int(kib) for kib in re.findall(rf"^(?:{fields}):\s+(\d+) kB", text, re.MULTILINE)) * 1024
    return total


def private_bytes(pid):
    """Memory that is this process's (and its children's) alone."""
    return _rollup(pid, "Private_Clean|Private_Dirty")


def resident_bytes(pid):
    return _rollup(pid, "Rss")


def pin(pid, core):
    for process in [pid, *children(pid)]:
        for thread in os.listdir(f"/proc/{process}/task"):
            os.sched_setaffinity(int(thread), {core})


def _load(pod, seconds, *command):
    done = pod.run("taskset", "-c", LOAD_CORE, *command, timeout=seconds + 30)
    if done.returncode != 0:
        raise LoadError(done.stdout + done.stderr)
    return done.stdout


def wrk(pod, row, seconds, connections=32, close=False):
    """HTTP/1.1 as fast as it goes; `close`: a connection for each request."""
    headers = [part for name, value in row.headers.items() for part in ("-H", f"{name}: {value}")]
    if close:
        headers += ["-H", "Connection: close"]
    text = _load(pod, seconds, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *headers, row.url)
    if "Non-2xx" in text or "Socket errors" in text:
        raise LoadError(f"{row.name}: {text}")
    return Run(int(re.search(r"(\d+) requests in", text)[1]), float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
               _wrk_latency(text, 50), _wrk_latency(text, 99))


def _wrk_latency(text, percent):
    amount, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", text).groups()
    return float(amount) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def h2load(pod, row, seconds, connections, streams):
    """HTTP/2 as fast as it goes."""
    text = _load(pod, seconds, "h2load", "-t1", f"-c{connections}", f"-m{streams}", "-D", seconds, row.url)
    done, failed, errored = map(int, re.search(r"(\d+) done, \d+ succeeded, (\d+) failed, (\d+) errored",
                                               text).groups())
    bad = re.search(r"status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text).groups()
    if not done or failed or errored or any(map(int, bad)):
        raise LoadError(f"{row.name}: {text}")
    return Run(done, done / seconds)


def fixed_rate(pod, row, seconds, per_second=1000, connections=16):
    """HTTP/1.1 at a rate that does not depend on the answers; latencies of every single request."""
    headers = [f"{name}: {value}" for name, value in row.headers.items()]
    said = json.loads(_load(pod, seconds, binary("paced"), row.address, row.port, row.path, connections, per_second,
                            seconds, *headers))
    return Run(said["requests"], per_second, said["p50_ns"] / 1e6, said["p99_ns"] / 1e6)


def median(values):
    return statistics.median(values)
