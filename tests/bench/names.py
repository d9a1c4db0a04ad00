# SPDX-License-Identifier: Apache-2.0
"""Rows by name: the scenarios write them, the goals look them up."""
DIRECT, WEFT, FLOOR = "direct", "weft", "byte relay (floor)"

NO_PROGRAMS, TO_POD = "no programs", "to another pod, no programs"
BESIDE, ENROLLED, REDIRECTED = "attached, not enrolled", "enrolled, not redirected", "redirected to the engine"
TRANSLATED = "plain service, translated in the kernel"

HAPROXY_SPLICE = "haproxy, splice-auto"

QUIET = "quiet"
IDLE, FLOOD = "10,000 idle connections of another pod", "these and its flood of reset streams"
FLOODED_PEERS = ("haproxy", "envoy")

FEW_ROUTES, MANY_ROUTES = 10, 10000


def with_routes(name, count):
    return f"{name}, {count:,} routes"


def peer_quiet(name):
    return f"{name}, quiet"


def peer_flooded(name):
    return f"{name}, beside the flood"
