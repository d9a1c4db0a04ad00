# SPDX-License-Identifier: Apache-2.0
"""kubectl, with a deadline for everything. What fails says kubectl's own words."""
import json
import subprocess

import settings
from settings import Failed


def kubectl(*arguments, stdin=None, seconds=30.0, check=True):
    """The finished process. Not within the time, or with check a status other than 0: Failed."""
    command = [settings.PROGRAMS / "kubectl", f"--kubeconfig={settings.KUBECONFIG}", *arguments]
    said = f"kubectl {' '.join(map(str, arguments))}"
    try:
        done = subprocess.run([str(part) for part in command], input=stdin, capture_output=True, text=True,
                              timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{said}: not within {seconds:g} s; {_text(error.stdout)} {_text(error.stderr)}") from None
    if check and done.returncode != 0:
        raise Failed(f"{said}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def objects(*arguments, **options):
    """What `kubectl get` finds, as a list of dicts, or the one object that was named."""
    found = json.loads(kubectl("get", *arguments, "-o", "json", **options).stdout)
    return found["items"] if found.get("kind", "").endswith("List") else found


def _text(output):
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""
