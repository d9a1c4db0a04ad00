# SPDX-License-Identifier: Apache-2.0
"""How the bench measures: CPU of a process, of its BPF programs and of the node, memory, and what one run of a load
generator says."""
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import statistics
import time

import netns
from lab import binary
from waiting import wait_until

TICKS = os.sysconf("SC_CLK_TCK")
PROXY_CORE, LOAD_CORE = 0, 1
BPF_STATISTICS = pathlib.Path("/proc/sys/kernel/bpf_stats_enabled")


class LoadError(Exception):
    """A run that says nothing: errors, or replies that are not 2xx."""


@dataclasses.dataclass
class Run:
    """One run of a load generator. Latencies in ms, where it knows them."""
    amount: float  # requests, connections or GiB
    rate: float  # per second; of streams: Gbit/s
    p50: float | None = None
    p99: float | None = None


@dataclasses.dataclass
class Usage:
    """Seconds since some moment; only differences mean something."""
    user: float  # in ticks of the kernel, as system: they tell how cpu divides
    system: float
    cpu: float
    bpf: float
    node: float
    lab: float
    wall: float

    def __sub__(self, earlier):
        return Usage(*(a - b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(earlier))))


def usage(pid, programs, cgroups):
    """Of a process with its children (None: no process), of BPF programs (ids), of the node, of the lab's cgroups."""
    return Usage(*(cpu_seconds(pid) if pid else (0, 0, 0)), bpf_seconds(programs), node_seconds(),
                 sum(map(cgroup_seconds, cgroups)), time.monotonic())


def cpu_seconds(pid):
    """(user, system, both to the nanosecond) of all threads that live, and of all children that live."""
    user = system = cpu = 0.0
    for process in [pid, *children(pid)]:
        for thread in pathlib.Path(f"/proc/{process}/task").glob("*"):
            with contextlib.suppress(OSError):
                fields = (thread / "stat").read_text().rsplit(")", 1)[1].split()
                cpu += int((thread / "schedstat").read_text().split()[0]) / 1e9
                user += int(fields[11]) / TICKS
                system += int(fields[12]) / TICKS
    return user, system, cpu


def children(pid):
    found = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            for child in open(f"/proc/{pid}/task/{thread}/children").read().split():
                found += [int(child), *children(int(child))]
    except OSError:
        pass
    return found


def node_seconds():
    """Time in which a core was neither idle nor taken by the host, all cores together: softirq, kernel threads and BPF
    in anybody's context are in it."""
    cores = [[int(field) for field in line.split()[1:]] for line in open("/proc/stat") if re.match(r"cpu\d", line)]
    unused = sum(fields[3] + fields[4] + fields[7] for fields in cores)  # idle, iowait, steal
    return time.monotonic() * len(cores) - unused / TICKS


def cgroup_seconds(folder):
    return int(re.search(r"^usage_usec (\d+)", (folder / "cpu.stat").read_text(), re.MULTILINE)[1]) / 1e6


@contextlib.contextmanager
def bpf_statistics():
    """The kernel keeps the run time of BPF programs for the time of the block. That costs each run of one some 50 ns,
    which are in our rows' figures."""
    before = BPF_STATISTICS.read_text()
    BPF_STATISTICS.write_text("1")
    try:
        yield
    finally:
        BPF_STATISTICS.write_text(before)


def bpf_seconds(programs):
    if not programs:
        return 0
    listing = json.loads(netns.run("bpftool", "-j", "prog", "show").stdout)
    return sum(entry.get("run_time_ns", 0) for entry in listing if entry["id"] in programs) / 1e9


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


def _load(row, seconds, *command):
    done = row.pod.run("taskset", "-c", LOAD_CORE, *command, timeout=seconds + 30)
    if done.returncode != 0:
        raise LoadError(f"{row.name}: {done.stdout}{done.stderr}")
    return done.stdout


def wrk(row, seconds, connections=32, close=False):
    """HTTP/1.1 as fast as it goes; `close`: a connection for each request."""
    headers = [part for name, value in row.headers.items() for part in ("-H", f"{name}: {value}")]
    if close:
        headers += ["-H", "Connection: close"]
    text = _load(row, seconds, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *headers, row.url)
    if "Non-2xx" in text or "Socket errors" in text:
        raise LoadError(f"{row.name}: {text}")
    return Run(int(re.search(r"(\d+) requests in", text)[1]), float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
               _wrk_latency(text, 50), _wrk_latency(text, 99))


def _wrk_latency(text, percent):
    amount, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", text).groups()
    return float(amount) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def h2load(row, seconds, connections, streams, *options):
    """HTTP/2 as fast as it goes."""
    text = _load(row, seconds, "h2load", "-t1", f"-c{connections}", f"-m{streams}", "-D", seconds, *options, row.url)
    done, failed, errored = map(int, re.search(r"(\d+) done, \d+ succeeded, (\d+) failed, (\d+) errored",
                                               text).groups())
    bad = re.search(r"status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text).groups()
    if not done or failed or errored or any(map(int, bad)):
        raise LoadError(f"{row.name}: {text}")
    return Run(done, done / seconds)


def fixed_rate(row, seconds, per_second=1000, connections=16):
    """HTTP/1.1 at a rate that does not depend on the answers; latencies of every single request."""
    headers = [f"{name}: {value}" for name, value in row.headers.items()]
    said = json.loads(_load(row, seconds, binary("paced"), row.address, row.port, row.path, connections, per_second,
                            seconds, *headers))
    return Run(said["requests"], per_second, said["p50_ns"] / 1e6, said["p99_ns"] / 1e6)


def h2_fixed_rate(row, seconds, per_second=1000, connections=16):
    """HTTP/2 at a fixed rate, one stream at a time on each connection; latencies from when a request was sent."""
    log = row.pod.lab.folder / "h2load.log"
    log.unlink(missing_ok=True)
    run = h2load(row, seconds, connections, 1, f"--rps={per_second / connections}", f"--log-file={log}")
    took = sorted(int(line.split("\t")[2]) for line in open(log))
    return dataclasses.replace(run, p50=took[len(took) // 2] / 1000, p99=took[len(took) * 99 // 100] / 1000)


def stream(row, seconds, down=False):
    """One TCP stream as fast as it goes, from the client or to it."""
    said = []

    def tried():  # the server takes one at a time, and may still be at the end of the one before
        text = _load(row, seconds, "iperf3", "-c", row.address, "-p", row.port, "-t", seconds, "-J", *["-R"] * down)
        said.append(json.loads(text))
        return "error" not in said[-1]
    wait_until(tried, lambda: f"{row.name}: {said[-1]}", seconds=10)
    received = said[-1]["end"]["sum_received"]
    return Run(received["bytes"] / 2**30, received["bits_per_second"] / 1e9)


def median(values):
    return statistics.median(values)
