# SPDX-License-Identifier: Apache-2.0
"""Requests without a pause, as a well-behaved client makes them: a new connection for every few requests, closed as soon
as the server says `Connection: close`. Prints one JSON object at the end: {"requests", "connections", "failures"}.

  steady_load.py HOST PORT SECONDS THREADS REQUESTS_PER_CONNECTION
"""
import http.client
import json
import sys
import threading
import time

FAILURES_TOLD = 20


class Load:
    def __init__(self, host, port, per_connection, deadline):
        self.host, self.port, self.per_connection, self.deadline = host, port, per_connection, deadline
        self.lock = threading.Lock()
        self.requests = self.connections = 0
        self.failures, self.failed = [], 0

    def run(self):
        while time.monotonic() < self.deadline:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=10)
            began, number = time.time(), 0
            try:
                connection.connect()
                for number in range(self.per_connection):
                    connection.request("GET", "/")
                    answer = connection.getresponse()
                    answer.read()
                    if answer.status != 200:
                        raise OSError(f"status {answer.status}")
                    with self.lock:
                        self.requests += 1
                    if answer.will_close:
                        break
            except (OSError, http.client.HTTPException) as error:
                with self.lock:
                    self.failed += 1
                    if len(self.failures) < FAILURES_TOLD:
                        self.failures.append(f"{began:.3f}+{time.time() - began:.3f} request {number}: "
                                             f"{type(error).__name__}: {error}")
            finally:
                connection.close()
            with self.lock:
                self.connections += 1


def main():
    host, port, seconds, threads, per_connection = sys.argv[1], *(int(text) for text in sys.argv[2:6])
    load = Load(host, port, per_connection, time.monotonic() + seconds)
    running = [threading.Thread(target=load.run) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    print(json.dumps({"requests": load.requests, "connections": load.connections, "failed": load.failed,
                      "failures": load.failures}))


if __name__ == "__main__":
    main()
