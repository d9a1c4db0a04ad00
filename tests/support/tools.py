# SPDX-License-Identifier: Apache-2.0
"""Programs of others and servers in other languages (tests/interop), as `make tools` builds them."""
from lab import REPOSITORY
from netns import LabError

VENV_PYTHON = REPOSITORY / "build" / "venv" / "bin" / "python"


def tool(name):
    path = REPOSITORY / "build" / "tools" / name
    if not path.exists():
        raise LabError(f"{path} does not exist: run make tools")
    return path
