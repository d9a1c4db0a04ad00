# SPDX-License-Identifier: Apache-2.0
"""Asks a server again and again until a change shows, and prints when: seconds since the epoch, by the clock that all pods
of a machine share. Whoever waits for the change adds none of its own time to it.

  until.py HOST PORT SECONDS METHOD STATUS POD    METHOD is answered with STATUS, and GET by that POD
"""
import http.client
import json
import sys
import time

PAUSE = 0.02


def ask(host, port, method):
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request(method, "/")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def shows(host, port, method, status, pod):
    try:
        if ask(host, port, method)[0] != status:
            return False
        got, body = ask(host, port, "GET")
        return got == 200 and json.loads(body)["pod"] == pod
    except (OSError, http.client.HTTPException):
        return False  # what fails is SteadyLoad's to tell


def main():
    host, port, seconds, method, status, pod = sys.argv[1:7]
    deadline = time.monotonic() + float(seconds)
    while time.monotonic() < deadline:
        if shows(host, int(port), method, int(status), pod):
            print(json.dumps({"at": time.time()}))
            return
        time.sleep(PAUSE)
    print(json.dumps({"at": None}))


if __name__ == "__main__":
    main()
