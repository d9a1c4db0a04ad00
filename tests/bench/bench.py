#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make bench: one table and build/bench.json. Method and how to read it: docs/performance.md.

    bench.py [--only http,connect,idle,apply] [--rounds 3] [--seconds 5]
"""
import argparse
import json
import pathlib
import resource
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

import measure  # noqa: E402
import netns  # noqa: E402
from http1 import Session  # noqa: E402
from lab import Lab, binary  # noqa: E402
from manifests import (backend, dump, gateway_target, http_route, namespace, policy, service,  # noqa: E402
                       service_parent, waypoint_gateway)
from waiting import wait_until  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
PORT = 9080
SERVICE_IP, PLAIN_IP = "10.96.0.1", "10.96.0.2"
CONNECTS = 30000
IDLE_CONNECTIONS = 2000
ROUTE_STEPS = (10, 1000, 10000)
RULES = [{"from": [{"source": {"principals": [f"cluster.local/ns/other/sa/a{n}"]}}],
          "to": [{"operation": {"methods": ["GET"], "paths": [f"/api/{n}/*"]}}]} for n in range(9)]
RULES.append({"from": [{"source": {"namespaces": ["default"]}}], "to": [{"operation": {"methods": ["GET"]}}]})


class Bench:
    def __init__(self, lab, options):
        self.lab, self.options = lab, options
        self.client, self.server = lab.pod("client"), lab.pod("reviews", labels={"app": "reviews"})
        self.outsider = lab.pod("outsider", namespace="other")
        self.results = {"cores": netns.run("nproc").stdout.strip(), "kernel": netns.run("uname", "-r").stdout.strip()}
        self.backend = self.server.start("taskset", "-c", measure.LOAD_CORE, binary("backend"), self.server.ip4, PORT,
                                         PORT + 1)
        wait_until(lambda: self._answers(self.client, self.server.ip4, PORT), "the backend answers")
        lab.apply("base.yaml", namespace("default", waypoint="waypoint"), namespace("other", ambient=False),
                  waypoint_gateway(), self.client.manifest(), self.server.manifest(), self.outsider.manifest(),
                  service("reviews", [SERVICE_IP], PORT), service("plain", [PLAIN_IP], PORT, {"app": "reviews"},
                                                                  waypoint="none"))
        self.agent = None

    @staticmethod
    def _answers(pod, address, port):
        try:
            with Session(pod, address, port, timeout=1) as session:
                return session.request().status == 200
        except OSError:
            return False

    def start_weft(self):
        if self.agent is None:
            self.agent = self.lab.agent(workers=1)
            self.agent.apply("route.yaml", http_route("reviews", [service_parent("reviews")],
                                                      [{"backendRefs": [backend("reviews", PORT)]}]))
            wait_until(lambda: self._answers(self.client, SERVICE_IP, PORT), "the service answers through the engine")
            measure.pin(self.agent.engine_pid(), measure.PROXY_CORE)

    # ---- connect cost: before and after the programs are attached
    def connect_case(self, pod, address, port, local_listener):
        command = ["taskset", "-c", measure.LOAD_CORE, binary("connect_cost"), address, port, CONNECTS]
        command += ["127.0.0.1", port] if local_listener else []
        done = pod.run(*command, timeout=120)
        if done.returncode != 0:
            raise netns.LabError(done.stderr)
        return json.loads(done.stdout)

    def connect(self):
        rounds = range(self.options.rounds)
        cases = {"no programs": [self.connect_case(self.client, "127.0.0.1", 9999, True) for _ in rounds],
                 "no programs, to another pod": [self.connect_case(self.client, self.server.ip4, PORT, False)
                                                 for _ in rounds]}
        self.start_weft()
        after = {"attached, not enrolled": (self.outsider, "127.0.0.1", 9999, True),
                 "enrolled, not redirected": (self.client, "127.0.0.1", 9999, True),
                 "redirected to the engine": (self.client, SERVICE_IP, PORT, False),
                 "plain service, translated in the kernel": (self.client, PLAIN_IP, PORT, False)}
        for _ in rounds:
            for name, case in after.items():
                cases.setdefault(name, []).append(self.connect_case(*case))
        table = {}
        for name, runs in cases.items():
            base = "no programs, to another pod" if "translated" in name or "another" in name else "no programs"
            table[name] = {key: measure.median([run[key] for run in runs]) for key in runs[0]}
            table[name]["ratio_p50"] = round(table[name]["p50_ns"] / measure.median(
                [run["p50_ns"] for run in cases[base]]), 2)
            table[name]["ratio_cpu"] = round(table[name]["cpu_ns"] / measure.median(
                [run["cpu_ns"] for run in cases[base]]), 2)
        self.results["connect"] = table

    # ---- CPU per request beside other proxies, all with the client's leg on loopback and the server's over veth
    def start_peer(self, name, *command):
        port = 20000 + len(self.client.processes)
        folder = self.lab.folder / name
        folder.mkdir()
        words = {"@PORT@": str(port), "@DIR@": str(folder), "@BACKEND@": f"{self.server.ip4}:{PORT}"}
        config = next((HERE / "peers").glob(f"{name}.*"), None)
        if config:
            text = config.read_text()
            for word, value in words.items():
                text = text.replace(word, value)
            (folder / config.name).write_text(text)
            folder.chmod(0o777)
            command = [*command, folder / config.name]
        else:
            command = [*command, "127.0.0.1", port, self.server.ip4, PORT]
        process = self.client.start("taskset", "-c", measure.PROXY_CORE, *command)
        wait_until(lambda: self._answers(self.client, "127.0.0.1", port), f"{name} answers")
        return "127.0.0.1", port, process.pid

    def http(self):
        self.start_weft()
        engine = self.agent.engine_pid()
        rows = {"direct": (self.server.ip4, PORT, None), "weft": (SERVICE_IP, PORT, engine),
                "weft, 10 policy rules": (SERVICE_IP, PORT, engine),
                "nginx": self.start_peer("nginx", "nginx", "-c"),
                "haproxy": self.start_peer("haproxy", "haproxy", "-db", "-f"),
                "byte relay (floor)": self.start_peer("floor", binary("floor"), "uring")}
        runs = {name: [] for name in rows}
        for _ in range(self.options.rounds):
            for name, (address, port, pid) in rows.items():
                self.policies(name.endswith("rules"))
                measure.wrk(self.client, address, port, 1)
                before = measure.cpu_seconds(pid) if pid else 0
                requests, rate, p99 = measure.wrk(self.client, address, port, self.options.seconds)
                spent = measure.cpu_seconds(pid) - before if pid else 0
                runs[name].append((spent / requests * 1e6, rate, p99))
        self.policies(False)
        self.results["http"] = {
            name: {"cpu_us_per_request": round(measure.median([run[0] for run in of]), 2),
                   "requests_per_second": round(measure.median([run[1] for run in of])),
                   "p99_ms": round(measure.median([run[2] for run in of]), 2)} for name, of in runs.items()}

    def policies(self, on):
        present = (self.lab.source / "policy.yaml").exists()
        if on and not present:
            self.agent.apply("policy.yaml", policy("rules", "ALLOW", RULES, [gateway_target()]))
        if not on and present:
            self.agent.remove("policy.yaml")

    # ---- memory
    def idle(self):
        self.start_weft()
        engine = self.agent.engine_pid()
        warm = [Session(self.client, SERVICE_IP, PORT) for _ in range(64)]
        for session in warm:
            session.request()
        before = measure.private_bytes(engine)
        sessions = []
        for _ in range(IDLE_CONNECTIONS):
            session = Session(self.client, SERVICE_IP, PORT)
            session.request()
            sessions.append(session)
        after = measure.private_bytes(engine)
        for session in warm + sessions:
            session.close()
        self.results["idle"] = {"connections": IDLE_CONNECTIONS,
                                "bytes_per_connection": round((after - before) / IDLE_CONNECTIONS),
                                "engine_bytes_before": before}
        frames = self.agent.metrics()
        self.results["frames"] = {f"{name}{dict(fields) or ''}": value for name, fields, value in frames.samples
                                  if "frame" in name and name.endswith("_bytes")}

    # ---- time to apply a snapshot
    def apply(self):
        self.start_weft()
        steps = {}
        for count in ROUTE_STEPS:
            text = dump(*[http_route("many-@", [service_parent("reviews")], [
                {"matches": [{"path": {"type": "PathPrefix", "value": "/route-@"}}],
                 "backendRefs": [backend("reviews", PORT)]}])])
            text = "---\n".join(text.replace("@", str(n)) for n in range(count))
            start = time.monotonic()
            self.lab.apply("many.yaml", text)
            self.agent.ctl("--timeout", 120, "sync")
            steps[count] = {"file_to_in_force_ms": round((time.monotonic() - start) * 1000)}
            steps[count]["answers"] = self._answers(self.client, SERVICE_IP, PORT)
            # One small change on top: what an ordinary day costs at this size.
            start = time.monotonic()
            self.agent.apply("small.yaml", namespace(f"extra-{count}"))
            steps[count]["next_change_ms"] = round((time.monotonic() - start) * 1000)
        self.agent.remove("many.yaml", "small.yaml")
        self.results["apply"] = steps


def show(results):
    print("\n## HTTP, 1 KiB replies, 32 keep-alive connections, one worker each\n")
    if "http" in results:
        print("| row | CPU us/request | requests/s | p99 ms |\n|---|---|---|---|")
        for name, row in results["http"].items():
            print(f"| {name} | {row['cpu_us_per_request']} | {row['requests_per_second']} | {row['p99_ms']} |")
    if "connect" in results:
        print("\n## One connect\n\n| case | p50 us | p99 us | CPU us | p50 ratio | CPU ratio |")
        print("|---|---|---|---|---|---|")
        for name, row in results["connect"].items():
            print(f"| {name} | {row['p50_ns'] / 1000:.1f} | {row['p99_ns'] / 1000:.1f} | {row['cpu_ns'] / 1000:.1f} | "
                  f"{row['ratio_p50']} | {row['ratio_cpu']} |")
    if "idle" in results:
        print(f"\n## Memory\n\n{results['idle']['bytes_per_connection']} bytes per idle client connection "
              f"({results['idle']['connections']} connections)")
        for name, value in results["frames"].items():
            print(f"{name}: {value:g}")
    if "apply" in results:
        print("\n## Routes\n\n| routes | file to in force, ms | next small change, ms |\n|---|---|---|")
        for count, row in results["apply"].items():
            print(f"| {count} | {row['file_to_in_force_ms']} | {row['next_change_ms']} |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="connect,http,idle,apply")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with Lab() as lab:
        bench = Bench(lab, options)
        for part in options.only.split(","):  # connect comes first: it measures before anything is attached
            print(f"# {part}", flush=True)
            getattr(bench, part)()
    output = ROOT / "build" / "bench.json"
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps(bench.results, indent=1) + "\n")
    show(bench.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
