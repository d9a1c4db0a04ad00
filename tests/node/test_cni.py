# SPDX-License-Identifier: Apache-2.0
"""weft-cni: a starting pod is held until its policies hold, and let go of when the container runtime says so."""
import contextlib
import json
import os
import pathlib
import signal
import sys
import time
import uuid

import netns
import pytest
from cni import Runtime, end
from http1 import request
from lab import binary
from manifests import namespace, policy, service, waypoint_gateway
from waiting import wait_until
from weft import ENGINE_USER, Agent
from world import PORT

NODE = "node-a"
IP = "10.96.0.1"
DENIED = policy("none", "DENY", [{}])


def manifest(pod, addresses=(), **changes):
    """The Pod object as the API has it: without an annotation, and at first without addresses."""
    made = pod.manifest(**changes)
    del made["metadata"]["annotations"]
    made["metadata"]["uid"] = pod.uid
    made["spec"]["nodeName"] = NODE
    made["status"] = {"phase": "Running" if addresses else "Pending",
                      "conditions": [{"type": "Ready", "status": "True" if addresses else "False"}]}
    if addresses:
        made["status"]["podIPs"] = [{"ip": address} for address in addresses]
    return made


def new_pod(lab, name, **options):
    """A namespace with addresses, and no process of the pod yet: what a runtime has when it calls the plugins."""
    pod = lab.pod(name, **options)
    pod.uid = str(uuid.uuid4())
    return pod


def state(agent, pod):
    return next((entry for entry in agent.status()["pods"] if entry["uid"] == f"{pod.namespace}/{pod.name}"), None)


def left_of(lab, agent, pod):
    """What the agent still has of a pod, in words."""
    left = [] if state(agent, pod) is None or state(agent, pod)["state"] in ("waiting",) else ["the registry's entry"]
    left += [name for name in lab.pins() if name.startswith("weft/link_pod_")]
    return left


def namespace_of(pod):
    status = (netns.NETNS_FOLDER / pod.netns).stat()
    return status.st_dev, status.st_ino


def open_files(agent):
    """Device and inode of each of the agent's descriptors."""
    found = set()
    for link in pathlib.Path(f"/proc/{agent.process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add((link.stat().st_dev, link.stat().st_ino))
    return found


@pytest.fixture
def node(own_lab):
    """A service web in front of pods with the label app: web. Nobody may ask it; the pods come later."""
    lab = own_lab
    (lab.cgroup / "kubepods").mkdir()
    lab.outsider = lab.pod("outsider", namespace="plain")
    lab.apply("base.yaml", namespace("default"), namespace("plain", ambient=False), waypoint_gateway(),
              service("web", [IP], PORT, {"app": "web"}, "waypoint"), DENIED)
    lab.runtime = Runtime(lab)
    lab.node_agent = lab.agent(arguments=("--node-name", NODE, "--kubepods-root", lab.cgroup,
                                          "--cni-socket", lab.folder / "cni.sock"))
    lab.node_agent.sync()
    return lab


@pytest.mark.smoke
@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_pod_is_held_until_it_is_captured_and_its_first_packet_is_governed(node, version):
    agent, runtime = node.node_agent, node.runtime
    runtime.version = version
    server = new_pod(node, "server", labels={"app": "web"})
    adding = runtime.begin("ADD", server)
    wait_until(lambda: agent.status()["cni"]["starting"], "the agent is asked")
    assert "not seen this Pod" in agent.status()["cni"]["starting"][0]["reason"]
    node.apply("server.yaml", manifest(server))
    assert end(adding) == (0, runtime.result(server), "")
    assert state(agent, server)["state"] == "captured"
    assert set(state(agent, server)["addresses"]) == {server.ip4, server.ip6}
    server.serve(PORT)
    assert request(node.outsider, server.ip4, PORT).status == 403
    assert request(node.outsider, server.ip6, PORT).status == 403
    assert runtime.call("CHECK", server)[0] == 0
    assert agent.metrics().total("weft_agent_cni_answers_total", reason="captured") == 2


def test_duplicate_add_and_check_are_answered_the_same(node):
    agent, runtime = node.node_agent, node.runtime
    server = new_pod(node, "server", labels={"app": "web"})
    node.apply("server.yaml", manifest(server))
    assert runtime.call("ADD", server)[0] == 0
    first = state(agent, server)
    assert runtime.call("ADD", server)[0] == 0
    assert runtime.call("CHECK", server)[0] == 0
    assert state(agent, server)["id"] == first["id"]


def test_identity_of_a_client_is_its_own_from_its_first_connection(node):
    agent, runtime = node.node_agent, node.runtime
    server = new_pod(node, "server", labels={"app": "web"})
    agent.apply("policy.yaml", policy("allow", "ALLOW", [{"from": [{"source": {"principals":
                                                          ["cluster.local/ns/default/sa/friend"]}}]}]))
    base = [namespace("default"), namespace("plain", ambient=False), waypoint_gateway(),
            service("web", [IP], PORT, {"app": "web"}, "waypoint")]
    node.apply("base.yaml", *base)
    node.apply("server.yaml", manifest(server, [server.ip4, server.ip6]))
    assert runtime.call("ADD", server)[0] == 0
    server.serve(PORT)
    for name, expected in (("friend", 200), ("foe", 403)):
        pod = new_pod(node, name, service_account=name)
        node.apply(f"{name}.yaml", manifest(pod))
        assert runtime.call("ADD", pod)[0] == 0
        assert request(pod, IP, PORT).status == expected


def test_pod_that_is_not_enrolled_is_answered_at_once_but_known_by_its_address(node):
    agent, runtime = node.node_agent, node.runtime
    free = new_pod(node, "free", namespace="plain")
    node.apply("free.yaml", manifest(free))
    began = time.monotonic()
    assert runtime.call("ADD", free) == (0, runtime.result(free), "")
    assert time.monotonic() - began < 2
    assert state(agent, free) is None
    assert agent.metrics().total("weft_agent_cni_answers_total", reason="not_enrolled") == 1
    assert agent.status()["cni"]["sandboxes"] == 1
    # Nothing of ours keeps its namespace.
    free.delete()
    wait_until(free.link_gone, "its namespace goes")


def test_pod_that_nobody_knows_is_refused_in_time(node):
    agent, runtime = node.node_agent, node.runtime
    unknown = new_pod(node, "unknown")
    began = time.monotonic()
    code, said, log = runtime.call("ADD", unknown, timeoutSeconds=1)
    assert 1 <= time.monotonic() - began < 3
    assert (code, said["code"], said["cniVersion"]) == (1, 100, "1.0.0")
    assert "not seen this Pod object" in said["msg"] and "not seen this Pod object" in log
    # Another pod of that name, before this one's object is gone, is not taken for it.
    node.apply("unknown.yaml", manifest(unknown))
    node.node_agent.sync()
    unknown.uid = str(uuid.uuid4())
    assert runtime.call("ADD", unknown, timeoutSeconds=1)[0] == 1
    assert agent.metrics().total("weft_agent_cni_answers_total", reason="refused") == 2
    assert runtime.call("ADD", unknown, timeoutSeconds=1, failurePolicy="failOpen")[:2] == (0, runtime.result(unknown))
    wait_until(lambda: agent.metrics().total("weft_agent_cni_fail_opens_total") == 1, "it is counted", 15)


def test_without_an_engine_a_pod_does_not_start(own_lab):
    lab = own_lab
    lab.apply("base.yaml", namespace("default"))
    agent = Agent(lab, engine=False, arguments=("--node-name", NODE, "--kubepods-root", lab.cgroup,
                                                "--cni-socket", lab.folder / "cni.sock"))
    lab.agents.append(agent)
    agent.launch()
    wait_until(lambda: agent.http("/readyz")[0] == 503, "it runs")
    pod, runtime = new_pod(lab, "pod"), Runtime(lab)
    lab.apply("pod.yaml", manifest(pod))
    code, said, _ = runtime.call("ADD", pod, timeoutSeconds=1)
    assert (code, said["code"]) == (1, 100)
    assert "no engine" in said["msg"]


def test_with_the_agent_down_pods_wait_for_it_then_fail_as_configured(node):
    agent, runtime = node.node_agent, node.runtime
    server = new_pod(node, "server", labels={"app": "web"})
    node.apply("server.yaml", manifest(server))
    agent.sync()
    agent.kill_agent()
    began = time.monotonic()
    code, said, _ = runtime.call("ADD", server, timeoutSeconds=1)
    assert (code, said["code"]) == (1, 11)
    assert 1 <= time.monotonic() - began < 3
    assert runtime.call("DEL", server)[0] == 0
    assert runtime.call("ADD", server, timeoutSeconds=1, failurePolicy="failOpen")[:2] == (0, runtime.result(server))
    # What must start before the agent can, and what is no pod, does not ask at all.
    for options in ({"excludeNamespaces": ["default"]}, {"interface": "net1"}):
        began = time.monotonic()
        assert runtime.call("ADD", server, **options)[:2] == (0, runtime.result(server))
        assert time.monotonic() - began < 1
    assert runtime.call("STATUS", server)[:2] == (0, None)
    assert runtime.call("GC", server)[:2] == (0, None)
    # An agent that is only being replaced is waited for.
    adding = runtime.begin("ADD", server, "c2", timeoutSeconds=30)
    agent.start()
    assert end(adding)[0] == 0
    assert state(agent, server)["state"] == "captured"
    wait_until(lambda: agent.metrics().total("weft_agent_cni_fail_opens_total") == 1, "the open one is counted", 15)
    assert not (node.folder / "cni.sock.failed-open").exists()


def test_del_releases_everything_within_a_second(node):
    agent, runtime = node.node_agent, node.runtime
    server = new_pod(node, "server", labels={"app": "web"})
    node.apply("server.yaml", manifest(server))
    assert runtime.call("ADD", server)[0] == 0
    node.apply("server.yaml", manifest(server, [server.ip4, server.ip6]))
    agent.sync()
    assert [name for name in node.pins() if name.startswith("weft/link_pod_")]
    # Another sandbox's end is not this one's.
    assert runtime.call("DEL", server, "c0", netns=False)[0] == 0
    assert state(agent, server)["state"] == "captured"
    began = time.monotonic()
    assert runtime.call("DEL", server) == (0, None, "")
    server.delete()
    wait_until(server.link_gone, "nothing of ours keeps its namespace", 1 - (time.monotonic() - began))
    wait_until(lambda: not left_of(node, agent, server), lambda: f"nothing is left: {left_of(node, agent, server)}",
               1.5 - (time.monotonic() - began))
    assert runtime.call("DEL", server)[0] == 0  # again
    assert runtime.call("DEL", server, netns=False)[0] == 0
    # The object is still there, and says an address that is nobody's now.
    assert state(agent, server) is None


def test_end_of_a_pod_that_a_former_agent_was_told_of_is_known_by_its_namespace(node):
    agent, runtime = node.node_agent, node.runtime
    server = new_pod(node, "server", labels={"app": "web"})
    server.cgroup = node.cgroup / "kubepods" / f"pod{server.uid}" / ("0" * 64)
    server.cgroup.mkdir(parents=True)
    node.apply("server.yaml", manifest(server))
    assert runtime.call("ADD", server)[0] == 0
    assert state(agent, server)["netns"] == "given by the container runtime"
    inside = namespace_of(server)
    assert inside in open_files(agent)
    sandbox = server.start("sleep", "1000")
    wait_until(lambda: state(agent, server)["netns"] == f"/proc/{sandbox.pid}/ns/net", "it is found by its process")
    wait_until(lambda: inside not in open_files(agent), "no descriptor keeps the namespace")
    agent.kill_agent()
    agent.start()
    agent.sync()
    assert state(agent, server)["state"] == "captured"
    assert runtime.call("DEL", server, "another", netns=False)[0] == 0
    assert state(agent, server)["state"] == "captured"
    server.end_processes()
    assert runtime.call("DEL", server)[0] == 0
    server.delete()
    wait_until(server.link_gone, "nothing of ours keeps its namespace", 1)
    assert state(agent, server) is None


def test_pod_of_a_manifest_with_an_annotation_is_captured_where_that_says(node):
    agent, runtime = node.node_agent, node.runtime
    server = node.pod("server", labels={"app": "web"})
    adding = runtime.begin("ADD", server)  # a runtime that gives no uid: the name tells
    agent.apply("server.yaml", server.manifest())
    assert end(adding)[0] == 0
    assert state(agent, server)["netns"] == server.netns
    wait_until(lambda: namespace_of(server) not in open_files(agent), "no descriptor keeps the namespace")
    assert runtime.call("DEL", server)[0] == 0
    server.delete()
    wait_until(server.link_gone, "nothing of ours keeps its namespace", 1)
    assert state(agent, server) is None


def test_fifty_pods_that_start_and_go_at_once_leave_nothing(node):
    agent, runtime = node.node_agent, node.runtime
    pods = [new_pod(node, f"pod-{number}", labels={"app": "web"}) for number in range(50)]
    adding = [runtime.begin("ADD", pod, f"c-{pod.name}", timeoutSeconds=30) for pod in pods]
    node.apply("pods.yaml", *[manifest(pod) for pod in pods])
    assert [end(process, 60)[0] for process in adding] == [0] * 50
    assert {entry["state"] for entry in agent.status()["pods"]} == {"captured"}
    assert len(agent.status()["pods"]) == 50
    namespaces = {namespace_of(pod) for pod in pods}
    going = [runtime.begin("DEL", pod, f"c-{pod.name}") for pod in pods]
    assert [end(process)[0] for process in going] == [0] * 50
    for pod in pods:
        pod.delete()
    wait_until(lambda: not {pod.link for pod in pods} & node.links(), "nothing of ours keeps a namespace", 2)
    node.remove("pods.yaml")
    agent.sync()
    status = agent.status()
    assert (status["pods"], status["cni"]["sandboxes"]) == ([], 0)
    assert not [name for name in node.pins() if name.startswith("weft/link_pod_")]
    entries = {table["name"]: table["entries"] for table in status["datapath"]["maps"]}
    assert (entries["pods"], entries["pod_addresses"], entries["inbound_ports"], entries["listeners"]) == (0, 0, 0, 0)
    assert not namespaces & open_files(agent)


def test_pods_that_start_or_go_together_are_compiled_together(node):
    """As after a reboot. In a large cluster one compile takes 50 ms, and nothing is answered meanwhile."""
    agent, runtime = node.node_agent, node.runtime
    pods = [new_pod(node, f"pod-{number}", labels={"app": "web"}) for number in range(20)]
    agent.apply("pods.yaml", *[manifest(pod) for pod in pods])

    def together(command):
        """How many generations it took."""
        before = agent.status()["generation"]["wanted"]
        os.kill(agent.process.pid, signal.SIGSTOP)
        try:
            asking = [runtime.begin(command, pod, f"c-{pod.name}", timeoutSeconds=30) for pod in pods]
            connected = f" {node.folder / 'cni.sock'}\n"  # one line more: the listener
            wait_until(lambda: pathlib.Path("/proc/net/unix").read_text().count(connected) > len(pods), "all have asked")
        finally:
            os.kill(agent.process.pid, signal.SIGCONT)
        assert [end(process)[0] for process in asking] == [0] * len(pods)
        return agent.status()["generation"]["wanted"] - before

    assert 1 <= together("ADD") <= len(pods) / 2
    assert {entry["state"] for entry in agent.status()["pods"]} == {"captured"}
    assert 1 <= together("DEL") <= len(pods) / 2
    assert agent.status()["pods"] == []


def test_deleted_object_releases_everything_within_a_second(node):
    agent, runtime = node.node_agent, node.runtime
    server = new_pod(node, "server", labels={"app": "web"})
    node.apply("server.yaml", manifest(server))
    assert runtime.call("ADD", server)[0] == 0
    node.remove("server.yaml")
    began = time.monotonic()
    server.delete()
    wait_until(server.link_gone, "nothing of ours keeps its namespace", 1)
    wait_until(lambda: not left_of(node, agent, server), "nothing is left", 1.5 - (time.monotonic() - began))
    assert agent.status()["cni"]["sandboxes"] == 0


def test_new_sandbox_of_a_pod_takes_the_place_of_the_old_one(node):
    """The API still says the addresses of the sandbox before; another pod has them by now."""
    agent, runtime = node.node_agent, node.runtime
    first = new_pod(node, "server", labels={"app": "web"})
    node.apply("server.yaml", manifest(first, [first.ip4, first.ip6]))
    assert runtime.call("ADD", first)[0] == 0
    old = state(agent, first)
    second = new_pod(node, "server-again", labels={"app": "web"})
    second.uid, second.name = first.uid, first.name
    assert runtime.call("ADD", second, "c2")[0] == 0  # no DEL of the first came
    new = state(agent, second)
    assert new["id"] != old["id"] and set(new["addresses"]) == {second.ip4, second.ip6}
    first.delete()
    wait_until(first.link_gone, "nothing of ours keeps the first namespace", 2)
    other = new_pod(node, "other")
    other.ip4, other.ip6 = first.ip4, first.ip6
    node.apply("other.yaml", manifest(other))
    assert runtime.call("ADD", other, "c3")[0] == 0
    assert set(state(agent, other)["addresses"]) == {first.ip4, first.ip6}
    # At last the API says it, too; then something else, which counts.
    agent.apply("server.yaml", manifest(first, [second.ip4, second.ip6]))
    assert set(state(agent, second)["addresses"]) == {second.ip4, second.ip6}
    agent.apply("server.yaml", manifest(first, ["10.77.0.99"]))
    assert state(agent, second)["addresses"] == ["10.77.0.99"]
    texts = [fault["message"] for entry in agent.status()["objects"] for fault in entry["diagnostics"]]
    assert [text for text in texts if "container runtime told weft-cni" in text]


def test_un_enrolling_by_label_cuts_no_connection_and_needs_no_restart(node):
    agent, runtime = node.node_agent, node.runtime
    plain = new_pod(node, "plain")  # no service with a policy leads to it
    node.apply("pod.yaml", manifest(plain, [plain.ip4, plain.ip6]))
    assert runtime.call("ADD", plain)[0] == 0
    plain.serve(PORT, tcp=[PORT + 1])
    with node.outsider.connect(plain.ip4, PORT + 1) as opened:
        opened.sendall(b"before")
        assert opened.recv(100)
        agent.apply("pod.yaml", manifest(plain, [plain.ip4, plain.ip6], labels={"istio.io/dataplane-mode": "none"}))
        assert state(agent, plain) is None
        assert not [name for name in node.pins() if name.startswith("weft/link_pod_")]
        opened.sendall(b"after")
        assert opened.recv(100)
    with node.outsider.connect(plain.ip4, PORT + 1) as opened:
        opened.sendall(b"new")
        assert opened.recv(100)


def test_only_root_may_ask(node):
    code = ("import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.settimeout(5)\n"
            "try: s.connect(sys.argv[1]); s.send(b'{}'); print(s.recv(100))\n"
            "except OSError as error: print(type(error).__name__)\n")
    path = node.folder / "cni.sock"

    def ask():
        return netns.run("setpriv", "--reuid", ENGINE_USER, "--clear-groups", sys.executable, "-c", code, path).stdout
    assert path.stat().st_mode & 0o777 == 0o600
    assert ask() == "PermissionError\n"
    path.chmod(0o666)  # whatever somebody does to its file
    with node.node_agent.rises("weft_agent_cni_refusals_total", reason="user"):
        assert ask() in ("b''\n", "BrokenPipeError\n", "ConnectionResetError\n")


@pytest.mark.parametrize("stdin, code", [
    ("", 6), ("{", 6), ("[]", 6), ("\x00\xff", 6), ("[" * 100_000, 6), ("{}", 1), ('{"cniVersion": "9.0.0"}', 1),
    ('{"cniVersion": "1.0.0"}', 7), ('{"cniVersion": "1.0.0", "timeoutSeconds": 1e9}', 7),
    ('{"cniVersion": "1.0.0", "prevResult": 7}', 6), ('{"cniVersion": "1.0.0", "socket": "relative"}', 7),
    (" " * (1 << 20) + "{}", 6)], ids=range(12))
def test_hostile_stdin_is_refused_in_words_and_del_is_not_held_up(lab, stdin, code):
    runtime = Runtime(lab)
    pod = type("AnyPod", (), {"namespace": "default", "name": "a", "netns": "none", "link": "x", "ip4": "10.0.0.1",
                              "ip6": "fd00::1"})
    exit_code, said, _ = runtime.call("ADD", pod, stdin=stdin)
    assert (exit_code, said["code"]) == (1, code)
    assert said["msg"].startswith("weft-cni: ")
    assert runtime.call("DEL", pod, stdin=stdin)[:2] == (0, None)
    assert runtime.call("VERSION", pod, stdin=stdin[:1000])[1]["supportedVersions"][-1] == "1.1.0"


CONFLIST = {"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "ptp", "ipam": {"type": "host-local"}}]}
SINGLE = {"cniVersion": "1.0.0", "name": "pods", "type": "bridge"}


class CniFolders:
    def __init__(self, lab):
        self.conf, self.bin = lab.folder / "net.d", lab.folder / "cni-bin"
        self.conf.mkdir()
        self.bin.mkdir()
        self.arguments = ("--cni-conf-dir", self.conf, "--cni-bin-dir", self.bin, "--cni-socket",
                          lab.folder / "cni.sock", "--cni-exclude-namespace", "weft-system")

    def write(self, name, content):
        (self.conf / name).write_text(content if isinstance(content, str) else json.dumps(content))

    def types(self, name):
        with contextlib.suppress(OSError, ValueError):
            return [plugin["type"] for plugin in json.loads((self.conf / name).read_text())["plugins"]]
        return []

    def names(self):
        return sorted(path.name for path in [*self.conf.iterdir(), *self.bin.iterdir()])


def test_plugin_is_installed_kept_in_place_and_removed(own_lab):
    lab, folders = own_lab, CniFolders(own_lab)
    lab.apply("base.yaml", namespace("default"))
    agent = lab.agent(arguments=folders.arguments)  # ready, although there is no configuration: no pod can start either
    wait_until(lambda: agent.status()["cni"]["installed"]["state"] == "waiting for a CNI configuration", "it waits")
    assert "waiting for a CNI configuration" in agent.ctl("status").stdout
    folders.write("10-pods.conflist", CONFLIST)
    wait_until(lambda: folders.types("10-pods.conflist") == ["ptp", "weft-cni"], "it is chained")
    entry = json.loads((folders.conf / "10-pods.conflist").read_text())["plugins"][-1]
    assert entry == {"type": "weft-cni", "socket": str(lab.folder / "cni.sock"), "timeoutSeconds": 10,
                     "failurePolicy": "failClosed", "excludeNamespaces": ["kube-system", "istio-system", "weft-system"]}
    assert (folders.bin / "weft-cni").read_bytes() == binary("weft-cni").read_bytes()
    wait_until(lambda: agent.http("/readyz")[0] == 200, "it is ready")
    # The CNI's own daemon writes its file anew; then one that comes before it.
    folders.write("10-pods.conflist", CONFLIST)
    wait_until(lambda: folders.types("10-pods.conflist") == ["ptp", "weft-cni"], "it is chained again")
    folders.write("05-first.conf", SINGLE)
    wait_until(lambda: folders.types("05-first.conflist") == ["bridge", "weft-cni"], "it is wrapped and chained")
    wait_until(lambda: folders.types("10-pods.conflist") == ["ptp"], "the other is as it was")
    # What cannot be chained is a reason not to be ready: pods start without being held.
    folders.write("01-old.conflist", {**CONFLIST, "cniVersion": "0.2.0"})
    wait_until(lambda: agent.http("/readyz")[0] == 503, "it is not ready")
    assert "0.2.0" in agent.http("/readyz")[1]
    (folders.conf / "01-old.conflist").unlink()
    wait_until(lambda: agent.http("/readyz")[0] == 200, "it is ready again")
    # An agent that dies leaves it; one that ends for good takes it along.
    agent.kill_agent()
    assert folders.types("05-first.conflist") == ["bridge", "weft-cni"]
    agent.start()
    assert agent.stop() == 0
    assert folders.names() == ["05-first.conf", "10-pods.conflist"]
    assert json.loads((folders.conf / "05-first.conf").read_text()) == SINGLE
    assert json.loads((folders.conf / "10-pods.conflist").read_text()) == CONFLIST
    assert not (lab.folder / "cni.sock").exists()


def test_who_keeps_putting_the_file_back_makes_the_agent_not_ready(own_lab):
    """As Cilium's agent does by default (cni.exclusive)."""
    lab, folders = own_lab, CniFolders(own_lab)
    lab.apply("base.yaml", namespace("default"))
    folders.write("05-cilium.conflist", CONFLIST)
    agent = lab.agent(arguments=folders.arguments)
    wait_until(lambda: agent.http("/readyz")[0] == 200, "it is ready")

    def fight():
        if folders.types("05-cilium.conflist") == ["ptp", "weft-cni"]:
            folders.write("05-cilium.conflist", CONFLIST)
        return agent.http("/readyz")

    wait_until(lambda: fight()[0] == 503, "it is not ready")
    assert "somebody puts 05-cilium.conflist back without our entry" in agent.http("/readyz")[1]
    assert "cni.exclusive=false" in agent.ctl("status").stdout
    wait_until(lambda: agent.http("/readyz")[0] == 200, "it is ready again after the calm", 25)
    assert folders.types("05-cilium.conflist") == ["ptp", "weft-cni"]


def test_agent_that_is_kept_leaves_the_plugin_and_cleanup_takes_it(own_lab):
    lab, folders = own_lab, CniFolders(own_lab)
    lab.apply("base.yaml", namespace("default"))
    folders.write("10-pods.conflist", CONFLIST)
    agent = lab.agent(arguments=(*folders.arguments, "--keep"))
    wait_until(lambda: folders.types("10-pods.conflist") == ["ptp", "weft-cni"], "it is chained")
    assert agent.stop() == 0
    assert folders.types("10-pods.conflist") == ["ptp", "weft-cni"]
    done = netns.run(binary("weft-agent"), "--cleanup", "--socket", agent.socket_path, "--pin-dir", agent.pin_dir,
                     *folders.arguments, check=False)
    assert done.returncode == 0, done.stderr
    assert folders.names() == ["10-pods.conflist"]
    assert json.loads((folders.conf / "10-pods.conflist").read_text()) == CONFLIST
