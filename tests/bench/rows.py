# SPDX-License-Identifier: Apache-2.0
"""What is measured side by side: a row is an address to load and the process whose CPU and memory count."""
import dataclasses
import os
import pathlib

import measure
from names import DIRECT
from waiting import Late

PEERS = pathlib.Path(__file__).resolve().parent / "peers"
RULES = 10


@dataclasses.dataclass
class Row:
    name: str
    pod: object  # where the load comes from
    address: str
    port: int
    pid: int | None = None  # None: no proxy
    path: str = "/"
    headers: dict = dataclasses.field(default_factory=dict)
    programs: frozenset = frozenset()  # BPF programs that belong to it

    @property
    def url(self):
        return f"http://{self.address}:{self.port}{self.path}"


@dataclasses.dataclass
class Missing:
    """What could not be measured, and why: it has its line in the table all the same."""
    name: str
    reason: str


def fill(template, words, repeats):
    """Replaces @WORD@; lines that begin with %%WHAT| come once for each of range(repeats[WHAT]), @I@ is its number."""
    out, block, what = [], [], None

    def end_block():
        for number in range(repeats.get(what, 0)):
            out.extend(line.replace("@I@", str(number)) for line in block)
        block.clear()
    for line in template.splitlines():
        kind = line[2:].split("|", 1)[0] if line.startswith("%%") else None
        if kind != what:
            end_block()
            what = kind
        if kind is None:
            out.append(line)
        else:
            block.append(line.split("|", 1)[1])
    end_block()
    text = "\n".join(out) + "\n"
    for word, value in words.items():
        text = text.replace(f"@{word}@", str(value))
    return text


def rate_rows(bench, rows, load, rounds=None, warm=True, unit=1e6):
    """Interleaved rounds: each measures every row once, after one warm second. A table {"rows": ..., "missing": ...} of
    medians and every round. CPU is per request, in `unit` of a second."""
    runs = {row.name: [] for row in rows if isinstance(row, Row)}
    missing = {row.name: row.reason for row in rows if isinstance(row, Missing)}
    with measure.bpf_statistics():
        for _ in range(rounds or bench.options.rounds):
            for row in [row for row in rows if row.name not in missing]:
                try:
                    if warm:
                        load(row, 1)
                    runs[row.name].append(_quiet_run(bench, row, load, unit))
                except (measure.LoadError, Late) as error:
                    missing[row.name] = str(error)
                    del runs[row.name]
    direct = runs.get(DIRECT, [])
    return {"rows": {name: _median(_above(of, direct)) for name, of in runs.items()}, "missing": missing}


def _quiet_run(bench, row, load, unit):
    """Once more if others had too much of the cores; the quieter run counts, whatever it says."""
    run = _one_run(bench, row, load, unit)
    if run["others"] > bench.options.noise:
        run = min(run, _one_run(bench, row, load, unit), key=lambda one: one["others"])
    return run


def _one_run(bench, row, load, unit):
    looked_at = (row.pid, row.programs, bench.cgroups)
    before = measure.usage(*looked_at)
    run = load(row, bench.options.seconds)
    used = measure.usage(*looked_at) - before

    def each(seconds):
        return seconds / run.amount * unit
    user = used.cpu * used.user / max(used.user + used.system, 1 / measure.TICKS)
    figures = {"user": each(user), "system": each(used.cpu - user), "bpf": each(used.bpf),
               "cpu": each(used.cpu + used.bpf), "node": each(used.node), "busy": used.cpu / used.wall,
               "rate": run.rate, "others": (used.node - used.lab) / used.wall / os.cpu_count()}
    if run.p50 is not None:
        figures |= {"p50_ms": run.p50, "p99_ms": run.p99}
    return figures


def _above(runs, direct):
    """With what the node, and the latencies, have more than without a proxy in the same round."""
    def more(key, run, base):
        return {f"added_{key}": run[key] - base[key]} if key in run and key in base else {}
    return [run | more("node", run, base) | more("p50_ms", run, base) | more("p99_ms", run, base)
            for run, base in zip(runs, direct)] or runs


def _median(runs):
    return {key: round(measure.median([run[key] for run in runs]), 4) for key in runs[0]} | {
        "rounds": [{key: round(value, 4) for key, value in run.items()} for run in runs]}


def show_rates(title, table, unit="us", rate="requests/s"):
    floor = next((row["cpu"] for name, row in table["rows"].items() if "floor" in name), None)
    lines = [f"\n## {title}\n", f"| row | user {unit} | system {unit} | BPF {unit} | CPU {unit} | against the floor | "
             f"node {unit} above direct | {rate} | its core busy | p50 ms | p99 ms |", "|---" * 11 + "|"]
    for name, row in table["rows"].items():
        proxied = row["cpu"] > 0
        cells = [f"{row[key]:.2f}" if proxied else "-" for key in ("user", "system", "bpf", "cpu")]
        cells.append(f"{row['cpu'] / floor:.2f}" if floor and proxied else "-")
        cells.append(f"{row['added_node']:.1f}" if proxied and "added_node" in row else f"(node {row['node']:.1f})")
        cells.append(f"{row['rate']:.1f}" if row["rate"] < 1000 else f"{row['rate']:.0f}")
        cells.append(f"{row['busy']:.0%}" if proxied else "-")
        cells += [f"{row[key]:.3f}" if key in row else "-" for key in ("p50_ms", "p99_ms")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines + show_missing(table) + _show_others(table))


def _show_others(table):
    """Kernel threads and interrupts are in it, so it is never nothing."""
    shares = [run["others"] for row in table["rows"].values() for run in row["rounds"]]
    return ["", f"not the lab's: {min(shares):.0%} to {max(shares):.0%} of the cores"] if shares else []


def show_missing(table):
    return [f"| {name} | not measured: {' '.join(reason.split())[:200]} |" for name, reason in table["missing"].items()]
