# SPDX-License-Identifier: Apache-2.0
"""Tests on a real Kubernetes cluster of two nodes: the one of `make kube-up`, which is brought up if there is none."""
import os
import pathlib
import subprocess
import sys
import uuid

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "cluster")]
sys.path.append(str(HERE.parent / "support"))

import pytest  # noqa: E402
import settings  # noqa: E402
import weft  # noqa: E402
from kubectl import kubectl  # noqa: E402
from node import Node  # noqa: E402
from pods import Client, apply, wait_for  # noqa: E402

UP_SECONDS = 3600  # with everything to build


def pytest_configure():
    if os.geteuid() != 0:
        raise pytest.UsageError("tests of the cluster make network namespaces and cgroups: run them as root")


@pytest.fixture(scope="session")
def nodes():
    """{name: Node} of a cluster that is up."""
    subprocess.run([sys.executable, settings.FOLDER / "cluster.py", "up"], check=True, timeout=UP_SECONDS)
    return {name: Node(name) for name in settings.NODES}


@pytest.fixture(scope="session")
def installed(nodes):
    """Weft as the chart installs it by default, with the image of `make image`. It stays: the next run upgrades it."""
    weft.install()


@pytest.fixture(scope="module")
def namespace(nodes, request):
    """A namespace of the module; it ends with all that is in it."""
    name = f"{request.module.__name__.removeprefix('test_').replace('_', '-')}-{uuid.uuid4().hex[:6]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--timeout=180s", seconds=190)


@pytest.fixture(scope="module")
def clients(nodes, namespace):
    """{node: Client}: one in a pod of each node."""
    made = {node: Client(f"client-{node}", namespace, node) for node in nodes}
    apply(*(client.manifest for client in made.values()))
    wait_for("condition=Ready", *(f"pod/{client.name}" for client in made.values()), namespace=namespace)
    return made


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failed test shows what the cluster says of its namespace, and where the daemons' logs are."""
    report = (yield).get_result()
    name = item.funcargs.get("namespace") if hasattr(item, "funcargs") else None
    if report.failed and name:
        for what in (["get", "pods", "-o", "wide"], ["events"]):
            said = kubectl(*what, "--namespace", name, check=False).stdout
            report.sections.append((f"kubectl {' '.join(what)}", said[-4000:]))
        report.sections.append(("logs", str(settings.LOGS)))
