# SPDX-License-Identifier: Apache-2.0
"""The goals, as pure functions of what the scenarios measured; docs/performance.md has them in words.

A ratio is the median over the rounds of ours against theirs in the same round, so drift of the machine is in neither.
What is itself a difference ("added") can be nothing in one round: there the medians are compared.
"""
import dataclasses
import statistics

import names
from names import DIRECT, FLOOR, WEFT

KIB, MIB = 1024, 2**20


class NotMeasured(Exception):
    """Why there is no figure."""


class NotAsked(NotMeasured):
    """Its scenario did not run."""


@dataclasses.dataclass
class Verdict:
    """One line of the table. `met` is None where nothing was measured, or where the issue sets no goal."""
    figure: str
    found: str
    met: bool | None
    goal: str
    asked: bool = True


def verdicts(results):
    """In the issue's order. A scenario that did not run, or a row that failed, is said and not left out."""
    return [verdict(results, *stated) for stated in goals()]


def verdict(results, figure, goal, measured):
    try:
        return Verdict(figure, *measured(results), goal)
    except NotMeasured as reason:
        return Verdict(figure, f"not measured: {reason}", None, goal, not isinstance(reason, NotAsked))


def show(lines):
    """Without those of scenarios that were not asked for."""
    words = {True: "met", False: "**missed**", None: "-"}
    return "\n".join(["\n## Goals\n", "| figure | Weft | goal | |", "|---|---|---|---|",
                      *[f"| {line.figure} | {line.found} | {line.goal} | {words[line.met]} |"
                        for line in lines if line.asked]])


# ---- looking at tables
def _table(results, *path):
    for part in path:
        if "error" in results:
            break
        if part not in results:
            raise NotAsked(f"{path[0]} did not run")
        results = results[part]
    if "error" in results:
        raise NotMeasured(results["error"])
    return results


def _row(table, name):
    if name not in table["rows"]:
        raise NotMeasured(f"{name}: {table['missing'].get(name, 'no row')}")
    return table["rows"][name]


def _ratios(table, key, ours, theirs):
    return [a[key] / b[key] for a, b in zip(_row(table, ours)["rounds"], _row(table, theirs)["rounds"])]


def _ratio(table, key, ours, theirs):
    if not key.startswith("added_"):
        return statistics.median(_ratios(table, key, ours, theirs))
    base = _row(table, theirs)[key]
    if base <= 0:
        raise NotMeasured(f"{theirs} adds {base} to direct: the machine is not quiet")
    return _row(table, ours)[key] / base


def _peers(table):
    """Those that could be had, and were measured."""
    found = [name for name in table["rows"] if not name.startswith((DIRECT, FLOOR, WEFT))]
    if not found:
        raise NotMeasured("no peer")
    return found


def _absent(table):
    return f"; not measured: {', '.join(table['missing'])}" if table["missing"] else ""


# ---- kinds of goals; each is results -> (what was found, whether it meets the goal)
def _value(path, key, limit, unit):
    def measured(results):
        value = _row(_table(results, *path), WEFT)[key]
        return f"{value:.2f} {unit}", value <= limit
    return measured


def _against(path, theirs, limit, key="cpu"):
    def measured(results):
        table = _table(results, *path)
        ratio = _ratio(table, key, WEFT, theirs)
        return f"{ratio:.2f}x ({_row(table, WEFT)[key]:.4g} against {_row(table, theirs)[key]:.4g})", ratio <= limit
    return measured


def _every_round(path, theirs):
    def measured(results):
        ratios = _ratios(_table(results, *path), "cpu", WEFT, theirs)
        return f"{min(ratios):.2f}x to {max(ratios):.2f}x", max(ratios) < 1
    return measured


def _best_peer(path, key):
    """Against the best of those that were measured; it says who that is."""
    def measured(results):
        table = _table(results, *path)
        best = min(_peers(table), key=lambda name: _row(table, name)[key])
        ratio = _ratio(table, key, WEFT, best)
        found = f"{ratio:.2f}x {best} ({_row(table, WEFT)[key]:.4g} against {_row(table, best)[key]:.4g})"
        return found + _absent(table), ratio <= 1
    return measured


def _saturation(path):
    """The load has one core too, so a cheap proxy does not fill its own: compared is what a full core would serve."""
    def full_core(row):
        return statistics.median(run["rate"] / run["busy"] for run in row["rounds"])

    def measured(results):
        table = _table(results, *path)
        ours = _row(table, WEFT)
        name = max(_peers(table), key=lambda name: full_core(_row(table, name)))
        best = _row(table, name)
        ratio = full_core(ours) / full_core(best)
        seen = ", ".join(f"{row['rate']:.0f} at {row['busy']:.0%}" for row in (ours, best))
        found = f"{ratio:.2f}x {name} ({full_core(ours):.0f} against {full_core(best):.0f}; seen: {seen})"
        return found + _absent(table), ratio > 1
    return measured


def _memory(key, figure):
    def measured(results):
        row = _row(_table(results, "memory"), WEFT)
        return figure(row[key], row)
    return measured


def _connect(case, limit, key="ratio_cpu"):
    def measured(results):
        ratio = _table(results, "connect")[case][key]
        return f"{ratio:.2f}x", ratio <= limit
    return measured


def _l4_connections(results):
    table = _table(results, "l4")
    ratio = _ratio(table, "node", WEFT, DIRECT)
    found = f"{ratio:.2f}x (node {_row(table, WEFT)['node']:.1f} against {_row(table, DIRECT)['node']:.1f} us)"
    return found, ratio <= 1.1


def _many_routes(name, limit):
    def measured(results):
        table = _table(results, "routes")
        many, few = (names.with_routes(name, count) for count in (names.MANY_ROUTES, names.FEW_ROUTES))
        ratio = _ratio(table, "cpu", many, few)
        return f"{ratio:.2f}x", None if limit is None else ratio < limit
    return measured


def _beside_hostile(name):
    def measured(results):
        table = _table(results, "fairness")
        ratio = _ratio(table, "p99_ms", name, names.QUIET)
        beside, quiet = (_row(table, row)["p99_ms"] for row in (name, names.QUIET))
        return f"{ratio:.2f}x ({beside:.3f} against {quiet:.3f} ms)", ratio <= 1.1
    return measured


def _peer_beside_hostile(name):
    def measured(results):
        table = _table(results, "fairness")
        ratio = _ratio(table, "p99_ms", names.peer_flooded(name), names.peer_quiet(name))
        return f"{ratio:.2f}x", None
    return measured


def goals():
    """(figure, the goal in words, how it is judged)."""
    a, b, fixed, h2_fixed = ("plain",), ("rules",), ("fixed",), ("h2-fixed",)
    yield "A: user time per request", "<= 1.5 us", _value(a, "user", 1.5, "us")
    yield "A: user time against the best peer", "<= every peer", _best_peer(a, "user")
    yield "A: CPU against the floor", "<= 1.12x", _against(a, FLOOR, 1.12)
    for peer in ("nginx", "haproxy"):
        yield f"A: CPU against {peer}, every round", "below in each", _every_round(a, peer)
    yield "A: CPU against Envoy", "<= 0.3x", _against(a, "envoy", 0.3)
    yield "A: whole product, node's CPU above direct, against the floor's", "<= 1.12x", \
        _against(a, FLOOR, 1.12, "added_node")
    yield "A: requests/s at saturation, one worker", "above every peer", _saturation(a)
    yield "B: user time per request", "<= 2.5 us", _value(b, "user", 2.5, "us")
    yield "B: CPU against the floor", "<= 1.25x", _against(b, FLOOR, 1.25)
    yield "B: CPU against Envoy", "<= 0.25x", _against(b, "envoy", 0.25)
    yield "B: whole product, node's CPU above direct, against the floor's", "<= 1.25x", \
        _against(b, FLOOR, 1.25, "added_node")
    yield "B: requests/s at saturation, one worker", "above every peer", _saturation(b)
    yield "A at 1,000/s: CPU against the floor", "<= 1.15x", _against(fixed, FLOOR, 1.15)
    yield "A at 1,000/s: added p50 against the floor's", "<= 1.10x", _against(fixed, FLOOR, 1.1, "added_p50_ms")
    yield "A at 1,000/s: p99 against nginx", "<= 1.00x", _against(fixed, "nginx", 1.0, "p99_ms")
    for name, words in (("h2", "D: 32 x 1 streams"), ("h2-streams", "D: 4 x 32 streams")):
        yield f"{words}: CPU against haproxy", "<= 0.8x", _against((name,), "haproxy", 0.8)
        yield f"{words}: CPU against Envoy", "<= 0.35x", _against((name,), "envoy", 0.35)
        yield f"{words}: requests/s at saturation, one worker", "above every peer", _saturation((name,))
    yield "D at 1,000/s: CPU against the best peer", "<= every peer", _best_peer(h2_fixed, "cpu")
    yield "D at 1,000/s: p99 against the best peer", "<= every peer", _best_peer(h2_fixed, "p99_ms")
    yield "one request per client connection: CPU", "<= the best peer", _best_peer(("short",), "cpu")
    yield "L4 only: node's CPU per connection against direct", "<= 1.1x", _l4_connections
    yield "L4 only: CPU of a connect, translated in the kernel", "<= 1.1x", _connect(names.TRANSLATED, 1.1)
    yield "connect: attached, not enrolled, p50", "<= 1.1x", _connect(names.BESIDE, 1.1, "ratio_p50")
    yield "connect: enrolled, not redirected, p50", "<= 1.1x", _connect(names.ENROLLED, 1.1, "ratio_p50")
    yield "connect: redirected, p50", "<= 1.4x", _connect(names.REDIRECTED, 1.4, "ratio_p50")
    for way in ("up", "down"):
        path = ("streams", way)
        yield f"opaque TCP stream {way}: CPU per GiB against haproxy with splice", "<= 1.00x", \
            _against(path, names.HAPROXY_SPLICE, 1.0)
        yield f"opaque TCP stream {way}: against the floor (splice)", "none set", _no_goal(_against(path, FLOOR, 0))
    yield "private memory per idle connection, 10,000 of them", "< 1 KiB", \
        _memory("bytes_per_connection", lambda value, _: (f"{value} bytes", value < KIB))
    yield "10,000 routes, the last hit, against 10", "< 1.2x", _many_routes("weft", 1.2)
    yield "the same of Envoy", "none set", _many_routes("envoy", None)
    yield "RSS idle", "< 20 MiB", _memory("idle_rss", lambda value, _: (f"{value / MIB:.1f} MiB", value < 20 * MIB))
    yield "RSS after 10,000 connections came and went", "within 10 % of idle", \
        _memory("settled_rss", lambda value, row: (f"{value / row['idle_rss']:.2f}x", value <= 1.1 * row["idle_rss"]))
    yield "p99 of a client beside 10,000 idle connections of another pod", "<= 1.1x quiet", \
        _beside_hostile(names.IDLE)
    yield "p99 of a client beside these and a rapid-reset flood", "<= 1.1x quiet", _beside_hostile(names.FLOOD)
    for name in names.FLOODED_PEERS:
        yield f"the flood alone: p99 of a client of {name}", "none set", _peer_beside_hostile(name)


def _no_goal(measured):
    return lambda results: (measured(results)[0], None)
