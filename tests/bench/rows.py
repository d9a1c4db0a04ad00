# SPDX-License-Identifier: Apache-2.0
"""What is measured side by side: a row is an address to load and the process whose CPU and memory count."""
import dataclasses
import pathlib

import measure

PEERS = pathlib.Path(__file__).resolve().parent / "peers"
ENVOY = "lib/python3*/site-packages/envoy/_bin/envoy"
RULES = 10


@dataclasses.dataclass
class Row:
    name: str
    address: str
    port: int
    pid: int | None = None  # None: no proxy
    path: str = "/"
    headers: dict = dataclasses.field(default_factory=dict)

    @property
    def url(self):
        return f"http://{self.address}:{self.port}{self.path}"


def fill(template, words, repeats):
    """Replaces @WORD@; lines that begin with %%WHAT| come once for each of range(repeats[WHAT]), with @I@ its number."""
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


def rate_rows(bench, rows, load):
    """Medians of interleaved rounds, in us per request: every round measures every row once, after one warm second."""
    runs = {row.name: [] for row in rows}
    for _ in range(bench.options.rounds):
        for row in rows:
            load(row, 1)
            before = measure.cpu_seconds(row.pid) if row.pid else (0, 0)
            run = load(row, bench.options.seconds)
            after = measure.cpu_seconds(row.pid) if row.pid else (0, 0)
            runs[row.name].append((run, *((b - a) / run.requests * 1e6 for a, b in zip(before, after))))
    table = {}
    for name, of in runs.items():
        user, system = (measure.median([run[part] for run in of]) for part in (1, 2))
        table[name] = {"user_us": round(user, 2), "system_us": round(system, 2), "cpu_us": round(user + system, 2),
                       "requests_per_second": round(measure.median([run[0].rate for run in of]))}
        if of[0][0].p50 is not None:
            table[name] |= {"p50_ms": round(measure.median([run[0].p50 for run in of]), 3),
                            "p99_ms": round(measure.median([run[0].p99 for run in of]), 3)}
    return table


def show_rates(title, table):
    floor = next((row["cpu_us"] for name, row in table.items() if "floor" in name), None)
    lines = [f"\n## {title}\n", "| row | user us | system us | CPU us | against the floor | requests/s | p50 ms | p99 ms |",
             "|---|---|---|---|---|---|---|---|"]
    for name, row in table.items():
        ratio = f"{row['cpu_us'] / floor:.2f}" if floor and row["cpu_us"] else "-"
        lines.append(f"| {name} | {row['user_us']} | {row['system_us']} | {row['cpu_us']} | {ratio} | "
                     f"{row['requests_per_second']} | {row.get('p50_ms', '-')} | {row.get('p99_ms', '-')} |")
    return "\n".join(lines)
