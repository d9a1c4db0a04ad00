# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 over cleartext on both sides, 1 KiB replies."""
import measure
from rows import Missing, rate_rows, show_rates
from stage import H2_PORT

PEERS = ("haproxy", "envoy")
NO_NGINX = Missing("nginx", "nginx 1.22 of the distribution speaks no HTTP/2 to its backends")


def _rows(bench):
    return [bench.direct(H2_PORT), bench.floor(H2_PORT), bench.weft("h2", H2_PORT),
            *[bench.peer(name, "h2", http2=True) for name in PEERS], NO_NGINX]


def _measured(bench, connections, streams):
    table = rate_rows(bench, _rows(bench), lambda row, seconds: measure.h2load(row, seconds, connections, streams))
    return table, show_rates(f"D: HTTP/2, {connections} connections of {streams} stream{'s' * (streams > 1)}", table)


def wide(bench):
    return _measured(bench, 32, 1)


def deep(bench):
    return _measured(bench, 4, 32)


def fixed(bench):
    table = rate_rows(bench, _rows(bench), measure.h2_fixed_rate, rounds=bench.options.latency_rounds)
    return table, show_rates("D at 1,000 requests/s, 16 connections", table)
