# SPDX-License-Identifier: Apache-2.0
"""What one pod's client notices when another pod is hostile: it holds ten thousand connections, then floods too."""
import contextlib
import dataclasses
import json
import subprocess

import measure
from lab import binary
from names import FLOOD, FLOODED_PEERS, IDLE, QUIET, QUIET_AFTER, peer_flooded, peer_quiet
from rows import Missing, Row, rate_rows, show_rates
from scenarios.memory import CONNECTIONS, open_sessions
from stage import H2_PORT

NO_NGINX = Missing("nginx", "a cleartext port of nginx 1.22 speaks either HTTP/1.1 or HTTP/2")


def fairness(bench):
    """Quiet before and after: the machine's drift is in the rest too. A peer gets the flood alone."""
    hostile = dataclasses.replace(bench.weft("h2", H2_PORT), pod=bench.hostile)
    floods = {}

    def load(row, seconds):
        with _flooding(*floods[row.name]) if row.name in floods else contextlib.nullcontext():
            return measure.fixed_rate(row, seconds)

    def measured(rounds, *rows):
        tables.append(rate_rows(bench, rows, load, rounds))

    tables, latency_rounds = [], bench.options.latency_rounds
    floods[FLOOD] = (hostile, done := {})
    measured(latency_rounds, bench.weft(name=QUIET))
    sessions = open_sessions(dataclasses.replace(bench.weft(), pod=bench.hostile), CONNECTIONS)
    measured(latency_rounds, bench.weft(name=IDLE), bench.weft(name=FLOOD))
    for session in sessions:
        session.close()
    measured(latency_rounds, bench.weft(name=QUIET_AFTER))
    peers = []
    for row in [bench.peer(name, "plain") for name in FLOODED_PEERS]:
        if isinstance(row, Row):
            floods[peer_flooded(row.name)] = (row, {})
            peers += [dataclasses.replace(row, name=of(row.name)) for of in (peer_quiet, peer_flooded)]
        else:
            peers.append(row)
    measured(bench.options.rounds, *peers, NO_NGINX)
    table = {key: {name: row for part in tables for name, row in part[key].items()} for key in ("rows", "missing")}
    text = show_rates("Fairness: A at 1,000 requests/s beside a hostile client", table)
    return table | {"flood": done}, f"{text}\n\nthe flood on Weft: {json.dumps(done)}"


@contextlib.contextmanager
def _flooding(target, done):
    """On the load's core, where it gets only time that nobody else wants: the client must not lose its CPU to it. What
    the flood did is added to `done`."""
    process = target.pod.start("chrt", "--idle", 0, "taskset", "-c", measure.LOAD_CORE, binary("flood"),
                               target.address, target.port, stdout=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        process.terminate()
        said = json.loads(process.communicate(timeout=30)[0])
        target.pod.processes.remove(process)
        for key, count in said.items():
            done[key] = done.get(key, 0) + count
