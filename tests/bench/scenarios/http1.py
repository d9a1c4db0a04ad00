# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1, 1 KiB replies: plain, with rules and a split, at a fixed rate, one request per connection."""
import measure
from rows import Row, rate_rows, show_rates

PEERS = ("nginx", "haproxy", "envoy")
SERVER_PORT = 9080
API = "/api/v1/items?id=42"


def plain_rows(bench):
    return [Row("direct", bench.server.ip4, SERVER_PORT), bench.floor(), bench.weft(),
            *[bench.peer(name, "plain") for name in PEERS]]


def plain(bench):
    table = rate_rows(bench, plain_rows(bench), lambda row, seconds: measure.wrk(bench.client, row, seconds))
    return table, show_rates("A: HTTP/1.1, 32 keep-alive connections", table)


def rules(bench):
    """Ten rules of which the last one matches, then a header and a path, then 90 to 10. A peer cannot know who calls:
    it is told in a header."""
    peer_headers = {"x-env": "prod", "x-principal": "spiffe://cluster.local/ns/web/sa/c9"}
    all_rows = [bench.floor(), bench.weft("ruled", path=API, headers={"x-env": "prod"}),
                *[bench.peer(name, "rules", path=API, headers=peer_headers) for name in PEERS]]
    table = rate_rows(bench, all_rows, lambda row, seconds: measure.wrk(bench.client, row, seconds))
    bench.stop_peers("rules")
    return table, show_rates("B: the same with ten rules, a header and path match, a 90/10 split", table)


def fixed(bench):
    table = rate_rows(bench, plain_rows(bench), lambda row, seconds: measure.fixed_rate(bench.client, row, seconds))
    return table, show_rates("A at 1,000 requests/s, 16 connections", table)


def short(bench):
    """Not the floor: it would relay the client's wish to the backend, and be one connection on both sides."""
    table = rate_rows(bench, [row for row in plain_rows(bench) if row != bench.floor()],
                      lambda row, seconds: measure.wrk(bench.client, row, seconds, close=True))
    return table, show_rates("One request per client connection", table)
