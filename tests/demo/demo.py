#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make demo: two ordinary manifests take effect on real connections of real network namespaces.

Says in plain words what it does and what it sees; exits 1 if anything differs. KEEP=1 leaves everything running.
"""
import collections
import json
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

from lab import Lab, remove_lab  # noqa: E402
from waiting import Late, wait_until  # noqa: E402

EXAMPLES = ROOT / "config" / "examples" / "demo"
KEPT_RUN = "weft-demo"
HANDY = ROOT / "build" / "demo"
REQUESTS = 1000
REVIEWS, RATINGS = "10.96.0.10", "10.96.0.13"
REVIEWS6 = "[fd96::10]"
DENIED = "RBAC: access denied"


class Demo:
    def __init__(self, lab):
        self.lab, self.faults = lab, []

    def say(self, text=""):
        print(text, flush=True)

    def check(self, good, text):
        self.say(f"    {'yes ' if good else 'NO  '} {text}")
        if not good:
            self.faults.append(text)

    def set_up(self):
        self.say("Five pods, each a network namespace of its own: client, reviews-v1, reviews-v2, ratings (namespace")
        self.say("default) and outsider (namespace elsewhere). One agent, one engine; BPF programs attached to a cgroup")
        self.say("of this demo only.")
        for name in ("client", "reviews-v1", "reviews-v2", "ratings"):
            setattr(self, name.replace("-", "_"), self.lab.pod(name))
        self.outsider = self.lab.pod("outsider", namespace="elsewhere")
        for pod in (self.reviews_v1, self.reviews_v2, self.ratings):
            pod.serve(9080)
        for example in sorted(EXAMPLES.glob("*.yaml")):
            self.lab.apply(example.name, example.read_text().replace(KEPT_RUN + "-", self.lab.run_id + "-"))
        self.agent = self.lab.agent(workers=1)
        self.agent.sync()
        self.say(f"    Manifests: {EXAMPLES.relative_to(ROOT)}. `weftctl sync` says that they are in force.")

    def curl(self, pod, *arguments):
        """(HTTP status, body, exit code of curl)"""
        names = [f"reviews:9080:{REVIEWS}", f"ratings:9080:{RATINGS}"]
        done = pod.run("curl", "-sS", "--max-time", "10", "-w", "\n%{http_code}",
                       *[part for name in names for part in ("--resolve", name)], *arguments)
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body.strip(), done.returncode

    def counter(self, name):
        return self.agent.metrics().total(name)

    # ---- what is shown
    def split(self):
        self.say(f"\n1. HTTPRoute reviews: 90 % to v1, 10 % to v2. {REQUESTS} requests from client to http://reviews:9080/")
        done = self.client.run("curl", "-sS", "--max-time", "60", "--resolve", f"reviews:9080:{REVIEWS}",
                               f"http://reviews:9080/[1-{REQUESTS}]", timeout=90)
        pods = collections.Counter(json.loads(line)["pod"] for line in done.stdout.splitlines() if line.strip())
        self.say(f"    answers: {dict(sorted(pods.items()))}")
        self.check(sum(pods.values()) == REQUESTS, "every request was answered")
        self.check(abs(pods["reviews-v1"] - 900) <= 20 and abs(pods["reviews-v2"] - 100) <= 20,
                   "the split is 900 to 100")

    def policy(self):
        self.say("\n2. AuthorizationPolicy viewer: only GET, only from namespaces default and istio-system.")
        for method, wanted in (("GET", 200), ("POST", 403), ("DELETE", 403)):
            status, body, _ = self.curl(self.client, "-X", method, "http://reviews:9080/")
            self.check(status == wanted, f"client {method}: {status}" + (f" {body}" if status == 403 else ""))
            if wanted == 403:
                self.check(body == DENIED, f"the body says {DENIED}")
        status, body, _ = self.curl(self.outsider, "http://reviews:9080/")
        self.check((status, body) == (403, DENIED), f"outsider GET: {status} {body}")

    def bypass(self):
        self.say("\n3. Dialling a pod's address instead of the service does not get around the policy.")
        address = f"http://{self.reviews_v1.ip4}:9080/"
        status, body, _ = self.curl(self.outsider, address)
        self.check((status, body) == (403, DENIED), f"outsider GET {address}: {status} {body}")
        status, body, _ = self.curl(self.client, "-X", "POST", address)
        self.check((status, body) == (403, DENIED), f"client POST {address}: {status} {body}")
        status, body, _ = self.curl(self.client, address)
        self.check(status == 200, f"client GET {address}: {status}")

    def address(self):
        self.say("\n4. The application sees the real client, not a proxy.")
        for url, wanted in (("http://reviews:9080/", self.client.ip4), (f"http://{REVIEWS6}:9080/", self.client.ip6)):
            status, body, _ = self.curl(self.client, url)
            saw = json.loads(body) if status == 200 else {}
            self.check(wanted in saw.get("accept", "") and wanted in saw.get("getpeername", ""),
                       f"GET {url}: accept() gave {saw.get('accept')}, getpeername() {saw.get('getpeername')}; "
                       f"the client is {wanted}")

    def untouched(self):
        self.say("\n5. ratings needs no L7: the kernel sends its clients straight there, no proxy in between.")
        proxied = self.counter("istio_requests_total")
        translated = self.counter("weft_datapath_connect_translated_total")
        redirected = self.counter("weft_datapath_connect_redirected_total")
        for _ in range(5):
            status, body, _ = self.curl(self.client, "http://ratings:9080/")
            self.check(status == 200 and json.loads(body)["pod"] == "ratings", f"client GET ratings: {status}")
        translated = self.counter("weft_datapath_connect_translated_total") - translated
        redirected = self.counter("weft_datapath_connect_redirected_total") - redirected
        proxied = self.counter("istio_requests_total") - proxied
        self.check(translated == 5, f"connects translated in the kernel: {translated:g}")
        self.check(redirected == 0, f"connects sent to the engine: {redirected:g}")
        self.check(proxied == 0, f"requests that the engine saw: {proxied:g}")

    def metrics(self):
        self.say("\n6. Istio's metrics, on the agent's /metrics:")
        metrics = self.agent.metrics()
        for line in metrics.text.splitlines():
            if line.startswith("istio_requests_total{"):
                self.say(f"    {line}")
        client = {"reporter": "waypoint", "source_workload": "client",
                  "source_principal": "spiffe://cluster.local/ns/default/sa/client"}
        for version in ("v1", "v2"):
            served = metrics.total("istio_requests_total", response_code=200, destination_version=version,
                                   destination_workload=f"reviews-{version}", **client)
            self.check(served >= {"v1": 880, "v2": 80}[version], f"served to client by reviews-{version}: {served:g}")
        refused = metrics.total("istio_requests_total", response_code=403, **client,
                                destination_service="reviews.default.svc.cluster.local")
        self.check(refused >= 2, f"refused to client: {refused:g}")
        outside = metrics.total("istio_requests_total", response_code=403, source_workload_namespace="elsewhere")
        self.check(outside >= 2, f"refused to the outsider: {outside:g}")

    def end(self):
        self.say("\n7. The end: SIGTERM to the agent, and everything of the demo is removed.")
        code = self.agent.stop()
        self.check(code == 0, f"the agent's exit code is {code}")
        try:
            wait_until(lambda: not self.lab.pins() and not self.agent.engine_pids() and not self.lab.weft_objects(),
                       "nothing of Weft is left", 10)
            self.check(True, "no BPF program, map, pin and no engine is left by the agent itself")
        except Late:
            self.check(False, f"left by the agent: pins {self.lab.pins()}, engines {self.agent.engine_pids()}, "
                              f"kernel {self.lab.weft_objects()}")
        self.lab.close()
        left = self.lab.leftovers()
        self.check(not left, f"left on this machine: {left or 'nothing'}")

    def stay(self):
        HANDY.mkdir(parents=True, exist_ok=True)
        hosts = HANDY / "hosts"
        hosts.write_text(f"127.0.0.1 localhost\n{REVIEWS} reviews\n{RATINGS} ratings\n")
        script = HANDY / "in"
        script.write_text(f"""#!/bin/bash
# in POD COMMAND...: runs a command inside a pod of the kept demo.
pod=$1; shift
echo $$ >{self.lab.cgroup}/pods/$pod/cgroup.procs || exit 1
exec nsenter --net=/run/netns/{self.lab.run_id}-$pod unshare --mount \\
    sh -c 'mount --bind "$0" /etc/hosts && exec "$@"' {hosts} "$@"
""")
        script.chmod(0o755)
        link = HANDY / "manifests"
        link.unlink(missing_ok=True)
        link.symlink_to(self.lab.source)
        weftctl = f"build/release/bin/weftctl --socket {self.agent.socket_path}"
        self.say(f"""
Everything stays up. By hand:
    build/demo/in client curl -si http://reviews:9080/              # v1 nine times of ten
    build/demo/in client curl -si -X POST http://reviews:9080/      # refused
    build/demo/in outsider curl -si http://{self.reviews_v1.ip4}:9080/      # refused too
    {weftctl} status
    $EDITOR build/demo/manifests/4-route.yaml && {weftctl} sync
    curl -s http://127.0.0.1:{self.agent.metrics_port}/metrics | grep istio_requests_total
    kill -9 {self.agent.engine_pid()}    # the engine; the agent ({self.agent.process.pid}) starts another, no connection is refused
Log: {self.agent.log_path}
Remove it: make demo-clean""")
        self.lab.keep()

    def run(self, keep):
        self.set_up()
        for step in (self.split, self.policy, self.bypass, self.address, self.untouched, self.metrics):
            step()
        if keep:
            self.stay()
        else:
            self.end()
        if self.faults:
            self.say(f"\nDIFFERENT FROM WHAT IT SHOULD BE ({len(self.faults)}):")
            for fault in self.faults:
                self.say(f"    {fault}")
            self.say(f"\nThe end of Weft's log:\n{self.agent.log_tail(30)}")
            return 1
        self.say("\nAll as it should be.")
        return 0


def main():
    if "--clean" in sys.argv[1:]:
        for line in remove_lab(KEPT_RUN):
            print(f"removed {line}")
        return 0
    keep = os.environ.get("KEEP", "") not in ("", "0")
    if keep and (pathlib.Path("/run/netns") / f"{KEPT_RUN}-switch").exists():
        print("a kept demo is up already: make demo-clean removes it", file=sys.stderr)
        return 1
    with Lab(KEPT_RUN if keep else None) as lab:
        return Demo(lab).run(keep)


if __name__ == "__main__":
    sys.exit(main())
