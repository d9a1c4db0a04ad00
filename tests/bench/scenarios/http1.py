# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1, 1 KiB replies: plain, with rules and a split, at a fixed rate, one request per connection."""
import measure
from http1 import Session
from rows import Missing, Row, rate_rows, show_rates

PEERS = ("nginx", "haproxy", "envoy")
API = "/api/v1/items?id=42"
NOT_BUILT = Missing("pingora", "a peer of the measuring kit only: it has to be built with cargo")
SPLIT_REQUESTS, SPLIT = 500, (0.05, 0.15)


def plain_rows(bench):
    return [bench.direct(), bench.floor(), bench.weft(), *[bench.peer(name, "plain") for name in PEERS], NOT_BUILT]


def plain(bench):
    table = rate_rows(bench, plain_rows(bench), measure.wrk)
    return table, show_rates("A: HTTP/1.1, 32 keep-alive connections", table)


def rules(bench):
    """Ten rules of which the last one matches, then a header and a path, then 90 to 10. A peer cannot know who calls:
    it is told in a header."""
    peer_headers = {"x-env": "prod", "x-principal": "spiffe://cluster.local/ns/web/sa/c9"}
    floor_options = {"path": API, "headers": peer_headers}
    proxies = [bench.weft("ruled", path=API, headers={"x-env": "prod"}),
               *[bench.peer(name, "rules", path=API, headers=peer_headers) for name in PEERS]]
    for row in proxies:
        if isinstance(row, Row):
            _expect_the_same_decisions(row)
    table = rate_rows(bench, [bench.direct(**floor_options), bench.floor(**floor_options), *proxies], measure.wrk)
    bench.stop_peers("rules")
    return table, show_rates("B: the same with ten rules, a header and path match, a 90/10 split", table)


def _expect_the_same_decisions(row):
    """Rows that do not do the same work are not to be compared."""
    without_env = {name: value for name, value in row.headers.items() if name != "x-env"}
    with Session(row.pod, row.address, row.port) as session:
        found = [session.request(method, path, headers).status for method, path, headers in
                 (("GET", API, row.headers), ("DELETE", API, row.headers), ("GET", "/other", row.headers),
                  ("GET", API, without_env))]
        if found != [200, 403, 403, 404]:
            raise measure.LoadError(f"{row.name} answers {found}")
        to_b = sum(session.request(path=API, headers=row.headers).header("x-backend") == "b"
                   for _ in range(SPLIT_REQUESTS)) / SPLIT_REQUESTS
    if not SPLIT[0] <= to_b <= SPLIT[1]:
        raise measure.LoadError(f"{row.name} sends {to_b:.0%} to b")


def fixed(bench):
    table = rate_rows(bench, plain_rows(bench), measure.fixed_rate, rounds=bench.options.latency_rounds)
    return table, show_rates("A at 1,000 requests/s, 16 connections", table)


def short(bench):
    """Not the floor: it would relay the client's wish to the backend, and be one connection on both sides."""
    table = rate_rows(bench, [row for row in plain_rows(bench) if row.name != bench.floor().name],
                      lambda row, seconds: measure.wrk(row, seconds, close=True))
    return table, show_rates("One request per client connection", table)
