# SPDX-License-Identifier: Apache-2.0
"""Pods change at a fixed rate, as in rollouts: the pods of one service together, and its EndpointSlice once for all of
them. A process of its own: the one that measures must not wait for it. Prints a line of JSON when it has ended."""
import argparse
import collections
import itertools
import json
import pathlib
import sys
import threading
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "cluster"))

import population  # noqa: E402
from api import Client  # noqa: E402
from population import Size  # noqa: E402

THREADS = 6


SERVICES = 40  # that are rolled out again and again, spread over all


class Churn:
    """Services in turn. Of five, one's pods get new labels each time, one's new addresses, and of three the pods are
    ready or not."""

    def __init__(self, size, rate, seconds):
        self.size, self.rate, self.seconds = size, rate, seconds
        self.lock = threading.Lock()
        self.turns = itertools.count()
        self.began = time.monotonic()
        self.done = collections.Counter()
        self.late_ms = []
        self.errors = []

    def run(self, port):
        crew = [threading.Thread(target=self._work, args=(port,)) for _ in range(THREADS)]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join()

    def _work(self, port):
        with Client(port) as client:
            while not self.errors:
                with self.lock:
                    turn = next(self.turns)
                due = turn * self.size.pods / self.size.services / self.rate
                if due >= self.seconds:
                    return
                late = time.monotonic() - self.began - due
                if late < 0:
                    time.sleep(-late)
                try:
                    changed = self._roll(client, turn)
                except Exception as error:  # told by the one who started this
                    self.errors.append(str(error))
                    return
                with self.lock:
                    self.done.update(changed)
                    self.late_ms.append(max(late, 0) * 1000)

    def _roll(self, client, turn):
        size, rolled = self.size, min(SERVICES, self.size.services)
        which, lap = turn % rolled, turn // rolled
        service = which * size.services // rolled
        generation, ready = (lap + 1) % 2 if which % 5 == 1 else 0, which % 5 == 1 or lap % 2 == 1
        ns, changed = size.namespace_of(service), collections.Counter()
        for pod in size.pods_of(service):
            path = f"/api/v1/namespaces/{ns}/pods/{population.pod_name(size, pod)}"
            if which % 5 == 2:
                client.merge(path, {"metadata": {"labels": {"version": f"v{lap}-{self.began:.0f}"}}}, population.PEOPLE)
            else:
                status = population.pod_status(size, pod, ready, generation)
                client.merge(f"{path}/status", {"status": status}, population.KUBELET)
            changed["pods"] += 1
        if which % 5 != 2:
            endpoints = [population.endpoint(size, pod, ready, generation) for pod in size.pods_of(service)]
            client.merge(f"{population.SLICES_API}/{ns}/endpointslices/app-{service:04}-slice",
                         {"endpoints": endpoints}, population.CONTROLLER)
            changed["slices"] += 1
        return changed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--size", type=json.loads, required=True)
    options = parser.parse_args()
    churn = Churn(Size(**options.size), options.rate, options.seconds)
    churn.run(options.port)
    took = time.monotonic() - churn.began
    print(json.dumps({"pods_per_s": round(churn.done["pods"] / max(took, options.seconds), 1), **churn.done,
                      "seconds": round(took, 1), "late_ms_max": round(max(churn.late_ms, default=0)),
                      "errors": churn.errors}))
    return 1 if churn.errors else 0


if __name__ == "__main__":
    sys.exit(main())
