# SPDX-License-Identifier: Apache-2.0
"""What one pod's client notices when another pod is hostile: it holds ten thousand connections, then floods too."""
import contextlib
import dataclasses
import json
import subprocess
import time

import measure
from lab import binary
from names import FLOOD, FLOODED_PEERS, IDLE, QUIET, peer_flooded, peer_quiet
from rows import Missing, Row, rate_rows, show_rates
from scenarios.memory import CONNECTIONS, open_sessions
from stage import H2_PORT

FORGOTTEN_SECONDS = 16  # FloodRules: 10 after the last flood, which may wait for 4 after its client has ended
NO_NGINX = Missing("nginx", "a cleartext port of nginx 1.22 speaks either HTTP/1.1 or HTTP/2")


def fairness(bench):
    """A peer gets the flood alone."""
    hostile = dataclasses.replace(bench.weft("h2", H2_PORT), pod=bench.hostile)
    floods = {FLOOD: (hostile, done := {})}
    idle = _IdleConnections(dataclasses.replace(bench.weft(), pod=bench.hostile))

    def load(row, seconds):
        idle.want(row.name in (IDLE, FLOOD))  # the warm second before each run is where they come and go
        with _flooding(*floods[row.name]) if row.name in floods else contextlib.nullcontext():
            run = measure.fixed_rate(row, seconds)
        if row.name == FLOOD:
            idle.flooded()
        return run

    with contextlib.closing(idle):
        ours = rate_rows(bench, [bench.weft(name=name) for name in (QUIET, IDLE, FLOOD)], load,
                         bench.options.latency_rounds)
    peers = []
    for row in [bench.peer(name, "plain") for name in FLOODED_PEERS]:
        if isinstance(row, Row):
            floods[peer_flooded(row.name)] = (row, {})
            peers += [dataclasses.replace(row, name=of(row.name)) for of in (peer_quiet, peer_flooded)]
        else:
            peers.append(row)
    theirs = rate_rows(bench, [*peers, NO_NGINX], load)
    table = {key: ours[key] | theirs[key] for key in ("rows", "missing")}
    text = show_rates("Fairness: A at 1,000 requests/s beside a hostile client", table)
    return table | {"flood": done}, f"{text}\n\nthe flood on Weft: {json.dumps(done)}"


class _IdleConnections:
    def __init__(self, row):
        self.row, self.sessions, self.welcome = row, [], 0

    def want(self, wanted):
        if wanted and not self.sessions:
            time.sleep(max(0, self.welcome - time.monotonic()))
            self.sessions = open_sessions(self.row, CONNECTIONS)
        elif not wanted:
            self.close()

    def flooded(self):
        """The engine remembers it: new connections of the pod would wait."""
        self.welcome = time.monotonic() + FORGOTTEN_SECONDS

    def close(self):
        for session in self.sessions:
            session.close()
        self.sessions = []


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
