# SPDX-License-Identifier: Apache-2.0
"""weftctl check: what a node or a cluster lacks is named, with what to do about it, before there is an agent."""
import json

import netns
import pytest
from fake_api import GATEWAY, ISTIO, KINDS, fake_api
from lab import binary


def check(*arguments, prefix=()):
    """(exit code, {check: [(status, detail, remedy)]})"""
    done = netns.run(*prefix, binary("weftctl"), "check", "--json", *arguments, check=False)
    assert done.stdout, f"exit {done.returncode}: {done.stderr}"
    found = {}
    for each in json.loads(done.stdout)["checks"]:
        found.setdefault(each["check"], []).append((each["status"], each["detail"], each["remedy"]))
    return done.returncode, found


def check_without(mounts, *arguments):
    """In a mount namespace of its own, without these."""
    gone = " ".join(f"umount -l {point} 2>/dev/null;" for point in mounts)
    return check(*arguments, prefix=("unshare", "-m", "sh", "-c", f'{gone} exec "$@"', "sh"))


def failed(found):
    return {name: [detail for status, detail, _ in each if status == "failed"] for name, each in found.items()
            if any(status == "failed" for status, _, _ in each)}


@pytest.fixture
def node(lab):
    """Flags of a node that has all that Weft needs."""
    return ("--cgroup", lab.cgroup, "--pin-dir", lab.bpffs / "weft")


@pytest.mark.smoke
def test_healthy_node_passes(node, lab):
    code, found = check("--no-api", *node)
    assert (code, failed(found)) == (0, {})
    for name in ("capabilities", "bpffs", "cgroup2", "kernel BTF", "BPF programs", "BPF maps and helpers",
                 "netns cookie", "BPF hooks", "socket destroy", "io_uring"):
        assert found[name][0][0] == "ok", found[name]
    assert found["RBAC"] == [("skipped", "--no-api", "")]
    assert not (lab.bpffs / "weft").exists(), "nothing is made"


def test_missing_bpffs_is_named(node):
    code, found = check_without(["/sys/fs/bpf"], "--no-api", "--cgroup", node[1])
    assert code == 1
    assert failed(found) == {"bpffs": ["missing: a bpffs mounted at /sys/fs/bpf (mount -t bpf bpf /sys/fs/bpf)"]}
    assert found["bpffs"][0][2].startswith("mount -t bpf bpf /sys/fs/bpf")


def test_missing_cgroup2_is_named(node):
    code, found = check_without(reversed(netns.mounts("cgroup2")), "--no-api", *node[2:])
    assert code == 1
    assert failed(found) == {"cgroup2": ["missing: a mounted cgroup2"]}
    assert found["cgroup2"][0][2].startswith("mount -t cgroup2 none")
    assert found["BPF hooks"] == [("skipped", "not looked at without cgroup2", "")]


def test_missing_capabilities_are_named(node):
    code, found = check("--no-api", *node, prefix=("setpriv", "--bounding-set", "-all"))
    assert code == 1
    assert failed(found)["capabilities"] == ["missing: capability CAP_SYS_ADMIN"]
    assert found["BPF hooks"] == [("skipped", "not looked at without the capabilities", "")]


def test_hook_that_another_program_holds_alone_is_named(world, lab):
    program = next(int(number) for number, name in netns.bpf_objects("prog", ["weft_connect4"]).items())
    taken = lab.cgroup / "taken"
    taken.mkdir()
    netns.run("bpftool", "cgroup", "attach", taken, "connect4", "id", program)  # without "multi"
    flags = ("--no-api", "--cgroup", taken, "--pin-dir", world.agent.pin_dir)
    try:
        code, found = check(*flags)
    finally:
        netns.run("bpftool", "cgroup", "detach", taken, "connect4", "id", program)
    assert code == 1
    assert failed(found) == {"BPF hooks": [f"cgroup/connect4 of {taken} is taken: weft_connect4 (id {program}) was "
                                           "attached without BPF_F_ALLOW_MULTI"]}
    assert check(*flags)[0] == 0
    taken.rmdir()


def test_wrong_use_is_told_apart(node):
    for arguments in (("--service-account", "nobody"), ("--kubelet-port", "0"), ("--nonsense",)):
        done = netns.run(binary("weftctl"), "check", *node, *arguments, check=False)
        assert (done.returncode, done.stdout) == (2, ""), done
        assert arguments[0] in done.stderr


def test_text_says_what_to_do(node):
    done = netns.run(binary("weftctl"), "check", *node, check=False)
    assert done.returncode == 1
    assert "API server            failed   not in a cluster: KUBERNETES_SERVICE_HOST" in done.stdout
    assert "\nWhat to do:\n" in done.stdout
    assert "  API server:\n    --kubeconfig PATH, or --no-api to leave the cluster out\n" in done.stdout


# ---- the cluster

def test_cluster_that_has_all_passes(node, lab):
    with fake_api() as api:
        code, found = check(*node, "--kubeconfig", api.kubeconfig(lab.folder))
    assert (code, failed(found)) == (0, {})
    assert found["API server"][0][1].endswith(", v1.35.0")
    assert found[f"CRD httproutes.{GATEWAY}"] == [("ok", "served as v1", "")]
    assert found["Gateway API release"] == [("ok", "v1.6.3, channel standard", "")]
    assert found["RBAC"][0][1].startswith("system:serviceaccount:weft-system:weft has all ")
    lease = [each["spec"]["resourceAttributes"] for each in api.reviews
             if each["spec"]["resourceAttributes"]["resource"] == "leases"]
    assert {each["namespace"] for each in lease} == {"weft-system"} and len(lease) == 5


def test_missing_crds_are_named(node, lab):
    with fake_api(groups={}) as api:
        code, found = check(*node, "--kubeconfig", api.kubeconfig(lab.folder))
    assert code == 1
    for crd in (f"gatewayclasses.{GATEWAY}", f"gateways.{GATEWAY}", f"httproutes.{GATEWAY}",
                f"authorizationpolicies.{ISTIO}"):
        assert found[f"CRD {crd}"][0][:2] == ("failed", "missing")
    assert "standard-install.yaml" in found[f"CRD gateways.{GATEWAY}"][0][2]
    assert "istio/base" in found[f"CRD authorizationpolicies.{ISTIO}"][0][2]


def test_crd_of_versions_that_are_not_read_is_named(node, lab):
    old = {GATEWAY: {"v1alpha2": ["gatewayclasses", "gateways", "httproutes"]}, ISTIO: KINDS[ISTIO]}
    with fake_api(groups=old) as api:
        code, found = check(*node, "--kubeconfig", api.kubeconfig(lab.folder))
    assert code == 1
    assert found[f"CRD gateways.{GATEWAY}"][0][:2] == ("failed", "served as v1alpha2 only, Weft reads v1, v1beta1")


def test_missing_rights_are_named(node, lab):
    denied = {("list", "pods", ""), ("watch", "pods", ""), ("update", "httproutes", "status")}
    with fake_api(denied=denied) as api:
        code, found = check(*node, "--kubeconfig", api.kubeconfig(lab.folder))
    assert code == 1
    who = "system:serviceaccount:weft-system:weft"
    assert [detail.split(" (")[0] for _, detail, _ in found["RBAC"]] == [
        f"{who} may not list, watch pods", f"{who} may not update httproutes/status.{GATEWAY}"]
    assert 'apiGroups: [""], resources: [pods], verbs: [list, watch]' in found["RBAC"][0][2]


def test_rights_of_a_service_account_are_asked_for_by_its_name(node, lab):
    with fake_api() as api:
        code, found = check(*node, "--kubeconfig", api.kubeconfig(lab.folder), "--service-account", "mesh/weft")
    assert code == 0
    assert {(each["kind"], each["spec"]["user"]) for each in api.reviews} == \
        {("SubjectAccessReview", "system:serviceaccount:mesh:weft")}
    assert "mesh" in {each["spec"]["resourceAttributes"].get("namespace") for each in api.reviews}
    assert found["RBAC"][0][1].startswith("system:serviceaccount:mesh:weft has all ")


def test_api_server_that_knows_us_not_or_is_away_is_named(node, lab):
    with fake_api(status=401) as api:
        kubeconfig = api.kubeconfig(lab.folder)
        code, found = check(*node, "--kubeconfig", kubeconfig)
        assert code == 1
        assert found["API server"][0][1].endswith(": HTTP status 401: Unauthorized")
        assert found["RBAC"] == [("skipped", "not looked at without the API server", "")]
    code, found = check(*node, "--kubeconfig", kubeconfig)
    assert code == 1 and "onnect" in found["API server"][0][1]
