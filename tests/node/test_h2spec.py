# SPDX-License-Identifier: Apache-2.0
"""h2spec, all of it, against the engine as a client of a service meets it."""
import xml.etree.ElementTree

import pytest
from http1 import raw
from manifests import service
from tools import tool
from waiting import wait_until
from world import World

PORT = 9085
ADDRESS = "10.96.0.20"
PATH = "/?delay_ms=50"  # some cases say more while the answer is not there yet
SUITES = ("generic", "hpack", "http2")
CASES_MIN = 145  # as many as h2spec 2.2.1 has: fewer means that it did not run them

# Where we do otherwise on purpose: {(section, case): why}. One that passes is a fault too: then it leaves this list.
OTHERWISE = {
    ("http2/3.5", "Sends invalid connection preface"):
        "a port speaks HTTP/1 as well: what is no preface gets the 400 of HTTP/1 and then the end, shown below",
    ("http2/5.1", "closed: Sends a DATA frame after sending RST_STREAM frame"):
        "RFC 9113 5.1: MAY be an error; nghttp2 drops it",
    ("http2/5.1", "closed: Sends a DATA frame"): "the same",
    ("http2/5.3.1", "Sends PRIORITY frame that depend on itself"):
        "RFC 9113 5.3.2 has done away with priorities; we announce it (RFC 9218 2.1) and pass PRIORITY over",
}


@pytest.fixture(scope="module")
def h2_world(lab):
    world = World(lab)
    world.a.launch(tool("h2echo"), "--name", "a", "--port", PORT)
    world.agent.apply("h2.yaml", service("h2", [ADDRESS], PORT, {"only": "a"}, "waypoint", port_name="http2"))
    wait_until(lambda: world.client.run("curl", "-sS", "--http2-prior-knowledge", "--max-time", "5",
                                        f"http://{ADDRESS}:{PORT}/").returncode == 0, "the service answers")
    return world


def read_report(path):
    """[(section, description, "pass" or what happened)]"""
    cases = []
    for suite in xml.etree.ElementTree.parse(path).iter("testsuite"):
        for case in suite.iter("testcase"):
            fault = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
            result = "pass" if fault is None else f"{fault.tag}: {' '.join((fault.text or '').split())}"
            cases.append((case.get("package"), case.get("classname"), result))
    return cases


@pytest.mark.parametrize("strict", [False, True], ids=["must", "strict"])
def test_every_case_of_h2spec_passes(h2_world, strict):
    report = h2_world.lab.folder / "h2spec.xml"
    done = h2_world.client.run(tool("h2spec"), *SUITES, "--host", ADDRESS, "--port", PORT, "--timeout", 2, "--path", PATH,
                               "--junit-report", report, *(["--strict"] if strict else []), timeout=400)
    cases = read_report(report)
    assert len(cases) >= CASES_MIN, done.stdout[-2000:]
    faults = [case for case in cases if (case[2] == "pass") == (case[:2] in OTHERWISE)]
    table = "\n".join(f"| {' | '.join(case)} |" for case in faults)
    assert faults == [], f"{len(faults)} of {len(cases)} cases:\n{table}"


def test_what_is_no_preface_is_refused_as_http1_and_ends(h2_world):
    received, end = raw(h2_world.client, ADDRESS, PORT, b"INVALID CONNECTION PREFACE\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 400 ") and end == "fin"
