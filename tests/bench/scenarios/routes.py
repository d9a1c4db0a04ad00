# SPDX-License-Identifier: Apache-2.0
"""Many routes: what a request costs that the last of them matches, and how long it takes to bring them into force."""
import time

import measure
from manifests import backend, dump, http_route, namespace, service_parent
from rows import Row, rate_rows, show_rates
from waiting import wait_until

PEERS = ("nginx", "haproxy", "envoy")
FEW, MANY = 10, 10000
STEPS = (FEW, 1000, MANY)
PORT = 9080


def last_one(bench):
    result, text = {}, []
    for count in (FEW, MANY):
        _write(bench, count)
        path = f"/route-{count - 1}/x"
        weft = bench.weft("many", path=path)
        wait_until(lambda: bench.answers(weft), "the last route answers")
        all_rows = [weft, *[bench.peer(name, "routes", count, path=path) for name in PEERS]]
        result[count] = rate_rows(bench, all_rows, lambda row, seconds: measure.wrk(bench.client, row, seconds))
        bench.stop_peers("routes")
        text.append(show_rates(f"{count} prefix routes, the last one hit", result[count]))
    bench.agent.remove("many.yaml")
    return result, "\n".join(text)


def apply(bench):
    bench.start_weft()
    steps, lines = {}, ["\n## Routes coming into force\n", "| routes | file to in force, ms | next small change, ms |",
                        "|---|---|---|"]
    for count in STEPS:
        first = _timed(lambda: _write(bench, count))
        assert bench.answers(Row("weft", bench.weft("many").address, PORT, path=f"/route-{count - 1}/x"))
        # One small change on top: what an ordinary day costs at this size.
        small = _timed(lambda: bench.agent.apply("small.yaml", namespace(f"extra-{count}")))
        steps[count] = {"file_to_in_force_ms": first, "next_change_ms": small}
        lines.append(f"| {count} | {first} | {small} |")
    bench.agent.remove("many.yaml", "small.yaml")
    return steps, "\n".join(lines)


def _write(bench, count):
    bench.start_weft()
    one = dump(http_route("many-@", [service_parent("many")], [
        {"matches": [{"path": {"type": "PathPrefix", "value": "/route-@"}}], "backendRefs": [backend("many", PORT)]}]))
    bench.lab.apply("many.yaml", "---\n".join(one.replace("@", str(number)) for number in range(count)))
    bench.agent.ctl("--timeout", 120, "sync")


def _timed(act):
    start = time.monotonic()
    act()
    return round((time.monotonic() - start) * 1000)
