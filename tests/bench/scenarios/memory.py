# SPDX-License-Identifier: Apache-2.0
"""Memory: idle, with ten thousand idle connections that made one request each, and after they have gone."""
import time

import measure
from http1 import Session

PEERS = ("nginx", "haproxy", "envoy")
CONNECTIONS = 10000
WARM = 64


def memory(bench):
    rows = [bench.weft(), *[bench.peer(name, "plain") for name in PEERS]]
    table = {row.name: _with_connections(bench, row) for row in rows}
    time.sleep(bench.options.settle)
    for row in rows:
        table[row.name]["settled_rss"] = measure.resident_bytes(row.pid)
    frames = {f"{name}{dict(fields) or ''}": value for name, fields, value in bench.agent.metrics().samples
              if "frame" in name and name.endswith("_bytes")}
    return {"rows": table, "frames": frames}, _show(table, frames)


def _with_connections(bench, row):
    warm = _connect(bench, row, WARM)
    idle, before = measure.resident_bytes(row.pid), measure.private_bytes(row.pid)
    sessions = _connect(bench, row, CONNECTIONS)
    after = measure.private_bytes(row.pid)
    for session in warm + sessions:
        session.close()
    return {"idle_rss": idle, "bytes_per_connection": round((after - before) / CONNECTIONS)}


def _connect(bench, row, count):
    sessions = [Session(bench.client, row.address, row.port) for _ in range(count)]
    for session in sessions:
        session.request()
    return sessions


def _show(table, frames):
    lines = [f"\n## Memory, {CONNECTIONS} connections\n",
             "| row | RSS idle, MiB | bytes per idle connection | RSS after they went, MiB |", "|---|---|---|---|"]
    for name, row in table.items():
        lines.append(f"| {name} | {row['idle_rss'] / 2**20:.1f} | {row['bytes_per_connection']} | "
                     f"{row['settled_rss'] / 2**20:.1f} |")
    return "\n".join([*lines, "", *[f"{name}: {value:g}" for name, value in frames.items()]])
