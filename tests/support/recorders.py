# SPDX-License-Identifier: Apache-2.0
"""HTTP/1 servers of others (tests/interop) that answer 200 and write down how they understood each request."""
import dataclasses
import json
import shutil

from lab import REPOSITORY
from netns import LabError
from tools import tool
from waiting import wait_until

FOLDER = REPOSITORY / "tests" / "interop" / "recorders"
PORTS = {"nginx": 8101, "haproxy": 8102, "node": 8103, "go": 8104}


@dataclasses.dataclass(frozen=True)
class Understood:
    method: str
    target: str
    host: str
    body_bytes: int


class Recorder:
    """One of PORTS in a pod, which must be installed (setup.sh)."""

    def __init__(self, pod, kind):
        self.kind, self.port = kind, PORTS[kind]
        self.folder = pod.lab.folder / f"{pod.name}-{kind}"
        self.folder.mkdir()
        self.log = self.folder / "log"
        self._taken = 0
        with open(self.log, "ab") as log:
            self.process = pod.start(*self._command(), stdout=log if kind == "haproxy" else None)
        wait_until(lambda: f":{self.port} " in pod.run("ss", "-Hltn").stdout, f"{kind} listens", 20)

    def _command(self):
        if self.kind == "nginx":
            return [program("nginx"), "-p", self.folder, "-c", self._configuration("nginx.conf")]
        if self.kind == "haproxy":
            return [program("haproxy"), "-db", "-f", self._configuration("haproxy.cfg")]
        if self.kind == "node":
            return [program("node"), FOLDER / "node.js", self.port, self.log]
        return [tool("h1record"), "--port", self.port, "--log", self.log]

    def _configuration(self, name):
        text = (FOLDER / name).read_text().replace("@PORT@", str(self.port)).replace("@LOG@", str(self.log))
        path = self.folder / name
        path.write_text(text.replace("@DIR@", str(self.folder)))
        return path

    def take(self):
        """[(Understood, peer's address)] since the last call."""
        lines = self.log.read_text(errors="replace").splitlines()
        fresh = [json.loads(line) for line in lines[self._taken:] if line.startswith("{")]
        self._taken = len(lines)
        return [(Understood(entry["method"], entry["target"], entry["host"], body_bytes(entry)),
                 entry["peer"].removeprefix("::ffff:")) for entry in fresh]


def body_bytes(entry):
    return len(entry["body"]) if "body" in entry else int(entry["body_bytes"])


def program(name):
    path = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin")
    if path is None:
        raise LabError(f"{name} is not installed: run setup.sh")
    return path
