# SPDX-License-Identifier: Apache-2.0
"""What one pod's client notices when another pod is hostile: it holds ten thousand connections, then floods."""
import contextlib
import dataclasses
import json
import subprocess

import measure
from lab import binary
from rows import rate_rows, show_rates
from scenarios.memory import CONNECTIONS, open_sessions
from stage import H2_PORT

QUIET, QUIET_AFTER = "quiet", "quiet, afterwards"
IDLE, FLOOD = "10,000 idle connections of another pod", "and its flood of reset streams"


def fairness(bench):
    """Quiet before and after: the machine's drift is in the rest too."""
    def measured(name):
        row = bench.weft(name=name)
        return rate_rows(bench, [row], measure.fixed_rate, rounds=bench.options.latency_rounds)
    tables = [measured(QUIET)]
    sessions = open_sessions(dataclasses.replace(bench.weft(), pod=bench.hostile), CONNECTIONS)
    tables.append(measured(IDLE))
    with _flooding(bench) as done:
        tables.append(measured(FLOOD))
    for session in sessions:
        session.close()
    tables.append(measured(QUIET_AFTER))
    table = {key: {name: row for part in tables for name, row in part[key].items()} for key in ("rows", "missing")}
    text = show_rates("Fairness: A at 1,000 requests/s beside a hostile pod", table)
    return table | {"flood": done}, f"{text}\n\nthe flood: {json.dumps(done)}"


@contextlib.contextmanager
def _flooding(bench):
    """On the load's core, where it gets only time that nobody else wants: the client must not lose its CPU to it."""
    target = bench.weft("h2", H2_PORT)
    process = bench.hostile.start("chrt", "--idle", 0, "taskset", "-c", measure.LOAD_CORE, binary("flood"),
                                  target.address, target.port, stdout=subprocess.PIPE, text=True)
    done = {}
    try:
        yield done
    finally:
        process.terminate()
        done |= json.loads(process.communicate(timeout=30)[0])
        bench.hostile.processes.remove(process)
