# SPDX-License-Identifier: Apache-2.0
"""What one connect() costs: without any program, then beside and through Weft."""
import json

import measure
from lab import binary
from names import BESIDE, ENROLLED, NO_PROGRAMS, REDIRECTED, TO_POD, TRANSLATED
from netns import LabError
from stage import PORT

CONNECTS = 30000
LOCAL_PORT = 9999


def connect(bench):
    cases = {NO_PROGRAMS: (bench.bare_client, "127.0.0.1", LOCAL_PORT, True),
             BESIDE: (bench.outsider, "127.0.0.1", LOCAL_PORT, True),
             ENROLLED: (bench.client, "127.0.0.1", LOCAL_PORT, True),
             REDIRECTED: (bench.client, bench.weft().address, PORT, False),
             TO_POD: (bench.bare_client, bench.bare_server.ip4, PORT, False),
             TRANSLATED: (bench.client, bench.weft("plain").address, PORT, False)}
    runs = {name: [] for name in cases}
    for _ in range(bench.options.rounds):
        for name, case in cases.items():
            runs[name].append(_one(*case))
    table = {name: _row(of, runs[TO_POD if name in (TO_POD, TRANSLATED) else NO_PROGRAMS]) for name, of in runs.items()}
    return table, _show(table)


def _one(pod, address, port, local_listener):
    command = ["taskset", "-c", measure.LOAD_CORE, binary("connect_cost"), address, port, CONNECTS]
    done = pod.run(*command, *(["127.0.0.1", port] if local_listener else []), timeout=120)
    if done.returncode != 0:
        raise LabError(done.stderr)
    return json.loads(done.stdout)


def _row(runs, base):
    row = {key: measure.median([run[key] for run in runs]) for key in runs[0]}
    for ratio, key in (("ratio_p50", "p50_ns"), ("ratio_cpu", "cpu_ns")):
        row[ratio] = round(measure.median([run[key] / other[key] for run, other in zip(runs, base)]), 3)
    return row


def _show(table):
    lines = ["\n## One connect\n", "| case | p50 us | p99 us | CPU us | p50 ratio | CPU ratio |",
             "|---|---|---|---|---|---|"]
    for name, row in table.items():
        absolute = " | ".join(f"{row[key] / 1000:.1f}" for key in ("p50_ns", "p99_ns", "cpu_ns"))
        lines.append(f"| {name} | {absolute} | {row['ratio_p50']:.2f} | {row['ratio_cpu']:.2f} |")
    return "\n".join(lines)
