# SPDX-License-Identifier: Apache-2.0
"""Programs of others and servers in other languages (tests/interop), as `make tools` builds them."""
import subprocess

from lab import REPOSITORY
from netns import LabError

VENV_PYTHON = REPOSITORY / "build" / "venv" / "bin" / "python"


def tool(name):
    path = REPOSITORY / "build" / "tools" / name
    if not path.exists():
        raise LabError(f"{path} does not exist: run make tools")
    return path


def serve(pod, *command):
    """Starts a server in a pod; returns its process when it has printed `ready`."""
    process = pod.start(*command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    if line != "ready\n":
        raise LabError(f"{command[0]} did not start: {line!r}")
    return process
