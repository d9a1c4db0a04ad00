#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make bench: tables, the goals, and build/bench.json. Method and how to read it: docs/performance.md."""
import argparse
import json
import os
import pathlib
import resource
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT / "tests" / "support")]

import goals  # noqa: E402
import measure  # noqa: E402
import netns  # noqa: E402
from lab import Lab  # noqa: E402
from scenarios import connect, fairness, http1, http2, l4, memory, routes  # noqa: E402
from stage import Stage, envoy  # noqa: E402

# --only's words, in the order in which they run: what is measured, and the seconds that it takes at the defaults.
SCENARIOS = {
    "connect": (connect.connect, "what one connect() costs", 25),
    "l4": (l4.connections, "one request per connection, no proxy in the path", 77),
    "plain": (http1.plain, "A: HTTP/1.1, 32 keep-alive connections", 90),
    "rules": (http1.rules, "B: A with ten rules, a match and a split", 99),
    "fixed": (http1.fixed, "A at 1,000 requests/s", 150),
    "short": (http1.short, "A with one request per client connection", 75),
    "h2": (http2.wide, "D: HTTP/2, 32 connections of 1 stream", 75),
    "h2-streams": (http2.deep, "D: HTTP/2, 4 connections of 32 streams", 75),
    "h2-fixed": (http2.fixed, "D at 1,000 requests/s", 125),
    "streams": (l4.streams, "one opaque TCP stream, each way", 155),
    "routes": (routes.last_one, "A through the last of 10 and of 10,000 routes", 134),
    "apply": (routes.apply, "routes coming into force", 10),
    "memory": (memory.memory, "10,000 idle connections, and after they went", 100),
    "fairness": (fairness.fairness, "a client beside a hostile pod", 172),
}


def arguments():
    listing = "\n".join(f"  {name:12} {what} (about {seconds} s)" for name, (_, what, seconds) in SCENARIOS.items())
    total = sum(seconds for *_, seconds in SCENARIOS.values())
    parser = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"scenarios, with their time at the defaults, {total / 60:.0f} min in all:\n{listing}")
    parser.add_argument("--only", default=",".join(SCENARIOS), metavar="NAME,NAME",
                        help="these scenarios (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of every table (default: %(default)s)")
    parser.add_argument("--latency-rounds", type=int, default=5,
                        help="rounds where latencies count: fixed rates, fairness (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=4, help="of one row in one round (default: %(default)s)")
    parser.add_argument("--settle", type=int, default=60,
                        help="seconds from the last close to the last look at memory (default: %(default)s)")
    parser.add_argument("--noise", type=float, default=0.2,
                        help="share of the cores that others may have before a run is repeated, once (default: "
                             "%(default)s)")
    options = parser.parse_args()
    options.wanted = options.only.split(",")
    if unknown := set(options.wanted) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return options


def machine(options):
    said = {name: netns.run(*command) for name, command in
            (("nginx", ("nginx", "-v")), ("haproxy", ("haproxy", "-v")), ("envoy", (envoy(), "--version")))
            if command[0] is not None}
    return {"cores": os.cpu_count(), "kernel": os.uname().release, "options": vars(options),
            "peers": {name: (done.stdout + done.stderr).strip().splitlines()[0] for name, done in said.items()}}


def one(stage, name):
    """A scenario's (result, text). What fails is said, and the others go on."""
    print(f"# {name}", flush=True)
    start = time.monotonic()
    try:
        result, text = SCENARIOS[name][0](stage)
    except (netns.LabError, measure.LoadError, AssertionError, OSError) as error:
        reason = f"{type(error).__name__}: {error}"
        result, text = {"error": reason}, f"\n## {name}\n\nfailed: {reason}"
    print(f"{text}\n\n# {name}: {time.monotonic() - start:.0f} s", flush=True)
    return result


def main():
    options = arguments()
    if os.cpu_count() < 2:
        sys.exit("make bench: needs two cores, one for the proxy and one for its load")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    os.sched_setaffinity(0, {measure.LOAD_CORE})
    output = ROOT / "build" / "bench.json"
    output.parent.mkdir(exist_ok=True)
    results, start = {}, time.monotonic()
    with Lab() as lab, Lab() as bare_lab:
        stage = Stage(lab, bare_lab, options)
        for name in [name for name in SCENARIOS if name in options.wanted]:
            results[name] = one(stage, name)
            lines = goals.verdicts(results)
            output.write_text(json.dumps({"machine": machine(options), "goals": [vars(line) for line in lines],
                                          "results": results}, indent=1) + "\n")
    print(goals.show(lines))
    print(f"\nmake bench: {(time.monotonic() - start) / 60:.0f} min; {output.relative_to(ROOT)}")
    return 1 if any("error" in result for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
