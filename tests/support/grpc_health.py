# SPDX-License-Identifier: Apache-2.0
"""A gRPC health service that always serves (grpc.health.v1.Health/Check), as the kubelet's gRPC probes ask it.

  grpc_health.py PORT
"""
import socket
import sys
import threading

import h2.config
import h2.connection
import h2.events

SERVING = b"\0\0\0\0\2\x08\x01"  # one message, not compressed: HealthCheckResponse{status: SERVING}


def serve(sock):
    with sock:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        sock.sendall(connection.data_to_send())
        while data := sock.recv(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.StreamEnded):
                    connection.send_headers(event.stream_id, [(":status", "200"), ("content-type", "application/grpc")])
                    connection.send_data(event.stream_id, SERVING)
                    connection.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)
            sock.sendall(connection.data_to_send())


def main():
    listener = socket.create_server(("0.0.0.0", int(sys.argv[1])))
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


if __name__ == "__main__":
    main()
