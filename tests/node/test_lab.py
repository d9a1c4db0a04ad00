# SPDX-License-Identifier: Apache-2.0
"""The lab itself, without Weft: if it were wrong, nothing that it shows could be believed."""
import socket

import pytest
from http1 import raw, request
from lab import Lab
from netns import LabError
from waiting import Late, wait_until


@pytest.fixture(scope="module")
def pods(lab):
    client, server = lab.pod("client"), lab.pod("server")
    server.app = server.serve(9080, tcp=[9090])
    return client, server


@pytest.mark.parametrize("family", ["ip4", "ip6"])
def test_application_sees_the_client_address_without_weft(pods, family):
    client, server = pods
    saw = request(client, getattr(server, family), 9080, "GET", "/a?b=c").saw
    assert getattr(client, family) in saw["accept"]
    assert saw["accept"] == saw["getpeername"]
    assert (saw["pod"], saw["method"], saw["path"]) == ("server", "GET", "/a?b=c")


def test_application_reports_body_and_headers(pods):
    client, server = pods
    saw = request(client, server.ip4, 9080, "POST", "/", headers={"X-One": "1"}, body=b"hello").saw
    assert saw["body_bytes"] == 5
    assert ["X-One", "1"] in saw["headers"]


def test_application_hands_out_the_bytes_it_received(pods):
    client, server = pods
    server.app.take()
    raw(client, server.ip4, 9080, b"GET /bytes?close=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert server.app.bytes_received() == b"GET /bytes?close=1 HTTP/1.1\r\nHost: x\r\n\r\n"


def test_application_answers_raw_bytes_when_told(pods):
    client, server = pods
    with server.app.answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", close=True):
        received, end = raw(client, server.ip4, 9080, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (received, end) == (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", "fin")


def test_half_close_reaches_the_application_and_its_answer_the_client(pods):
    client, server = pods
    received, end = raw(client, server.ip4, 9090, b"abc", half_close=True)
    assert received.startswith(b"abc\n{") and b'"bytes": 3' in received and end == "fin"


def test_reset_is_seen_as_reset(pods):
    client, server = pods
    assert raw(client, server.ip4, 9080, b"GET /?reset=head HTTP/1.1\r\nHost: x\r\n\r\n")[1] == "reset"


@pytest.mark.parametrize("end", ["exec sleep 60", "exit 1"])
def test_program_that_does_not_get_ready_fails_with_its_own_words(pods, end):
    with pytest.raises(LabError, match="no such port"):
        pods[0].launch("sh", "-c", f"echo no such port >&2; {end}", seconds=0.5)


def test_curl_runs_inside_the_pod(pods):
    client, server = pods
    done = client.run("curl", "-sS", "--max-time", "5", f"http://{server.ip4}:9080/")
    assert done.returncode == 0 and client.ip4 in done.stdout


def test_deleted_pod_is_gone_at_once_and_its_cable_too(lab):
    pod = lab.pod("short-lived")
    assert pod.link in lab.links()
    pod.delete()
    wait_until(pod.link_gone, "the namespace is freed")


def test_a_socket_that_pins_a_namespace_is_noticed(lab):
    pod = lab.pod("pinned")
    holder = pod.socket(socket.AF_INET)
    pod.delete()
    with pytest.raises(Late):
        wait_until(pod.link_gone, "the namespace is freed", seconds=0.5)
    holder.close()
    wait_until(pod.link_gone, "the namespace is freed")


def test_closed_lab_leaves_nothing_even_when_the_test_fails():
    with pytest.raises(ZeroDivisionError), Lab() as lab:
        lab.pod("one").serve(9080)
        lab.leftovers_inside = lab.leftovers(seconds=0)
        1 / 0
    assert lab.leftovers_inside != []
    assert lab.leftovers() == []
