#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make bench: tables and build/bench.json. Method and how to read it: docs/performance.md.

    bench.py [--only connect,plain,rules,...] [--rounds 3] [--seconds 5] [--settle 60]
"""
import argparse
import json
import pathlib
import resource
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT / "tests" / "support")]

import measure  # noqa: E402
import netns  # noqa: E402
import rows  # noqa: E402
from http1 import Session  # noqa: E402
from http2 import Connection  # noqa: E402
from lab import Lab, binary  # noqa: E402
from manifests import (backend, http_route, namespace, policy, service, service_parent, service_target,  # noqa: E402
                       waypoint_gateway)
from scenarios import connect, http1, http2, memory, routes  # noqa: E402
from waiting import wait_until  # noqa: E402

# In this order: connect measures before anything is attached.
SCENARIOS = {"connect": connect.connect, "plain": http1.plain, "rules": http1.rules, "fixed": http1.fixed,
             "short": http1.short, "h2": http2.wide, "h2-streams": http2.deep, "memory": memory.memory,
             "routes": routes.last_one, "apply": routes.apply}
PORT, PORT_B, H2_PORT = 9080, 9081, 9082
ADDRESSES = {"reviews": "10.96.0.1", "plain": "10.96.0.2", "ruled": "10.96.0.3", "part-a": "10.96.0.4",
             "part-b": "10.96.0.5", "h2": "10.96.0.6", "many": "10.96.0.7"}
PRINCIPALS = [f"cluster.local/ns/other/sa/c{n}" for n in range(rows.RULES - 1)] + ["cluster.local/ns/default/sa/default"]


class Bench:
    """The lab of all scenarios: a client, a server, and another server whose services have policies."""

    def __init__(self, lab, options):
        self.lab, self.options = lab, options
        self.client, self.server = lab.pod("client"), lab.pod("reviews", labels={"app": "reviews"})
        self.ruled = lab.pod("ruled", labels={"app": "ruled"})
        self.outsider = lab.pod("outsider", namespace="other")
        self.agent, self._peers = None, {}
        for pod in (self.server, self.ruled):
            pod.start("taskset", "-c", measure.LOAD_CORE, binary("backend"), pod.ip4, PORT, PORT_B)
            wait_until(lambda: self.answers(rows.Row("backend", pod.ip4, PORT)), "the backend answers")
        self._start(self.server, measure.LOAD_CORE, "nginx", "h2backend", "h2backend")
        wait_until(lambda: self.answers(rows.Row("h2", self.server.ip4, H2_PORT), http2=True), "the h2 backend answers")
        lab.apply("base.yaml", namespace("default", waypoint="waypoint"), namespace("other", ambient=False),
                  waypoint_gateway(), *[pod.manifest() for pod in lab.pods.values()], *self._services(),
                  policy("rules", "ALLOW", [
                      {"from": [{"source": {"principals": [principal]}}],
                       "to": [{"operation": {"methods": ["GET", "POST"], "paths": ["/api/*"]}}]}
                      for principal in PRINCIPALS], [service_target("ruled")]))

    @staticmethod
    def _services():
        def one(name, app, port=PORT, target=None, waypoint=None):
            return service(name, [ADDRESSES[name]], port, {"app": app}, waypoint, target_port=target)
        return [one("reviews", "reviews"), one("many", "reviews"), one("h2", "reviews", H2_PORT),
                one("plain", "reviews", waypoint="none"), one("ruled", "ruled"), one("part-a", "ruled"),
                one("part-b", "ruled", target=PORT_B)]

    def answers(self, row, http2=False):
        try:
            if http2:
                with Connection(self.client, row.address, row.port, timeout=1) as connection:
                    return connection.get(row.path).status == 200
            with Session(self.client, row.address, row.port, timeout=1) as session:
                return session.request(path=row.path, headers=row.headers).status == 200
        except OSError:
            return False

    # ---- Weft
    def start_weft(self):
        if self.agent is None:
            self.agent = self.lab.agent(workers=1)
            header = {"name": "x-env", "value": "prod"}
            self.agent.apply(
                "routes.yaml",
                http_route("reviews", [service_parent("reviews")], [{"backendRefs": [backend("reviews", PORT)]}]),
                http_route("ruled", [service_parent("ruled")], [
                    {"matches": [{"path": {"type": "PathPrefix", "value": "/api"}, "headers": [header]}],
                     "backendRefs": [backend("part-a", PORT, 90), backend("part-b", PORT, 10)]}]),
                http_route("h2", [service_parent("h2")], [{"backendRefs": [backend("h2", H2_PORT)]}]))
            wait_until(lambda: self.answers(rows.Row("weft", ADDRESSES["reviews"], PORT)), "the engine answers")
            measure.pin(self.agent.engine_pid(), measure.PROXY_CORE)
        return self.agent

    def weft(self, service_name="reviews", port=PORT, **options):
        self.start_weft()
        return rows.Row("weft", ADDRESSES[service_name], port, self.agent.engine_pid(), **options)

    # ---- other proxies, where Weft's engine sits: the client's leg on loopback, the server's over veth
    def peer(self, program, config, repeats=None, http2=False, **options):
        """A running peer; it is started once for each configuration and ends with the lab, or by stop_peers()."""
        key = f"{program}-{config}-{repeats}"
        if key not in self._peers:
            port = 20000 + len(self._peers)
            process = self._start(self.client, measure.PROXY_CORE, program, config, key, port, repeats)
            row = rows.Row(program, "127.0.0.1", port, process.pid, **options)
            wait_until(lambda: self.answers(row, http2), f"{program} answers", seconds=60)
            self._peers[key] = row
        return self._peers[key]

    def floor(self):
        """A blind byte relay: what no proxy on sockets can undercut."""
        if "floor" not in self._peers:
            port = 20000 + len(self._peers)
            process = self.client.start("taskset", "-c", measure.PROXY_CORE, binary("floor"), "uring", "127.0.0.1",
                                        port, self.server.ip4, PORT)
            row = rows.Row("byte relay (floor)", "127.0.0.1", port, process.pid)
            wait_until(lambda: self.answers(row), "the floor answers")
            self._peers["floor"] = row
        return self._peers["floor"]

    def stop_peers(self, config):
        """Ends those that would only be idle from here on: their memory is a neighbour's noise."""
        for key in [key for key in self._peers if f"-{config}-" in key]:
            pid = self._peers.pop(key).pid
            process = next(process for process in self.client.processes if process.pid == pid)
            process.terminate()
            process.wait(10)

    def _start(self, pod, core, program, config, folder_name, port=0, repeats=None):
        template = next((rows.PEERS / program).glob(f"{config}.*"))
        folder = self.lab.folder / folder_name.replace(" ", "")
        folder.mkdir()
        folder.chmod(0o777)
        words = {"PORT": port, "DIR": folder, "SERVER": self.server.ip4, "A": PORT, "B": PORT_B, "H2": H2_PORT,
                 "KIB": "x" * 1024}
        file = folder / template.name
        file.write_text(rows.fill(template.read_text(), words, {"RULES": rows.RULES, "ROUTES": repeats or 0}))
        command = {"nginx": ["nginx", "-c", file], "haproxy": ["haproxy", "-q", "-db", "-f", file],
                   "envoy": [next((ROOT / "build" / "venv").glob(rows.ENVOY), "envoy"), "-c", file, "--concurrency", 1,
                             "--disable-hot-restart", "-l", "error"]}[program]
        return pod.start("taskset", "-c", core, *command)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default=",".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--settle", type=int, default=60, help="seconds from the last close to the last look at memory")
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    wanted = options.only.split(",")
    results = {"cores": netns.run("nproc").stdout.strip(), "kernel": netns.run("uname", "-r").stdout.strip()}
    with Lab() as lab:
        bench = Bench(lab, options)
        tables = []
        for name in [name for name in SCENARIOS if name in wanted]:
            print(f"# {name}", flush=True)
            results[name], text = SCENARIOS[name](bench)
            tables.append(text)
    output = ROOT / "build" / "bench.json"
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps(results, indent=1) + "\n")
    print("\n".join(tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())
