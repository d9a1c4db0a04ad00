#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The judge of `make bench`, on figures made for it: each kind of goal is met, missed, and not measured."""
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import goals  # noqa: E402
from names import (DIRECT, FEW_ROUTES, FLOOD, FLOOR, HAPROXY_SPLICE, MANY_ROUTES, QUIET, TRANSLATED,  # noqa: E402
                   WEFT, with_routes)


def table(missing=None, **rows):
    """Rows from lists of rounds' figures; the last round is what the medians say."""
    return {"rows": {name: rounds[-1] | {"rounds": rounds} for name, rounds in rows.items()}, "missing": missing or {}}


def rows(weft, **others):
    return table(**{WEFT: [weft], **{name: [figures] for name, figures in others.items()}})


def judged(results, figure):
    stated, = [stated for stated in goals.goals() if stated[0] == figure]
    return goals.verdict(results, *stated)


class Goals(unittest.TestCase):
    def expect(self, figure, met, missed):
        """Results that meet a goal, and such as just miss it."""
        self.assertIs(judged(met, figure).met, True, judged(met, figure))
        self.assertIs(judged(missed, figure).met, False, judged(missed, figure))

    def test_a_value(self):
        self.expect("A: user time per request", {"plain": rows({"user": 1.5})}, {"plain": rows({"user": 1.51})})

    def test_against_one_row(self):
        def against_floor(cpu):
            return {"plain": rows({"cpu": cpu}, **{FLOOR: {"cpu": 10.0}})}
        self.expect("A: CPU against the floor", against_floor(11.2), against_floor(11.3))

    def test_ratios_are_of_the_same_round(self):
        # The machine became twice as slow: the medians alone would say 2x.
        drift = {"plain": table(**{WEFT: [{"cpu": 10.0}, {"cpu": 20.0}], FLOOR: [{"cpu": 10.0}, {"cpu": 20.0}]})}
        drift["plain"]["rows"][FLOOR]["cpu"] = 10.0
        self.assertTrue(judged(drift, "A: CPU against the floor").found.startswith("1.00x"))

    def test_one_lost_round_is_enough_to_miss_every_round(self):
        def against_nginx(*ours):
            return {"plain": table(**{WEFT: [{"cpu": cpu} for cpu in ours], "nginx": [{"cpu": 10.0}] * len(ours)})}
        self.expect("A: CPU against nginx, every round", against_nginx(9.0, 9.9), against_nginx(9.0, 10.0))

    def test_the_best_peer_is_no_relay_and_not_direct(self):
        def short(cpu):
            return {"short": rows({"cpu": cpu}, nginx={"cpu": 30.0}, haproxy={"cpu": 20.0}, **{
                DIRECT: {"cpu": 0.0}, FLOOR: {"cpu": 10.0}})}
        self.expect("one request per client connection: CPU", short(20.0), short(20.1))
        self.assertIn("haproxy", judged(short(20.0), "one request per client connection: CPU").found)

    def test_a_peer_that_the_best_could_not_be_compared_with_is_said(self):
        found = judged({"short": table({"envoy": "no wheel"}, **{WEFT: [{"cpu": 1.0}], "nginx": [{"cpu": 2.0}]})},
                       "one request per client connection: CPU").found
        self.assertIn("not measured: envoy", found)

    def test_saturation_compares_full_cores(self):
        def plain(rate, busy):
            return {"plain": rows({"rate": rate, "busy": busy}, nginx={"rate": 100.0, "busy": 1.0})}
        self.expect("A: requests/s at saturation, one worker", plain(90.0, 0.8), plain(90.0, 0.95))

    def test_what_is_added_needs_a_base(self):
        def fixed(ours, floor):
            return {"fixed": rows({"added_p50_ms": ours}, **{FLOOR: {"added_p50_ms": floor}})}
        figure = "A at 1,000/s: added p50 against the floor's"
        self.expect(figure, fixed(0.11, 0.1), fixed(0.12, 0.1))
        self.assertIsNone(judged(fixed(0.11, -0.01), figure).met)

    def test_connections_without_a_proxy(self):
        def l4(node):
            return {"l4": rows({"node": node}, **{DIRECT: {"node": 50.0}})}
        self.expect("L4 only: node's CPU per connection against direct", l4(55.0), l4(56.0))
        self.expect("L4 only: CPU of a connect, translated in the kernel",
                    {"connect": {TRANSLATED: {"ratio_cpu": 1.1}}},
                    {"connect": {TRANSLATED: {"ratio_cpu": 1.2}}})

    def test_streams(self):
        def down(cpu):
            return {"streams": {"down": rows({"cpu": cpu}, **{HAPROXY_SPLICE: {"cpu": 800.0}})}}
        self.expect("opaque TCP stream down: CPU per GiB against haproxy with splice", down(800.0), down(801.0))

    def test_memory(self):
        def memory(each=1000, idle=10 * 2**20, settled=11 * 2**20):
            return {"memory": rows({"bytes_per_connection": each, "idle_rss": idle, "settled_rss": settled})}
        self.expect("private memory per idle connection, 10,000 of them", memory(), memory(each=1024))
        self.expect("RSS idle", memory(), memory(idle=20 * 2**20))
        self.expect("RSS after 10,000 connections came and went", memory(), memory(settled=11.1 * 2**20))

    def test_routes(self):
        def routes(many):
            return {"routes": table(**{with_routes(WEFT, FEW_ROUTES): [{"cpu": 10.0}],
                                       with_routes(WEFT, MANY_ROUTES): [{"cpu": many}]})}
        self.expect("10,000 routes, the last hit, against 10", routes(11.9), routes(12.0))

    def test_fairness_is_judged_round_by_round(self):
        def beside(*p99s):
            return {"fairness": table(**{QUIET: [{"p99_ms": p99} for p99 in (1.0, 2.0, 3.0)],
                                         FLOOD: [{"p99_ms": p99} for p99 in p99s]})}
        self.expect("p99 of a client beside these and a rapid-reset flood",
                    beside(9.0, 2.2, 3.3), beside(9.0, 2.2, 3.4))

    def test_what_was_not_measured_is_said(self):
        cases = {"it broke": {"plain": {"error": "it broke"}},
                 "no wheel": {"plain": table({"envoy": "no wheel"}, **{WEFT: [{"cpu": 1.0}]})}}
        for reason, results in cases.items():
            line = judged(results, "A: CPU against Envoy")
            self.assertIsNone(line.met)
            self.assertIn(reason, line.found)
            self.assertIn(reason, goals.show([line]))

    def test_what_was_not_asked_for_is_not_in_the_way(self):
        text = goals.show(goals.verdicts({"rules": rows({"user": 1.0})}))
        self.assertIn("B: user time per request", text)
        self.assertNotIn("A: user time per request", text)

    def test_no_figure_is_named_twice(self):
        figures = [figure for figure, *_ in goals.goals()]
        self.assertEqual(sorted(set(figures)), sorted(figures))


if __name__ == "__main__":
    unittest.main()
