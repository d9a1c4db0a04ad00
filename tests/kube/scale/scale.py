#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make kube-scale: one agent and its engine in a cluster of 10,000 pods, 1,000 services and 2,000 routes on a real API
server. Prints a table with the goals, writes build/scale.json, exits 1 if a goal is missed. How: docs/performance.md.

This node's own pods (a client, two servers) are real: namespaces, cgroups as a kubelet makes them, traffic. All others
are objects on nodes that do not exist."""
import argparse
import contextlib
import dataclasses
import http.client
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
sys.path[:0] = [str(HERE), str(ROOT / "tests" / "support"), str(ROOT / "tests" / "kube" / "cluster")]

import population  # noqa: E402
from api import ApiError, ApiServer, in_parallel  # noqa: E402
from http1 import Session  # noqa: E402
from lab import Lab  # noqa: E402
from manifests import gateway_target, namespace, policy, http_route, service_parent, waypoint_gateway  # noqa: E402
from population import GATEWAY_API, SECURITY_API, Size  # noqa: E402
from settings import PROGRAMS  # noqa: E402
from waiting import Late, wait_until  # noqa: E402
from weft import Agent, process_status  # noqa: E402

NODE, NS, PORT = "this-node", "here", 9080
CREATE_THREADS = 8
START_SECONDS = 120  # given up then
EFFECT_SECONDS = 20
GOALS = {"start_s": 5.0, "rss_mib": 60.0, "change_ms_p99": 500.0}


def arguments():
    parser = argparse.ArgumentParser(description="an agent in a large cluster: memory, time to start, time to change")
    for name, count in (("pods", 10_000), ("services", 1_000), ("routes", 2_000), ("policies", 200),
                        ("namespaces", 50), ("nodes", 100)):
        parser.add_argument(f"--{name}", type=int, default=count, help="(default: %(default)s)")
    parser.add_argument("--rate", type=float, default=100, help="pod changes per second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30, help="of changes (default: %(default)s)")
    parser.add_argument("--every", type=float, default=0.4, help="seconds from one measured change to the next")
    parser.add_argument("--idle", type=float, default=10, help="seconds of rest before memory and CPU are read")
    parser.add_argument("--data", type=pathlib.Path, help="keep etcd's data there, and create the objects only once")
    parser.add_argument("--prepare", action="store_true", help="with --data: create the objects, measure nothing")
    parser.add_argument("--hold", action="store_true", help="wait for Enter before the end, for a profiler")
    return parser.parse_args()


# ------------------------------------------------------------------ this node

class KubeAgent(Agent):
    """An agent whose source is the API server."""

    def __init__(self, lab, kubeconfig, **options):
        super().__init__(lab, arguments=("--kubeconfig", kubeconfig, "--node-name", NODE,
                                         "--kubepods-root", lab.cgroup / "kubepods"), **options)
        self.command[self.command.index("--source") + 1] = "kube"


class Node:
    """The client, the servers a and b, and a service `web` whose route and policy are changed while it is looked at."""

    def __init__(self, lab, server):
        self.lab, self.server, self.api = lab, server, server.client()
        self.other = {"route": False, "policy": False}  # than at first
        self.forget()
        self.api.request("POST", "/api/v1/namespaces", namespace(NS))
        self.client, self.a, self.b = (self._pod(name) for name in ("client", "a", "b"))
        for app in (self.a, self.b):
            app.serve(PORT)
        self._post(f"{GATEWAY_API}/{NS}/gateways", waypoint_gateway(ns=NS))
        self.address = self._service("web", {"app": "server"})
        for name in ("a", "b"):
            self._service(name, {"only": name})
        self._post(f"{GATEWAY_API}/{NS}/httproutes", http_route("web", [service_parent("web")], [self._to("a")], ns=NS))
        self._post(f"{SECURITY_API}/{NS}/authorizationpolicies",
                   policy("web", "DENY", self._deny("/closed"), [gateway_target()], NS))

    def forget(self):
        """What an earlier run with the same data left."""
        for path in (f"{GATEWAY_API}/{NS}/httproutes", f"{GATEWAY_API}/{NS}/gateways",
                     f"{SECURITY_API}/{NS}/authorizationpolicies", f"/api/v1/namespaces/{NS}/pods"):
            self.api.request("DELETE", path + "?gracePeriodSeconds=0")
        for name in ("web", "a", "b"):
            with contextlib.suppress(ApiError):
                self.api.request("DELETE", f"/api/v1/namespaces/{NS}/services/{name}")
        with contextlib.suppress(ApiError):  # no controller finishes the deletion of a namespace: that is asked for here
            self.api.request("DELETE", f"/api/v1/namespaces/{NS}")
            self.api.request("PUT", f"/api/v1/namespaces/{NS}/finalize",
                             {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}, "spec": {}})

    def _post(self, path, body):
        return self.api.request("POST", path, body)

    def _pod(self, name):
        """The object first: its uid names the cgroup."""
        pod = self.lab.pod(name, namespace=NS, labels={"app": "client" if name == "client" else "server", "only": name})
        made = pod.manifest()
        del made["metadata"]["annotations"]
        status = made.pop("status")
        made["spec"]["nodeName"] = NODE
        path = f"/api/v1/namespaces/{NS}/pods"
        uid = self._post(path, made)["metadata"]["uid"]
        pod.cgroup = self.lab.cgroup / "kubepods" / "burstable" / f"pod{uid}" / population.digest(name, length=64)
        pod.cgroup.mkdir(parents=True)
        pod.start("sleep", "3600")
        self.api.merge(f"{path}/{name}/status", {"status": status}, population.KUBELET)
        return pod

    def _service(self, name, selector):
        made = self._post(f"/api/v1/namespaces/{NS}/services", {
            "metadata": {"name": name, "labels": {"istio.io/use-waypoint": "waypoint"}},
            "spec": {"selector": selector, "ports": [{"name": "http", "port": PORT}]}})
        return made["spec"]["clusterIP"]

    @staticmethod
    def _to(name):
        return {"backendRefs": [{"name": name, "port": PORT}]}

    @staticmethod
    def _deny(*paths):
        return [{"to": [{"operation": {"paths": list(paths)}}]}]

    # ---- changes, each with what shows that it is in force
    def next_is_other(self, kind):
        self.other[kind] = not self.other[kind]
        return self.other[kind]

    def route_to(self, name):
        path = f"{GATEWAY_API}/{NS}/httproutes/web"
        self.api.merge(path, {"spec": {"rules": [self._to(name)]}}, population.PEOPLE)
        return lambda: self.get() == (200, name)

    def close_path(self, closed):
        path = f"{SECURITY_API}/{NS}/authorizationpolicies/web"
        paths = ("/closed", "/gate") if closed else ("/closed",)
        self.api.merge(path, {"spec": {"rules": self._deny(*paths)}}, population.PEOPLE)
        return lambda: (self.get("/gate")[0] == 403) == closed

    def get(self, path="/"):
        """(status, pod that answered) of a request on a connection of its own; (0, why) if there was none."""
        try:
            with Session(self.client, self.address, PORT, timeout=5.0) as session:
                reply = session.request(path=path, host=f"web:{PORT}")
            return reply.status, reply.pod if reply.status == 200 else None
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)

    def in_force(self):
        return self.get() == (200, "a") and self.get("/closed")[0] == 403


# ------------------------------------------------------------------ looks at processes

@dataclasses.dataclass
class Look:
    rss_mib: float
    peak_mib: float
    anon_mib: float
    pss_mib: float
    cpu_s: float
    at_s: float

    @staticmethod
    def at(pid):
        status = process_status(pid)
        rollup = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
        times = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()

        def mib(text):
            return round(int(text.split()[0]) / 1024, 1)
        return Look(rss_mib=mib(status["VmRSS"]), peak_mib=mib(status["VmHWM"]), anon_mib=mib(status["RssAnon"]),
                    pss_mib=mib(rollup["Pss"]), cpu_s=(int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"),
                    at_s=time.monotonic())

    def cpu_percent_since(self, before):
        return round((self.cpu_s - before.cpu_s) / (self.at_s - before.at_s) * 100, 1)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


# ------------------------------------------------------------------ the run

def populate(server, size, data):
    """The stamp says that all of it is there."""
    stamp = data / "population.json"
    wanted = json.dumps(dataclasses.asdict(size))
    if stamp.exists() and stamp.read_text() == wanted:
        return
    server.install_crds()
    for step in population.work(size):
        in_parallel(server.port, step, CREATE_THREADS)
    stamp.write_text(wanted)


def measure_start(agent, node):
    began = time.monotonic()
    agent.launch()
    ready = began
    try:
        wait_until(agent._ready, "the agent is ready", START_SECONDS, poll=0.01)
        ready = time.monotonic()
        wait_until(node.in_force, lambda: f"route and policy are in force: {node.get()}", 30, poll=0.01)
    except Late as late:
        raise Late(f"{late}; its log: {agent.log_tail()}") from None
    return {"start_s": round(time.monotonic() - began, 2), "ready_s": round(ready - began, 2)}


def measure_changes(options, size, server, node):
    """Latencies of routes and policies, and what the churn beside them says."""
    load = [sys.executable, HERE / "churn.py", "--port", server.port, "--rate", options.rate,
            "--seconds", options.seconds, "--size", json.dumps(dataclasses.asdict(size))]
    with subprocess.Popen([str(part) for part in load], stdout=subprocess.PIPE, text=True) as churn:
        try:
            latencies = toggle(options, node, options.seconds, churn)
            said, _ = churn.communicate(timeout=options.seconds + 60)
        finally:
            churn.kill()
    if not said.strip():
        raise ApiError("the churn has ended without a word")
    return latencies, json.loads(said)


def toggle(options, node, seconds, churn=None):
    """{kind of change: [ms]}, for so long, or until the churn has ended."""
    latencies = {"route": [], "policy": []}
    deadline = time.monotonic() + seconds
    for turn in itertools.count():
        next_at = time.monotonic() + options.every
        if time.monotonic() >= deadline or (churn and churn.poll() is not None):
            return latencies
        kind = "route" if turn % 2 == 0 else "policy"
        again = node.next_is_other(kind)
        shows = node.route_to("b" if again else "a") if kind == "route" else node.close_path(again)
        began = time.monotonic()
        while not shows():
            if time.monotonic() - began > EFFECT_SECONDS:
                raise Late(f"the {kind}'s change is not in force after {EFFECT_SECONDS} s; {node.get()}")
        latencies[kind].append((time.monotonic() - began) * 1000)
        time.sleep(max(0.0, next_at - time.monotonic()))


def measure(options, size, lab, server):
    result = {"machine": {"cores": os.cpu_count(), "kernel": os.uname().release, "load_before": os.getloadavg()[0]},
              "size": dataclasses.asdict(size)}
    node = Node(lab, server)
    agent = KubeAgent(lab, server.kubeconfig())
    lab.agents.append(agent)
    result |= measure_start(agent, node)
    pids = {"agent": agent.process.pid, "engine": agent.engine_pid()}

    def looks():
        return {name: Look.at(pid) for name, pid in pids.items()}
    begun = looks()
    time.sleep(options.idle / 2)
    rest_began = looks()
    time.sleep(options.idle)
    rest = looks()
    quiet = toggle(options, node, 10 * options.every)
    latencies, churn = measure_changes(options, size, server, node)
    busy = looks()
    time.sleep(3)
    after = looks()
    for name in pids:
        result[name] = {"started": vars(begun[name]), "rest": vars(rest[name]), "after": vars(after[name]),
                        "cpu_idle_percent": rest[name].cpu_percent_since(rest_began[name]),
                        "cpu_changes_percent": busy[name].cpu_percent_since(rest[name])}
    both = latencies["route"] + latencies["policy"]
    result |= {"changes": {kind: [round(each) for each in values] for kind, values in latencies.items()},
               "change_ms_p50": round(percentile(both, 0.5)), "change_ms_p99": round(percentile(both, 0.99)),
               "change_ms_max": round(max(both)), "churn": churn,
               "quiet_ms_p50": round(percentile(quiet["route"] + quiet["policy"], 0.5)),
               "rss_mib": max(rest["agent"].rss_mib, after["agent"].rss_mib)}
    result["machine"]["load_after"] = os.getloadavg()[0]
    result["refused"] = [f"{entry['kind']} {entry['namespace']}/{entry['name']}: {fault['field']} {fault['message']}"
                         for entry in agent.status()["objects"] for fault in entry["diagnostics"]
                         if fault["severity"] != "warning"]
    if options.hold:
        input(f"agent {pids['agent']}, engine {pids['engine']}, KUBECONFIG={server.kubeconfig()}; Enter ends it ")
    return result


def show(result):
    agent, engine, churn = result["agent"], result["engine"], result["churn"]
    rows = [("start to in force", "s", result["start_s"], GOALS["start_s"]),
            ("agent: resident, the larger of at rest and after", "MiB", result["rss_mib"], GOALS["rss_mib"]),
            ("change to in force, p99", "ms", result["change_ms_p99"], GOALS["change_ms_p99"]),
            ("change to in force, p50", "ms", result["change_ms_p50"], None),
            ("change to in force, largest", "ms", result["change_ms_max"], None),
            ("change to in force while nothing else changes, p50", "ms", result["quiet_ms_p50"], None),
            ("changes measured", "", sum(map(len, result["changes"].values())), None),
            ("pod changes", "1/s", churn["pods_per_s"], None),
            ("agent: resident at rest", "MiB", agent["rest"]["rss_mib"], None),
            ("agent: resident after the changes", "MiB", agent["after"]["rss_mib"], None),
            ("agent: largest ever", "MiB", agent["after"]["peak_mib"], None),
            ("agent: anonymous at rest", "MiB", agent["rest"]["anon_mib"], None),
            ("agent: CPU until in force", "s", round(agent["started"]["cpu_s"], 2), None),
            ("agent: CPU at rest", "% of a core", agent["cpu_idle_percent"], None),
            ("agent: CPU during changes", "% of a core", agent["cpu_changes_percent"], None),
            ("engine: resident at rest", "MiB", engine["rest"]["rss_mib"], None),
            ("engine: resident after the changes", "MiB", engine["after"]["rss_mib"], None),
            ("engine: CPU during changes", "% of a core", engine["cpu_changes_percent"], None)]
    print(f"\n{'':50} {'':11} {'':>8} {'goal':>8}")
    for name, unit, value, goal in rows:
        verdict = "" if goal is None else f"{'<' + format(goal, 'g'):>8} {'met' if value < goal else 'MISSED'}"
        print(f"{name:50} {unit:11} {value:8g} {verdict}".rstrip())


def faults(result, options):
    found = [f"{name}: {result[name]} is not < {goal:g}" for name, goal in GOALS.items() if not result[name] < goal]
    if result["refused"]:
        found.append(f"{len(result['refused'])} faults of objects, as {result['refused'][0]}")
    if result["churn"]["errors"]:
        found.append(f"the churn failed: {result['churn']['errors'][0]}")
    elif result["churn"]["pods_per_s"] < 0.95 * options.rate:
        found.append(f"only {result['churn']['pods_per_s']} pod changes per second were made")
    return found


def main():
    options = arguments()
    if not (PROGRAMS / "kube-apiserver").exists():
        sys.exit(f"no {PROGRAMS}/kube-apiserver: run make kube-up once")
    size = Size(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Size)})
    folder = pathlib.Path(tempfile.mkdtemp(prefix="weft-scale-"))
    data = options.data or folder / "etcd"
    data.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    def say(text):
        print(f"scale: {time.monotonic() - began:6.1f} s  {text}", flush=True)
    try:
        with ApiServer(folder, data / "etcd") as server:
            say("the API server is ready")
            populate(server, size, data)
            say(f"it has {size.pods} pods, {size.services} services, {size.routes} routes")
            if options.prepare:
                return 0
            with Lab() as lab:
                result = measure(options, size, lab, server)
            say("measured")
    except (ApiError, Late, OSError, AssertionError) as error:
        sys.exit(f"scale: {type(error).__name__}: {error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    output = ROOT / "build" / "scale.json"
    output.parent.mkdir(exist_ok=True)
    missed = faults(result, options)
    output.write_text(json.dumps({**result, "goals": GOALS, "missed": missed}, indent=1) + "\n")
    show(result)
    for line in missed:
        print(f"scale: {line}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
