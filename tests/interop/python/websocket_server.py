# SPDX-License-Identifier: Apache-2.0
"""WebSocket echo of the `websockets` package over HTTP/1. /no is refused with 403; /first gets a message at once;
/bye is closed by the server after one message."""
import contextlib
import http
import signal
import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve


def refuse(connection, request):
    return connection.protocol.reject(http.HTTPStatus.FORBIDDEN, "no\n") if request.path == "/no" else None


def handle(connection):
    if connection.request.path == "/first":
        connection.send("first")
    with contextlib.suppress(ConnectionClosed):
        for message in connection:
            connection.send(message)
            if connection.request.path == "/bye":
                return


def main():
    with serve(handle, "0.0.0.0", int(sys.argv[1]), process_request=refuse, compression=None,
               max_size=16 * 1024 * 1024) as server:
        signal.signal(signal.SIGTERM, lambda *_: server.shutdown())
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
