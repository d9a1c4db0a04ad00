# SPDX-License-Identifier: Apache-2.0
"""A real API server of its own: etcd and kube-apiserver on loopback, no controllers, one token. And clients for it that
keep their connections."""
import contextlib
import http.client
import json
import pathlib
import queue
import signal
import socket
import ssl
import subprocess
import threading
import time

import builds
from settings import PROGRAMS

TOKEN = "scale"
SERVICE_RANGE = "10.96.0.0/16"
READY_SECONDS = 120
REQUEST_SECONDS = 60


class ApiError(Exception):
    """The API server could not be started, or refused a request."""


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


class ApiServer:
    """Owned by a `with`; whatever happens, both processes end with it. `data`: etcd's folder."""

    def __init__(self, folder, data):
        self.folder, self.data = pathlib.Path(folder), pathlib.Path(data)
        self.client_port, self.peer_port, self.port = free_ports(3)
        self.processes = []

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_):
        self._end()

    def client(self):
        return Client(self.port)

    def kubeconfig(self):
        path = self.folder / "kubeconfig"
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "scale",
            "clusters": [{"name": "scale", "cluster": {"server": f"https://127.0.0.1:{self.port}",
                                                       "certificate-authority": str(self.folder / "certs/apiserver.crt")}}],
            "users": [{"name": "scale", "user": {"token": TOKEN}}],
            "contexts": [{"name": "scale", "context": {"cluster": "scale", "user": "scale"}}]}))
        path.chmod(0o600)
        return path

    def install_crds(self):
        kubectl = [PROGRAMS / "kubectl", "--kubeconfig", self.kubeconfig()]
        self._run(*kubectl, "create", *[f"--filename={path}" for path in builds.crd_files()])
        self._run(*kubectl, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")

    def _run(self, *command):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=180)
        if done.returncode != 0:
            raise ApiError(f"{command[0]}: {done.stderr.strip()}")

    def _start(self):
        (self.folder / "tokens.csv").write_text(f'{TOKEN},admin,1,"system:masters"\n')
        self._run("openssl", "genrsa", "-out", self.folder / "accounts.key", "2048")
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.client_port, self.peer_port))
        self._launch("etcd", "etcd", "--name=scale", f"--data-dir={self.data}", f"--listen-client-urls={client}",
                     f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}", "--force-new-cluster",
                     f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=scale={peer}", "--logger=zap",
                     "--unsafe-no-fsync")
        self._wait("etcd", lambda: self._answers("http", self.client_port, "/health"))
        self._launch("kube-apiserver", PROGRAMS / "kube-apiserver", f"--etcd-servers={client}",
                     "--bind-address=127.0.0.1", f"--secure-port={self.port}", f"--cert-dir={self.folder / 'certs'}",
                     "--service-account-issuer=https://scale", f"--service-cluster-ip-range={SERVICE_RANGE}",
                     f"--service-account-signing-key-file={self.folder / 'accounts.key'}",
                     f"--service-account-key-file={self.folder / 'accounts.key'}", "--authorization-mode=RBAC",
                     f"--token-auth-file={self.folder / 'tokens.csv'}", "--allow-privileged=true",
                     "--disable-admission-plugins=ServiceAccount")
        self._wait("kube-apiserver", lambda: self._answers("https", self.port, "/readyz"))

    def _launch(self, name, *command):
        with open(self.folder / f"{name}.log", "wb") as log:
            self.processes.append((name, subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL,
                                                          stdout=log, stderr=log, start_new_session=True)))

    def _wait(self, name, ready):
        deadline = time.monotonic() + READY_SECONDS
        while not ready():
            ended = [process.returncode for _, process in self.processes if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                log = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()
                raise ApiError(f"{name} is not ready; its log ends with\n" + "\n".join(log[-10:]))
            time.sleep(0.1)

    @staticmethod
    def _answers(scheme, port, path):
        try:
            connection = _connection(port) if scheme == "https" else http.client.HTTPConnection("127.0.0.1", port, 5)
            with contextlib.closing(connection):
                connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
                return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False

    def _end(self):
        for _, process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            if process.poll() is None:
                process.kill()
                process.wait()


def _connection(port):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # loopback, and a certificate that the server has just made for itself
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=REQUEST_SECONDS, context=context)


class Client:
    """One connection, kept. Used by one thread."""

    def __init__(self, port):
        self.connection = _connection(port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def request(self, method, path, body=None, kind="application/json"):
        text = None if body is None else json.dumps(body, separators=(",", ":"))
        self.connection.request(method, path, body=text, headers={"Authorization": f"Bearer {TOKEN}",
                                                                  "Content-Type": kind, "Accept": "application/json"})
        reply = self.connection.getresponse()
        answer = reply.read()
        if reply.status >= 300:
            raise ApiError(f"{method} {path}: {reply.status} {answer[:300].decode(errors='replace')}")
        return json.loads(answer)

    def merge(self, path, patch, field_manager):
        return self.request("PATCH", f"{path}?fieldManager={field_manager}", patch, "application/merge-patch+json")


def in_parallel(port, work, threads):
    """Calls each function of `work` with a Client; several threads. The first error ends it."""
    pending = queue.SimpleQueue()
    for each in work:
        pending.put(each)
    errors = []

    def run():
        with Client(port) as client:
            while not errors:
                try:
                    pending.get_nowait()(client)
                except queue.Empty:
                    return
                except (OSError, http.client.HTTPException, ApiError) as error:
                    errors.append(error)

    crew = [threading.Thread(target=run) for _ in range(threads)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    if errors:
        raise ApiError(str(errors[0]))
