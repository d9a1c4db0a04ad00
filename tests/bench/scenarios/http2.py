# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 over cleartext on both sides, 1 KiB replies. The nginx of the distribution has none towards its backends."""
import measure
from rows import Row, rate_rows, show_rates

PEERS = ("haproxy", "envoy")
SERVER_PORT = 9082


def _rows(bench):
    return [Row("direct", bench.server.ip4, SERVER_PORT), bench.weft("h2", SERVER_PORT),
            *[bench.peer(name, "h2", http2=True) for name in PEERS]]


def _measured(bench, connections, streams):
    table = rate_rows(bench, _rows(bench),
                      lambda row, seconds: measure.h2load(bench.client, row, seconds, connections, streams))
    return table, show_rates(f"D: HTTP/2, {connections} connections of {streams} streams", table)


def wide(bench):
    return _measured(bench, 32, 1)


def deep(bench):
    return _measured(bench, 4, 32)
