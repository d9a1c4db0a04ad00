# SPDX-License-Identifier: Apache-2.0
"""Waiting on a condition with a deadline. No test sleeps to synchronise; this is the one place that polls."""
import os
import select
import time


class Late(AssertionError):
    """A condition did not become true in time."""


def wait_until(condition, what, seconds=10.0, poll=0.02):
    """Returns the first truthy value of condition(); what it says last is part of the message."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            text = what() if callable(what) else what
            raise Late(f"not within {seconds:g} s: {text} (last seen: {value!r})")
        time.sleep(poll)


def read_line(stream, seconds=10.0):
    """The next line of a pipe, or what of it came within the time or before its end; takes no byte behind the line."""
    deadline = time.monotonic() + seconds
    line = b""
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([stream], [], [], left)[0]:
            break
        byte = os.read(stream.fileno(), 1)
        if not byte:
            break
        line += byte
    return line.decode(errors="replace")
