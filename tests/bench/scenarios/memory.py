# SPDX-License-Identifier: Apache-2.0
"""Memory: idle, with ten thousand idle connections that made one request each, and after they have gone."""
import time

import measure
from http1 import Session
from rows import Missing, Row, show_missing

PEERS = ("nginx", "haproxy", "envoy")
CONNECTIONS = 10000
WARM = 64


def memory(bench):
    """Every proxy is a new process: what earlier load left behind would hide what these connections take."""
    bench.fresh_engine()
    bench.stop_peers("plain")
    rows = [bench.weft(), *[bench.peer(name, "plain") for name in PEERS]]
    table = {row.name: _with_connections(row) for row in rows if isinstance(row, Row)}
    time.sleep(bench.options.settle)
    for row in rows:
        if isinstance(row, Row):
            table[row.name]["settled_rss"] = measure.resident_bytes(row.pid)
    frames = {f"{name}{dict(fields) or ''}": value for name, fields, value in bench.agent.metrics().samples
              if "frame" in name and name.endswith("_bytes")}
    result = {"rows": table, "frames": frames,
              "missing": {row.name: row.reason for row in rows if isinstance(row, Missing)}}
    return result, _show(result)


def _with_connections(row):
    fresh = measure.resident_bytes(row.pid)
    warm = open_sessions(row, WARM)
    idle, before = measure.resident_bytes(row.pid), measure.private_bytes(row.pid)
    sessions = open_sessions(row, CONNECTIONS)
    after = measure.private_bytes(row.pid)
    for session in warm + sessions:
        session.close()
    return {"fresh_rss": fresh, "idle_rss": idle, "bytes_per_connection": round((after - before) / CONNECTIONS)}


def open_sessions(row, count):
    """Connections that have made one request each."""
    sessions = [Session(row.pod, row.address, row.port) for _ in range(count)]
    for session in sessions:
        session.request()
    return sessions


def _show(result):
    lines = [f"\n## Memory, {CONNECTIONS} connections\n",
             "| row | RSS at start, MiB | RSS idle, MiB | bytes per idle connection | RSS after they went, MiB |",
             "|---|---|---|---|---|"]
    for name, row in result["rows"].items():
        lines.append(f"| {name} | {row['fresh_rss'] / 2**20:.1f} | {row['idle_rss'] / 2**20:.1f} | "
                     f"{row['bytes_per_connection']} | {row['settled_rss'] / 2**20:.1f} |")
    return "\n".join([*lines, *show_missing(result), "",
                      *[f"{name}: {value:g}" for name, value in result["frames"].items()]])
