# SPDX-License-Identifier: Apache-2.0
"""Many routes: what a request costs that the last of them matches, and how long it takes to bring them into force."""
import time

import measure
from manifests import backend, dump, http_route, namespace, service_parent
from names import FEW_ROUTES, MANY_ROUTES, WEFT, with_routes
from rows import rate_rows, show_rates
from stage import PORT
from waiting import wait_until

PEERS = ("nginx", "haproxy", "envoy")
STEPS = (FEW_ROUTES, 1000, MANY_ROUTES)


def last_one(bench):
    """Few and many side by side: two services for Weft, two processes for each peer."""
    rows = []
    for service, count in (("few", FEW_ROUTES), ("many", MANY_ROUTES)):
        _write(bench, service, count)
        path = f"/route-{count - 1}/x"
        weft = bench.weft(service, name=with_routes(WEFT, count), path=path)
        wait_until(lambda: bench.answers(weft), "the last route answers")
        rows += [weft, *[bench.peer(name, "routes", count, name=with_routes(name, count), path=path) for name in PEERS]]
    table = rate_rows(bench, rows, measure.wrk)
    bench.stop_peers("routes")
    bench.agent.remove("few.yaml", "many.yaml")
    return table, show_rates("Prefix routes, the last one hit", table)


def apply(bench):
    bench.start_weft()
    steps, lines = {}, ["\n## Routes coming into force\n", "| routes | file to in force, ms | next small change, ms |",
                        "|---|---|---|"]
    for count in STEPS:
        first = _timed(lambda: _write(bench, "many", count))
        assert bench.answers(bench.weft("many", path=f"/route-{count - 1}/x"))
        # One small change on top: what an ordinary day costs at this size.
        small = _timed(lambda: bench.agent.apply("small.yaml", namespace(f"extra-{count}")))
        steps[count] = {"file_to_in_force_ms": first, "next_change_ms": small}
        lines.append(f"| {count} | {first} | {small} |")
    bench.agent.remove("many.yaml", "small.yaml")
    return steps, "\n".join(lines)


def _write(bench, service, count):
    bench.start_weft()
    one = dump(http_route(f"{service}-@", [service_parent(service)], [
        {"matches": [{"path": {"type": "PathPrefix", "value": "/route-@"}}],
         "backendRefs": [backend(service, PORT)]}]))
    bench.lab.apply(f"{service}.yaml", "---\n".join(one.replace("@", str(number)) for number in range(count)))
    bench.agent.ctl("--timeout", 120, "sync")


def _timed(act):
    start = time.monotonic()
    act()
    return round((time.monotonic() - start) * 1000)
