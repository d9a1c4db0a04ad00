# SPDX-License-Identifier: Apache-2.0
"""A steady stream of requests, each on a new connection, that remembers what happened to every one."""
import dataclasses
import http.client
import threading
import time

from http1 import Session


@dataclasses.dataclass
class Outcome:
    started: float  # time.monotonic() before connect()
    connected: bool
    result: str     # "200", another status, or the name of the exception


class Load:
    """with Load(lambda: Session(...)) as load: ...   afterwards load.outcomes"""

    def __init__(self, connect, path="/", threads=4, method="GET"):
        self.connect, self.path, self.method = connect, path, method
        self.outcomes = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self):
        while not self._stop.is_set():
            outcome = self._one()
            with self._lock:
                self.outcomes.append(outcome)

    def _one(self):
        started, connected = time.monotonic(), False
        try:
            session: Session = self.connect()
            connected = True
            with session:
                return Outcome(started, True, str(session.request(self.method, self.path).status))
        except (OSError, http.client.HTTPException) as error:
            return Outcome(started, connected, type(error).__name__)

    def count(self):
        with self._lock:
            return len(self.outcomes)

    def served(self):
        with self._lock:
            return sum(outcome.result == "200" for outcome in self.outcomes)

    def failed(self, since=0.0):
        with self._lock:
            return [outcome for outcome in self.outcomes if outcome.result != "200" and outcome.started >= since]

    def not_connected(self):
        with self._lock:
            return [outcome for outcome in self.outcomes if not outcome.connected]
