#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a kubelet is to Weft: a process that listens at its port and dials pods.

    kubelet.py [--user UID] PORT

Says "ready", then answers each line of its input, "http ADDRESS PORT" or "tcp ADDRESS PORT", with one line: the status
of the response, "connected", or why not.
"""
import argparse
import errno
import http.client
import os
import socket
import sys

SECONDS = 10


def probe(kind, address, port):
    try:
        if kind == "tcp":
            socket.create_connection((address, int(port)), SECONDS).close()
            return "connected"
        connection = http.client.HTTPConnection(address, int(port), timeout=SECONDS)
        connection.request("GET", "/healthz", headers={"User-Agent": "kube-probe/1.35", "Connection": "close"})
        status = connection.getresponse().status
        connection.close()
        return str(status)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--user", type=int, default=0)
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    if options.user:
        os.setuid(options.user)
    listener = socket.create_server(("::", options.port), family=socket.AF_INET6, dualstack_ipv6=True)
    print("ready", flush=True)
    for line in sys.stdin:
        print(probe(*line.split()), flush=True)
    listener.close()


if __name__ == "__main__":
    main()
