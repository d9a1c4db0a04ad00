# SPDX-License-Identifier: Apache-2.0
"""The chart: what it renders, and that installing, upgrading, rolling back and uninstalling do what they say."""
import json
import os
import pathlib

import pytest
import settings
import weft
from kubectl import kubectl, objects
from node import Node
from pods import apply, echo_pod, service, wait_for
from settings import Failed
from waypoint import gateway, methods, policy

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"
# WEFT_GOLDEN=write: take what is rendered now for right; look at the difference before you commit it.
WRITE = os.environ.get("WEFT_GOLDEN") == "write"
VARIANTS = {
    "default": [],
    "everything": ["--set", "metrics.podMonitor.create=true", "--set", "metrics.serviceMonitor.create=true",
                   "--set", "metrics.dashboards.create=true", "--set", "networkPolicy.create=true",
                   "--set", "resourceQuota.create=true", "--set", f"image.digest=sha256:{64 * '0'}",
                   "--set", "gatewayClass.extra={istio-waypoint}", "--set", "imagePullSecrets[0].name=registry",
                   "--set-string", "podAnnotations.a=b", "--set-string", "nodeSelector.disk=fast",
                   "--api-versions", "monitoring.coreos.com/v1"],
    "bare": ["--set", "gatewayClass.create=false", "--set", "metrics.annotations=false",
             "--set", "engine.resources=null", "--set", "cni.enabled=false"],
}


def render(*arguments):
    return weft.helm("template", weft.RELEASE, weft.CHART, "--namespace", weft.NAMESPACE, *arguments)


def test_the_chart_has_no_lint():
    assert "0 chart(s) failed" in weft.helm("lint", "--strict", weft.CHART).stdout


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_rendered_is_what_was_looked_at(name):
    path, text = GOLDEN / f"{name}.golden", render(*VARIANTS[name]).stdout
    if WRITE:
        path.write_text(text)
    assert text == path.read_text(), f"{path}: WEFT_GOLDEN=write takes the new one"


@pytest.mark.parametrize("wrong, named", [
    (["--set", "image.pullPolicy=Sometimes"], "pullPolicy"),
    (["--set", "engine.workers=-1"], "workers"),
    (["--set", "agent.logLevel=loud"], "logLevel"),
    (["--set", "podAnnotations.a=1"], "podAnnotations"),
    (["--set", "enigne.workers=2"], "enigne"),
    (["--set", "engine.drainSeconds=21", "--set", "terminationGracePeriodSeconds=30"], "drainSeconds"),
    (["--set", "image.digest=latest"], "digest"),
])
def test_a_wrong_value_is_refused_by_its_name(wrong, named):
    done = weft.helm("template", weft.RELEASE, weft.CHART, *wrong, check=False)
    assert done.returncode != 0
    assert named in done.stderr


def test_the_notes_say_what_to_do_next(installed):
    notes = weft.helm("get", "notes", weft.RELEASE, "-n", weft.NAMESPACE).stdout
    assert "not installed" not in notes, "the CRDs are there"
    commands = [line.split() for line in notes.splitlines() if line.startswith("    ")]
    assert [command[:1] for command in commands] == [["kubectl"]] * 3
    kubectl(*commands[0][1:])


def left_on(node):
    """Whatever Weft may have left on a node: pins, sockets, entries of CNI, annotations."""
    script = ("ls -A /run/weft /sys/fs/bpf/weft 2>/dev/null | grep -v ':$'; ls /opt/cni/bin | grep weft; "
              "grep -ls weft /etc/cni/net.d/*; true")
    return Node(node).run("sh", "-c", script).stdout.split()


def annotated_pods():
    return [pod["metadata"]["name"] for pod in objects("pods", "--all-namespaces")
            if "ambient.istio.io/redirection" in pod["metadata"].get("annotations", {})]


def test_upgrade_rollback_and_uninstall(installed, namespace, clients):
    kubectl("label", "namespace", namespace, "istio.io/dataplane-mode=ambient")
    apply(gateway(namespace), policy(namespace, "only", methods("GET")), echo_pod("web", namespace, "node1"),
          service("web", namespace, labels={"istio.io/use-waypoint": "waypoint"}))
    wait_for("condition=Ready", "pod", "--all", namespace=namespace)

    def posts():
        return {node: client.curl("http://web/", "-X", "POST").status for node, client in clients.items()}

    def in_force():
        weft.wait_until(lambda: set(posts().values()) == {403}, 30, "the policy is not in force")

    in_force()
    revision = json.loads(weft.helm("history", weft.RELEASE, "-n", weft.NAMESPACE, "-o", "json").stdout)[-1]["revision"]
    weft.install("--set", "agent.logLevel=debug")
    assert "--log-level=debug" in json.dumps(objects("daemonset", weft.RELEASE, "-n", weft.NAMESPACE))
    in_force()
    weft.helm("rollback", weft.RELEASE, str(revision), "-n", weft.NAMESPACE)
    weft.wait_rolled_out()
    assert "--log-level=debug" not in json.dumps(objects("daemonset", weft.RELEASE, "-n", weft.NAMESPACE))
    in_force()
    assert all(left_on(node) for node in settings.NODES) and annotated_pods(), "there is something to take away"
    try:
        weft.uninstall()
        weft.wait_until(lambda: not objects("pods", "-n", weft.NAMESPACE), 90, "Weft's pods are still there")
        assert {node: left_on(node) for node in settings.NODES} == {node: [] for node in settings.NODES}
        assert annotated_pods() == []
        assert [each["metadata"]["name"] for kind in ("jobs", "serviceaccounts", "roles", "rolebindings")
                for each in objects(kind, "-n", weft.NAMESPACE) if each["metadata"]["name"].startswith("weft")] == []
        assert set(posts().values()) == {200}, "the cluster is as if Weft had never been there"
    finally:
        weft.install()
    in_force()


def test_without_the_plugin_its_entry_goes_and_pods_start(installed, namespace):
    weft.install("--set", "cni.enabled=false")
    try:
        assert all(any("agent.sock" in each for each in left_on(node)) for node in settings.NODES)
        assert not any("weft-cni" in each or "conflist" in each for node in settings.NODES for each in left_on(node))
        apply(echo_pod("late", namespace, "node1"))
        wait_for("condition=Ready", "pod/late", namespace=namespace)
    finally:
        weft.install()
