# SPDX-License-Identifier: Apache-2.0
"""The real programs on a lab's folders: one agent (which starts its engine), weftctl, and the metrics they serve."""
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import urllib.error
import urllib.request

import netns
from exposition import Metrics
from lab import binary
from waiting import wait_until

ENGINE_USER = 64123


class Agent:
    """weft-agent with a socket, pins and metrics address of its own. Restartable: kill(), then start() again.

    `host`: a pod that is no pod but the host: its network namespace is the one that the agent lives in.
    """

    def __init__(self, lab, *, source=None, cgroup=None, engine=True, workers=1, arguments=(), engine_arguments=(),
                 environment=None, prefix=(), pin_dir=None, wrapper_log=None, host=None):
        self.lab, self.host = lab, host
        self.socket_path = lab.folder / "agent.sock"
        self.pin_dir = pin_dir or lab.bpffs / "weft"
        self.metrics_port = free_port()
        self.log_path = lab.folder / (wrapper_log or "weft.log")
        self.process = None
        self.environment = environment or {}
        enter = ["nsenter", f"--net={netns.NETNS_FOLDER / host.netns}"] if host else []
        self.command = [*enter, *prefix, binary("weft-agent"), "--source", f"dir:{source or lab.source}",
                        "--socket", self.socket_path, "--cgroup", cgroup or lab.cgroup, "--pin-dir", self.pin_dir,
                        "--metrics-address", f"127.0.0.1:{self.metrics_port}"]
        if engine:
            self.command += ["--engine", binary("weft-l7engine"), "--engine-user", ENGINE_USER]
            for argument in (f"--workers={workers}", *engine_arguments):
                self.command += ["--engine-arg", argument]
        self.command += arguments

    # ---- life
    def launch(self, **options):
        """Starts the process and does not wait for anything."""
        folder = self.lab.cgroup / "node"
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen([str(c) for c in self.command], stdin=subprocess.DEVNULL, stdout=log,
                                        stderr=log, env={**os.environ, **self.environment},
                                        preexec_fn=lambda: netns.join_cgroup(folder), start_new_session=True,
                                        **options)
        log.close()
        return self.process

    def start(self, seconds=30):
        self.launch()
        wait_until(self._ready, lambda: f"the agent is ready; its log: {self.log_tail()}", seconds)

    def _ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"weft-agent exited with {self.process.returncode}: {self.log_tail()}")
        return self.http("/readyz")[0] == 200

    def kill(self):
        """SIGKILL for the agent and every engine of it."""
        pids = self.engine_pids()
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in set(pids) | set(self.engine_pids()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_agent(self):
        """Only the agent. Its engine goes on."""
        self.process.kill()
        self.process.wait()

    def kill_engine(self):
        pid = self.engine_pid()
        os.kill(pid, signal.SIGKILL)
        return pid

    def stop(self, seconds=20):
        """A graceful end; returns the exit code."""
        self.process.terminate()
        return self.process.wait(seconds)

    def cleanup(self):
        """weft-agent --cleanup: what an operator runs after a SIGKILL."""
        return netns.run(binary("weft-agent"), "--cleanup", "--socket", self.socket_path, "--pin-dir", self.pin_dir,
                         check=False)

    def engine_pids(self):
        """Processes of the lab's node cgroup that run the engine's program."""
        wanted = str(binary("weft-agent").resolve().with_name("weft-l7engine"))
        found = []
        for pid in netns.cgroup_processes(self.lab.cgroup / "node"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)") == wanted:
                    found.append(pid)
        return found

    def engine_pid(self):
        pids = wait_until(self.engine_pids, "an engine runs", 15)
        assert len(pids) == 1, f"{len(pids)} engines"
        return pids[0]

    def log_tail(self, lines=15):
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
        return ""

    # ---- asking
    def ctl(self, *arguments, check=True):
        done = netns.run(binary("weftctl"), "--socket", self.socket_path, *arguments, check=False)
        assert not check or done.returncode == 0, \
            f"weftctl {' '.join(map(str, arguments))}: {done.stderr or done.stdout}\n{self.log_tail()}"
        return done

    def sync(self):
        self.ctl("--timeout", 15, "sync")

    def apply(self, file_name, *objects):
        """Writes a manifest and returns when it is in force."""
        self.lab.apply(file_name, *objects)
        self.sync()

    def remove(self, *file_names):
        for file_name in file_names:
            self.lab.remove(file_name)
        self.sync()

    def status(self):
        return json.loads(self.ctl("status", "-o", "json").stdout)

    def http(self, path):
        """(status, text) of the agent's metrics address; (0, reason) if it does not answer."""
        try:
            with netns.inside(self.host.netns) if self.host else contextlib.nullcontext(), \
                    urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}{path}", timeout=5) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def metrics(self):
        status, text = self.http("/metrics")
        assert status == 200, f"/metrics answered {status} {text}"
        return Metrics(text)

    def rises(self, name, by=1, seconds=10, **labels):
        """A context: the counter has grown by at least `by` some time after the block."""
        return _Rise(self, name, by, seconds, labels)


class _Rise:
    def __init__(self, agent, name, by, seconds, labels):
        self.agent, self.name, self.by, self.seconds, self.labels = agent, name, by, seconds, labels

    def __enter__(self):
        self.before = self.agent.metrics().total(self.name, **self.labels)
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            wait_until(lambda: self.agent.metrics().total(self.name, **self.labels) >= self.before + self.by,
                       f"{self.name}{self.labels or ''} rises by {self.by} from {self.before:g}", self.seconds)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def process_status(pid):
    """/proc/PID/status as a dict."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict((part.strip() for part in line.split(":", 1)) for line in lines)
