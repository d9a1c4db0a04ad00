# SPDX-License-Identifier: Apache-2.0
"""Node tests: real namespaces, real programs, real clients. One lab and one agent per module where that is possible."""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))

import pytest  # noqa: E402
from lab import Lab, sweep  # noqa: E402
from world import World  # noqa: E402


def pytest_configure(config):
    if os.geteuid() != 0:
        raise pytest.UsageError("node tests make network namespaces and load BPF: run them as root")
    config.addinivalue_line("markers", "smoke: the few that also run on the sanitizer build")
    sweep()


@pytest.fixture(scope="module")
def lab():
    """A lab of the module; what is left after its end fails the module."""
    made = Lab()
    try:
        yield made
    finally:
        made.close()
    assert made.leftovers() == []


@pytest.fixture
def own_lab():
    """A lab of one test: for tests that kill, restart or delete."""
    made = Lab()
    try:
        yield made
    finally:
        made.close()
    assert made.leftovers() == []


@pytest.fixture(scope="module")
def shared_world(lab):
    return World(lab)


@pytest.fixture
def world(shared_world):
    """The module's world without routes and policies of earlier tests."""
    yield shared_world
    shared_world.clear()
    for app in shared_world.apps.values():
        app.answer(None)


@pytest.fixture
def own_world(own_lab):
    """A world of one test, for tests that kill, restart or delete."""
    return World(own_lab)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failed test shows the end of Weft's own log, and what other programs have complained about."""
    report = (yield).get_result()
    if report.when == "call" and report.failed:
        labs = {id(lab): lab for lab in (getattr(value, "lab", value) for value in item.funcargs.values())
                if isinstance(lab, Lab)}
        for lab in labs.values():
            report.sections += [("weft's log", agent.log_tail(40)) for agent in lab.agents]
            report.sections += [(name, text[-4000:]) for name, text in lab.said()]
