# SPDX-License-Identifier: Apache-2.0
"""The usual cast of a node test: a small mesh with one agent.

Pods: client (default), outsider (namespace other), stranger (namespace plain, not enrolled); servers a and b (default).
Services: web (a and b, with the waypoint), a and b (one pod each, with the waypoint), direct (a and b, no L7).
"""
from http1 import Session, request
from manifests import backend, http_route, namespace, policy, service, service_parent, waypoint_gateway
from waiting import wait_until

PORT = 9080
TCP_PORT = 9090
OTHER_PORT = 9081  # a second HTTP port of each server, of no service
NUMBERS = {"web": 1, "a": 2, "b": 3, "direct": 4, "nobody": 5, "alt": 6}


class World:
    def __init__(self, lab, **agent_options):
        self.lab = lab
        self.client = lab.pod("client", labels={"app": "client"}, service_account="client")
        self.a = lab.pod("a", labels={"app": "web", "only": "a", "version": "v1"}, service_account="server")
        self.b = lab.pod("b", labels={"app": "web", "only": "b", "version": "v2"}, service_account="server")
        self.outsider = lab.pod("outsider", namespace="other")
        self.stranger = lab.pod("stranger", namespace="plain")
        self.apps = {pod.name: pod.serve(PORT, OTHER_PORT, tcp=[TCP_PORT]) for pod in (self.a, self.b)}
        lab.apply("base.yaml", namespace("default"), namespace("other"), namespace("plain", ambient=False),
                  waypoint_gateway(), *[pod.manifest() for pod in lab.pods.values()],
                  self._service("web", {"app": "web"}), self._service("a", {"only": "a"}),
                  self._service("b", {"only": "b"}), self._service("direct", {"app": "web"}, waypoint=None),
                  self._service("nobody", {"app": "nobody"}))
        self.agent = lab.agent(**agent_options)
        self.agent.sync()

    @staticmethod
    def ip(name, family=4):
        return f"10.96.0.{NUMBERS[name]}" if family == 4 else f"fd96::{NUMBERS[name]}"

    def _service(self, name, selector, waypoint="waypoint"):
        return service(name, [self.ip(name), self.ip(name, 6)], PORT, selector, waypoint)

    # ---- requests to a service by name
    def get(self, name="web", path="/", pod=None, family=4, port=PORT, **options):
        return request(pod or self.client, self.ip(name, family), port, path=path,
                       **{"host": f"{name}:{port}", **options})

    def session(self, name="web", pod=None, family=4, timeout=10.0):
        return Session(pod or self.client, self.ip(name, family), PORT, timeout)

    # ---- one route and one policy at a time: each test writes its own, whole
    def route(self, *rules, name="route", parents=None, ns="default", **options):
        self.agent.apply(f"route-{name}.yaml", http_route(name, parents or [service_parent("web")], list(rules), ns,
                                                          **options))

    def policy(self, action, rules, name="policy", **options):
        self.agent.apply(f"policy-{name}.yaml", policy(name, action, rules, **options))

    def clear(self):
        """Takes away every route and policy of a test."""
        files = [path.name for path in self.lab.source.glob("*.yaml") if path.name != "base.yaml"]
        if files:
            self.agent.remove(*files)

    # ---- status
    def objects(self, kind, name, ns="default"):
        """The status entries of one object, one per parent."""
        return [entry for entry in self.agent.status()["objects"]
                if (entry["kind"], entry["name"], entry["namespace"]) == (kind, name, ns)]

    def conditions(self, kind, name, ns="default"):
        """{type: (status, reason)} of an object, all its parents together."""
        return {condition["type"]: (condition["status"], condition["reason"])
                for entry in self.objects(kind, name, ns) for condition in entry["conditions"]}

    def fault(self, *words):
        """Waits for exactly one diagnostic that holds all the words, and returns it."""
        def found():
            matching = [text for text in self.diagnostics() if all(word in text for word in words)]
            return matching if len(matching) == 1 else None
        return wait_until(found, lambda: f"one diagnostic with {words} in {self.diagnostics()}")[0]

    def diagnostics(self):
        """Faults of the source, of objects and of pods, one line each; an object with several parents says it once."""
        status = self.agent.status()
        lines = {" ".join(str(part) for part in (fault["origin"], fault["object"], fault["field"], fault["message"]))
                 for fault in status["source"]["faults"]}
        for entry in status["objects"]:
            name = "/".join(filter(None, (entry["namespace"], entry["name"])))
            lines |= {f"{entry['kind']} {name} {fault['field']} {fault['message']}" for fault in entry["diagnostics"]}
        lines |= {f"Pod {pod['uid']} {pod['state']} {pod['reason']} {pod['netns']}" for pod in status["pods"]
                  if pod["reason"]}
        return sorted(lines)


def to(name, weight=None, port=PORT):
    return {"backendRefs": [backend(name, port, weight)]}


def split(**weights):
    return {"backendRefs": [backend(name, PORT, weight) for name, weight in weights.items()]}
