# SPDX-License-Identifier: Apache-2.0
"""Processes that outlive the command that started them. Each is recorded by id and start time, so that a later command
ends these and no others: an id alone may by then belong to somebody else."""
import contextlib
import os
import pathlib
import signal
import subprocess
import time

import settings

RECORDS = settings.STATE / "processes"
BOOT = settings.STATE / "boot"

_children = {}  # name -> Popen of those that this command has started, which must be reaped


def boot_id():
    return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def of_this_boot():
    return not BOOT.exists() or BOOT.read_text() == boot_id()


def start(name, *command, join=()):
    """Starts a daemon in the given cgroup folders; its log is the one of its name."""
    RECORDS.mkdir(parents=True, exist_ok=True)
    if not BOOT.exists():
        BOOT.write_text(boot_id())

    # The child records itself before it becomes the daemon: whenever we are killed, nothing runs unrecorded.
    def record_and_join():
        (RECORDS / name).write_text(f"{os.getpid()} {_start_time(os.getpid())}")
        for folder in join:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    with open(settings.log_of(name), "wb") as log:
        _children[name] = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log,
                                           stderr=log, start_new_session=True, preexec_fn=record_and_join)
    return _children[name].pid


def recorded():
    return sorted(path.name for path in RECORDS.iterdir()) if RECORDS.is_dir() else []


def pid_of(name):
    """The id of the recorded process if it still lives, else None."""
    if name in _children:
        _children[name].poll()
    try:
        pid, started = (RECORDS / name).read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if of_this_boot() and _start_time(int(pid)) == int(started) else None


def alive(name):
    return pid_of(name) is not None


def end(names, seconds=20.0):
    """Kills the recorded processes among these and waits until they are gone; returns those that are not."""
    names = list(names)
    for name in names:
        pid = pid_of(name)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + seconds
    while any(alive(name) for name in names) and time.monotonic() < deadline:
        time.sleep(0.02)
    left = [name for name in names if alive(name)]
    for name in set(names) - set(left):
        (RECORDS / name).unlink(missing_ok=True)
    return left


def _start_time(pid):
    """In clock ticks since boot; None for a process that has ended, reaped or not."""
    try:
        state, *fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else int(fields[18])
