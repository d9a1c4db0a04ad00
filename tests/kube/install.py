#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make kube-install: the built image and the chart on the test cluster. Arguments go to helm."""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "cluster")]
sys.path.append(str(HERE.parent / "support"))

import weft  # noqa: E402
from settings import Failed  # noqa: E402

if __name__ == "__main__":
    try:
        weft.install(*sys.argv[1:])
    except Failed as error:
        sys.exit(f"kube: {error}")
    print(f"kube: helm release {weft.RELEASE} in namespace {weft.NAMESPACE}; try: kubectl get pods -n {weft.NAMESPACE}")
