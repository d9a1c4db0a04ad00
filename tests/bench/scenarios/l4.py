# SPDX-License-Identifier: Apache-2.0
"""Without HTTP: connections that no proxy is in the path of, and opaque streams through the engine."""
import dataclasses

import measure
from names import HAPROXY_SPLICE
from rows import rate_rows, show_rates
from stage import STREAM_PORT

PEERS = {"nginx": "nginx stream", "haproxy": HAPROXY_SPLICE, "envoy": "envoy"}


def connections(bench):
    """Enrolled pods and a service without a waypoint: only the node's CPU tells, since there is no process."""
    weft = dataclasses.replace(bench.weft("plain"), pid=None)
    rows = [bench.direct(), weft, *[bench.peer(name, "tcp", name=title) for name, title in PEERS.items()]]
    table = rate_rows(bench, rows, lambda row, seconds: measure.wrk(row, seconds, close=True))
    return table, show_rates("L4 only, one request per connection", table, rate="connections/s")


def streams(bench):
    result, text = {}, []
    rows = [bench.direct(STREAM_PORT), bench.floor(STREAM_PORT, "splice"), bench.weft("stream", STREAM_PORT),
            *[bench.peer(name, "tcp", target=STREAM_PORT, name=title) for name, title in PEERS.items()]]
    for way, down in (("up", False), ("down", True)):
        result[way] = rate_rows(bench, rows, lambda row, seconds: measure.stream(row, seconds, down), warm=False,
                                unit=1e3)
        text.append(show_rates(f"One opaque TCP stream, {way}: CPU per GiB", result[way], "ms", "Gbit/s"))
    return result, "\n".join(text)
