# SPDX-License-Identifier: Apache-2.0
"""Weft on the cluster as its users have it: the image of `make image`, installed by the chart."""
import hashlib
import json
import os
import pathlib
import subprocess
import time
import urllib.error
import urllib.request

import settings
from exposition import Metrics
from kubectl import kubectl, objects
from node import Node
from settings import PROGRAMS, REPOSITORY, Failed

NAMESPACE = "weft-system"
RELEASE = "weft"
CHART = REPOSITORY / "helm"
ARCHIVE = REPOSITORY / "build" / "image" / "weft.tar"
METRICS_PORT = 15020
ROLLOUT_SECONDS = 120


def helm(*arguments, seconds=60.0, check=True):
    """The finished process. Not within the time, or with check a status other than 0: Failed."""
    command = [PROGRAMS / "helm", f"--kubeconfig={settings.KUBECONFIG}", *arguments]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=seconds,
                          env={**os.environ, "KUBECONFIG": str(settings.KUBECONFIG)})
    if check and done.returncode != 0:
        raise Failed(f"helm {' '.join(map(str, arguments))}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def import_image():
    """On every node; returns the archive's digest."""
    if not ARCHIVE.exists():
        raise Failed(f"{ARCHIVE.relative_to(REPOSITORY)} is not there: make image")
    digest = hashlib.sha256(ARCHIVE.read_bytes()).hexdigest()[:16]
    for name in settings.NODES:
        Node(name).run("ctr", "-n", "k8s.io", "images", "import", ARCHIVE)
    return digest


def install(*arguments):
    """`helm upgrade --install` with the image as it is now; returns when every node runs it."""
    digest = import_image()
    helm("upgrade", "--install", RELEASE, CHART, "--namespace", NAMESPACE, "--create-namespace",
         "--set", "image.pullPolicy=Never", "--set-string", f"podAnnotations.test/image={digest}", *arguments)
    wait_rolled_out()


def wait_rolled_out(seconds=ROLLOUT_SECONDS):
    done = kubectl("rollout", "status", f"daemonset/{RELEASE}", "--namespace", NAMESPACE, f"--timeout={seconds:g}s",
                   seconds=seconds + 10, check=False)
    if done.returncode != 0:
        told = "\n".join(kubectl(*what, "--namespace", NAMESPACE, check=False).stdout[-3000:]
                         for what in (["get", "pods", "-o", "wide"], ["events"]))
        raise Failed(f"{RELEASE} is not rolled out within {seconds:g} s: {done.stderr.strip()}\n{told}")


def uninstall():
    helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", seconds=300)


def pods_of():
    """{name: node} of Weft's pods, those that are ending too."""
    return {pod["metadata"]["name"]: pod["spec"].get("nodeName")
            for pod in objects("pods", "--namespace", NAMESPACE, "--selector", "app.kubernetes.io/name=weft")}


def agent_pod(node):
    """The name of the pod that serves on a node."""
    pods = [pod["metadata"]["name"]
            for pod in objects("pods", "--namespace", NAMESPACE, "--selector", "app.kubernetes.io/name=weft",
                               "--field-selector", f"spec.nodeName={node}")
            if "deletionTimestamp" not in pod["metadata"]]
    if len(pods) != 1:
        raise Failed(f"{node}: {len(pods)} pods of Weft: {pods}")
    return pods[0]


def weftctl(node, *arguments, seconds=30.0, check=True):
    return kubectl("exec", "--namespace", NAMESPACE, agent_pod(node), "--container", "agent", "--", "weftctl",
                   *arguments, seconds=seconds, check=check)


def status(node):
    return json.loads(weftctl(node, "status", "-o", "json").stdout)


def metrics(node):
    """One scrape of a node's metrics port, from the machine."""
    status, text = _get(node, "/metrics")
    if status != 200:
        raise Failed(f"{node}: /metrics: status {status}")
    return Metrics(text)


def probe(node, path):
    """The HTTP status of /readyz or /healthz."""
    return _get(node, path)[0]


def _get(node, path):
    try:
        with urllib.request.urlopen(f"http://{settings.node_address(node)}:{METRICS_PORT}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def sync(timeout=30):
    """What the API has is in force on every node."""
    for node in settings.NODES:
        done = weftctl(node, "--timeout", timeout, "sync", seconds=timeout + 10, check=False)
        if done.returncode != 0:
            raise Failed(f"{node}: weftctl sync: {done.stdout.strip()} {done.stderr.strip()}")


def wait_until(condition, seconds, what):
    """Returns the first truthy value of condition(). `what` may be a function, for what is only known at the end."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise Failed(f"{what() if callable(what) else what}: not within {seconds:g} s")
        time.sleep(0.2)
