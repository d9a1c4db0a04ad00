# SPDX-License-Identifier: Apache-2.0
"""Waiting on a condition with a deadline. No test sleeps to synchronise; this is the one place that polls."""
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
