# SPDX-License-Identifier: Apache-2.0
"""How the bench measures: CPU of a process, memory of a process, requests of one wrk run."""
import os
import re
import statistics

TICKS = os.sysconf("SC_CLK_TCK")
PROXY_CORE, LOAD_CORE = 0, 1


def cpu_seconds(pid):
    """utime + stime of all threads and of all children that live."""
    total = 0.0
    for process in [pid, *children(pid)]:
        try:
            fields = open(f"/proc/{process}/stat").read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def children(pid):
    found = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            for child in open(f"/proc/{pid}/task/{thread}/children").read().split():
                found += [int(child), *children(int(child))]
    except OSError:
        pass
    return found


def private_bytes(pid):
    """Memory that is this process's alone."""
    text = open(f"/proc/{pid}/smaps_rollup").read()
    return sum(int(kib) for kib in re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+) kB", text, re.MULTILINE)) * 1024


def pin(pid, core):
    for process in [pid, *children(pid)]:
        for thread in os.listdir(f"/proc/{process}/task"):
            os.sched_setaffinity(int(thread), {core})


class WrkError(Exception):
    """A run that says nothing: errors, or replies that are not 2xx."""


def wrk(pod, address, port, seconds, connections=32):
    """(requests, requests per second, p99 in ms) of one keep-alive run on the load core."""
    done = pod.run("taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency",
                   "-H", "Host: reviews", f"http://{address}:{port}/", timeout=seconds + 30)
    text = done.stdout
    if done.returncode != 0 or "Non-2xx" in text or "Socket errors" in text:
        raise WrkError(text + done.stderr)
    requests = int(re.search(r"(\d+) requests in", text)[1])
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
    amount, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()
    return requests, rate, float(amount) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def median(values):
    return statistics.median(values)
