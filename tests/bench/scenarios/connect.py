# SPDX-License-Identifier: Apache-2.0
"""What one connect() costs: before any program is attached, then beside and through Weft."""
import json

import measure
from lab import binary
from netns import LabError

CONNECTS = 30000
PORT, LOCAL_PORT = 9080, 9999
NONE, TO_POD = "no programs", "to another pod, no programs"


def connect(bench):
    assert bench.agent is None, "connect has to be measured before Weft runs"
    before = {NONE: (bench.client, "127.0.0.1", LOCAL_PORT, True), TO_POD: (bench.client, bench.server.ip4, PORT, False)}
    runs = {name: [] for name in before}
    _measure(bench, before, runs)
    redirected, plain = bench.weft().address, bench.weft("plain").address
    after = {"attached, not enrolled": (bench.outsider, "127.0.0.1", LOCAL_PORT, True),
             "enrolled, not redirected": (bench.client, "127.0.0.1", LOCAL_PORT, True),
             "redirected to the engine": (bench.client, redirected, PORT, False),
             "plain service, translated in the kernel": (bench.client, plain, PORT, False)}
    runs |= {name: [] for name in after}
    _measure(bench, after, runs)
    table = {name: _row(of, runs[TO_POD if name == TO_POD or "translated" in name else NONE])
             for name, of in runs.items()}
    return table, _show(table)


def _measure(bench, cases, runs):
    for _ in range(bench.options.rounds):
        for name, case in cases.items():
            runs[name].append(_one(*case))


def _one(pod, address, port, local_listener):
    command = ["taskset", "-c", measure.LOAD_CORE, binary("connect_cost"), address, port, CONNECTS]
    done = pod.run(*command, *(["127.0.0.1", port] if local_listener else []), timeout=120)
    if done.returncode != 0:
        raise LabError(done.stderr)
    return json.loads(done.stdout)


def _row(runs, base):
    row = {key: measure.median([run[key] for run in runs]) for key in runs[0]}
    for ratio, key in (("ratio_p50", "p50_ns"), ("ratio_cpu", "cpu_ns")):
        row[ratio] = round(row[key] / measure.median([run[key] for run in base]), 2)
    return row


def _show(table):
    lines = ["\n## One connect\n", "| case | p50 us | p99 us | CPU us | p50 ratio | CPU ratio |", "|---|---|---|---|---|---|"]
    for name, row in table.items():
        lines.append(f"| {name} | {row['p50_ns'] / 1000:.1f} | {row['p99_ns'] / 1000:.1f} | {row['cpu_ns'] / 1000:.1f} | "
                     f"{row['ratio_p50']} | {row['ratio_cpu']} |")
    return "\n".join(lines)
