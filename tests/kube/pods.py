# SPDX-License-Identifier: Apache-2.0
"""Pods, services and clients of the cluster's tests. Clients are real programs that run in a pod; a call is one
`kubectl exec` (0.2 s), so what needs many requests makes them in one call."""
import json
import pathlib
import shlex
import time
import uuid

import yaml
from kubectl import kubectl, objects
from settings import IMAGE_PREFIX, Failed

SUPPORT = pathlib.Path(__file__).resolve().parent.parent / "support"
TOOLS = f"{IMAGE_PREFIX}tools:latest"
IN_POD = "/support"  # where pods see tests/support


def tools_pod(name, namespace, node=None, labels=None, command=("sleep", "2147483647"), ports=(), probe=None,
              **spec):
    """A pod of the image `tools`, with tests/support at /support. With a port: ready when it answers HTTP there."""
    container = {"name": "tools", "image": TOOLS, "imagePullPolicy": "Never", "command": list(command),
                 "ports": [{"containerPort": port} for port in ports],
                 "volumeMounts": [{"name": "support", "mountPath": IN_POD, "readOnly": True}]}
    if ports:
        container["readinessProbe"] = probe or {"httpGet": {"path": "/", "port": ports[0]}, "periodSeconds": 1}
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name, **(labels or {})}},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 1,
                     "volumes": [{"name": "support", "hostPath": {"path": str(SUPPORT)}}],
                     **({"nodeName": node} if node else {}), **spec}}


def echo_pod(name, namespace, node=None, labels=None, port=8080, **options):
    """The application of the node tests: answers with JSON of what it saw, its name in it."""
    command = ("python3", "-B", f"{IN_POD}/echo_server.py", "--name", name, "--http", str(port))
    return tools_pod(name, namespace, node, labels, command, [port], **options)


def service(name, namespace, selector=None, port=80, target_port=8080, labels=None):
    return {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
            "spec": {"selector": selector or {"app": name},
                     "ports": [{"name": "http", "port": port, "targetPort": target_port, "appProtocol": "http"}]}}


def apply(*manifests, seconds=30.0):
    """Objects (dicts) or texts, as a user applies them."""
    text = "\n---\n".join(each if isinstance(each, str) else yaml.safe_dump(each) for each in manifests)
    kubectl("apply", "-f", "-", stdin=text, seconds=seconds)


def delete(*manifests, seconds=60.0):
    """Returns when they are gone."""
    kubectl("delete", "--ignore-not-found", "-f", "-", stdin=yaml.safe_dump_all(manifests), seconds=seconds)


def wait_for(condition, *what, namespace=None, seconds=60.0):
    """kubectl wait: wait_for("condition=Ready", "pod", "--all", namespace="x"). Failed tells the objects' events."""
    scope = ["--namespace", namespace] if namespace else []
    done = kubectl("wait", *scope, f"--for={condition}", f"--timeout={seconds:g}s", *what, seconds=seconds + 10,
                   check=False)
    if done.returncode != 0:
        events = kubectl("events", *(scope or ["--all-namespaces"]), check=False).stdout
        raise Failed(f"{' '.join(what)}: not {condition} within {seconds:g} s: {done.stderr.strip()}\n{events[-3000:]}")


def exec_in(pod, namespace, *command, container=None, stdin=None, seconds=30.0, check=True):
    """The finished command in a pod."""
    return kubectl("exec", *(["-i"] if stdin is not None else []), "--namespace", namespace, pod,
                   *(["--container", container] if container else []), "--", *command, stdin=stdin, seconds=seconds,
                   check=check)


class Response:
    """Status 0: no HTTP answer came, and `error` says what curl said."""

    def __init__(self, status, body, error=""):
        self.status, self.body, self.error = status, body, error

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"Response({self.status}, {self.body[:200]!r}, {self.error!r})"


class Client:
    """A pod that sleeps on one node until it is told to ask something."""

    def __init__(self, name, namespace, node, **options):
        self.name, self.namespace, self.node = name, namespace, node
        self.manifest = tools_pod(name, namespace, node, **options)

    def address(self):
        return objects("pod", self.name, "--namespace", self.namespace)["status"]["podIP"]

    def run(self, *command, **options):
        return exec_in(self.name, self.namespace, *command, **options)

    def curl(self, url, *arguments, seconds=10.0):
        """One request."""
        return self.curls(url, 1, *arguments, seconds=seconds)[0]

    def curls(self, url, count, *arguments, seconds=60.0):
        """So many requests of one curl, one after the other, which keeps its connection: [Response]."""
        mark = "weft-kube-answer"
        many = f"{url}{'&' if '?' in url else '?'}n=[1-{count}]" if count > 1 else url
        done = self.run("curl", "--silent", "--show-error", "--max-time", f"{seconds:g}", "--write-out",
                        f"{mark} %{{http_code}}\n", *arguments, many, seconds=seconds + 10, check=False)
        pieces = done.stdout.split(mark)
        if len(pieces) != count + 1:
            raise Failed(f"{self.name}: curl {many}: {len(pieces) - 1} answers of {count}: {done.stderr[-2000:]}")
        # Behind each mark stand the status of the answer before it and the body of the next.
        answers = []
        for number in range(count):
            body = pieces[number].split("\n", 1)[1] if number else pieces[number]
            answers.append(Response(int(pieces[number + 1].split()[0]), body, done.stderr.strip()))
        return answers

    def python(self, script, *arguments, seconds=60.0):
        """A script in the pod, with tests/support on its path; its standard output."""
        return self.run("env", f"PYTHONPATH={IN_POD}", "python3", "-B", "-", *arguments, stdin=script,
                        seconds=seconds).stdout


class Background:
    """A script of tests/support in a client's pod, which goes on by itself: `kubectl exec` would not outlive an API server."""

    def __init__(self, client, script, *arguments, seconds):
        self.client, self.seconds, self.path = client, seconds, f"/tmp/{uuid.uuid4().hex}.json"
        command = " ".join(["python3", "-B", f"{IN_POD}/{script}", *(shlex.quote(str(part)) for part in arguments)])
        client.run("sh", "-c", f"({command} >{self.path}.new 2>&1; mv {self.path}.new {self.path}) "
                               ">/dev/null 2>&1 </dev/null &")

    def result(self):
        """The JSON that it prints, when its time is over at the latest."""
        deadline = time.monotonic() + self.seconds + 30
        while True:
            done = self.client.run("cat", self.path, check=False)
            if done.returncode == 0:
                return json.loads(done.stdout)
            if time.monotonic() >= deadline:
                raise Failed(f"{self.client.name}: no result: {done.stderr}")
            time.sleep(0.5)


def steady_load(client, host, seconds, port=80, threads=2, requests_per_connection=1):
    """Its result: {"requests", "connections", "failed", "failures"}."""
    return Background(client, "steady_load.py", host, port, seconds, threads, requests_per_connection, seconds=seconds)


def until(client, host, seconds, method, status, pod, port=80):
    """Its result: {"at": when both held, or null}."""
    return Background(client, "until.py", host, port, seconds, method, status, pod, seconds=seconds)
