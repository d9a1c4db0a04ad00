# SPDX-License-Identifier: Apache-2.0
"""weftctl check on real nodes and against a real API server. What it says of missing CRDs: tests/node/test_check.py."""
import json
import os
import pathlib

import processes
import pytest
import settings
import weft
from kubectl import kubectl

WEFTCTL = pathlib.Path(os.environ.get("WEFT_BIN") or settings.REPOSITORY / "build" / "release" / "bin").resolve() / "weftctl"
NODES = pytest.mark.parametrize("node", settings.NODES)


def kubeconfig(folder, name, user):
    """As the admin's, but by an address that nodes reach, and as that user."""
    config = json.loads(settings.KUBECONFIG.read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://{settings.CONTROL_PLANE}:{settings.API_PORT}"
    config["users"][0]["user"] = user or config["users"][0]["user"]
    path = folder / name
    path.write_text(json.dumps(config))
    return path


def admin(folder):
    return kubeconfig(folder, "admin", None)


def service_account(folder, namespace, name):
    kubectl("create", "serviceaccount", name, "--namespace", namespace)
    token = kubectl("create", "token", name, "--namespace", namespace).stdout.strip()
    return kubeconfig(folder, name, {"token": token})


def check(node, *arguments, without=None):
    """(exit code, {check: [(status, detail)]}) on a node, without that mount."""
    command = [WEFTCTL, "check", "--json", *arguments]
    if without:
        command = ["unshare", "--mount", "sh", "-c", f'umount -l {without} && exec "$@"', "sh", *command]
    done = node.run(*command, seconds=60, check=False)
    assert done.stdout, f"exit {done.returncode}: {done.stderr}"
    found = {}
    for each in json.loads(done.stdout)["checks"]:
        found.setdefault(each["check"], []).append((each["status"], each["detail"]))
    return done.returncode, found


def failed(found):
    return {name: [detail for status, detail in each if status == "failed"] for name, each in found.items()
            if any(status == "failed" for status, _ in each)}


@NODES
def test_healthy_node_passes_and_its_kubelet_is_known(nodes, node, tmp_path):
    code, found = check(nodes[node], "--kubeconfig", admin(tmp_path))
    assert (code, failed(found)) == (0, {})
    assert found["kubelet"] == [("ok", f"kubelet, pid {processes.pid_of(f'{node}-kubelet')}: its probes will pass")]
    version = settings.module_version("kube", "k8s.io/kubernetes")
    assert found["API server"] == [("ok", f"https://{settings.CONTROL_PLANE}:{settings.API_PORT}, {version}")]
    for crd in ("gatewayclasses.gateway.networking.k8s.io", "httproutes.gateway.networking.k8s.io",
                "authorizationpolicies.security.istio.io"):
        assert found[f"CRD {crd}"] == [("ok", "served as v1")]
    assert found["Gateway API release"][0][0] == "ok"


@pytest.mark.parametrize("without, name", [("/sys/fs/bpf", "bpffs"), ("cgroup2", "cgroup2")])
def test_missing_mount_is_named(nodes, without, name):
    node = nodes["node1"]
    if without == "cgroup2":
        without = node.run("findmnt", "-n", "-o", "TARGET", "-t", "cgroup2").stdout.split()[0]
    code, found = check(node, "--no-api", without=without)
    assert (code, list(failed(found))) == (1, [name]), found


def test_service_account_without_rights_is_told_which(nodes, namespace, tmp_path):
    code, found = check(nodes["node1"], "--kubeconfig", service_account(tmp_path, namespace, "none"))
    assert (code, list(failed(found))) == (1, ["RBAC"])
    who = f"system:serviceaccount:{namespace}:none"
    said = [detail.split(" (")[0] for detail in failed(found)["RBAC"]]
    assert {f"{who} may not list, watch pods", f"{who} may not list, watch httproutes.gateway.networking.k8s.io",
            f"{who} may not update gateways/status.gateway.networking.k8s.io"} <= set(said)


def test_only_rights_that_the_settings_need_are_asked_for(nodes, namespace, tmp_path):
    code, found = check(nodes["node1"], "--kubeconfig", service_account(tmp_path, namespace, "reader"),
                        "--status", "off", "--daemonset", f"{namespace}/weft")
    said = [detail.split(" (")[0] for detail in failed(found)["RBAC"]]
    assert code == 1 and said
    assert f"system:serviceaccount:{namespace}:reader may not get, list, watch daemonsets.apps weft" in said
    assert not [line for line in said if any(verb in line for verb in ("update", "patch", "create", "delete"))]


def test_rights_that_were_granted_are_not_named(nodes, namespace, tmp_path):
    name = f"{namespace}-some"
    config = service_account(tmp_path, namespace, "some")
    kubectl("create", "clusterrole", name, "--verb=list,watch", "--resource=pods,namespaces")
    try:
        kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", f"--serviceaccount={namespace}:some")
        code, found = check(nodes["node2"], "--kubeconfig", config)
        by_admin = check(nodes["node2"], "--kubeconfig", admin(tmp_path), "--service-account", f"{namespace}/some")
    finally:
        kubectl("delete", "clusterrole,clusterrolebinding", name, "--ignore-not-found")
    said = " ".join(failed(found)["RBAC"])
    assert code == 1
    assert "watch pods" not in said and "namespaces" not in said and "list, watch services" in said
    assert failed(by_admin[1])["RBAC"] == failed(found)["RBAC"]


@pytest.mark.parametrize("node", settings.NODES)
def test_in_the_agents_own_container_everything_is_there(installed, node):
    done = weft.weftctl(node, "check", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
