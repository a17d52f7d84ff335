"""Becomes another program that ends when the supervisor does: `python -I -S launch.py OPTIONS -- ARGV`.

A script of its own, because a child that drops privileges and asks for a signal at its parent's death has to run code
between fork and exec, which is not safe in a process with threads. It runs without the site packages, so it imports
nothing outside the standard library.

Exit status 126: the program exists but cannot be run by this user; 127: it does not exist.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.5


def die_with_parent(signal_number: int, parent: int) -> bool:
    """Asks Linux for a signal when the spawning thread ends. False where there is no such thing."""
    if sys.platform != "linux":
        return False
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0:
        return False
    if os.getppid() != parent:  # it died between our birth and the call above
        os._exit(1)
    return True


def watch(pipe: int, signal_number: int) -> None:
    """Leaves a detached watcher behind that signals this process when the other end of `pipe` is closed."""
    target = os.getpid()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os.close(pipe)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.set_blocking(pipe, False)
    while True:
        try:
            closed = os.read(pipe, 1) == b""
        except BlockingIOError:
            closed = False
        try:
            os.kill(target, signal_number if closed else 0)
        except ProcessLookupError:
            closed = True
        if closed:
            os._exit(0)
        time.sleep(POLL_SECONDS)


def main(arguments: list[str]) -> int:
    split = arguments.index("--")
    options = dict(zip(arguments[:split:2], arguments[1:split:2], strict=True))
    argv = arguments[split + 1 :]
    signal_number, parent = int(options["--signal"]), int(options["--parent"])
    if "--groups" in options:
        os.setgroups([int(group) for group in options["--groups"].split(",") if group])
    if "--gid" in options:
        os.setgid(int(options["--gid"]))
    if "--uid" in options:
        os.setuid(int(options["--uid"]))  # before asking for the signal: a change of identity forgets it
    pipe = int(options["--pipe"]) if "--pipe" in options else -1
    if "--force-pipe" in options or not die_with_parent(signal_number, parent):
        if pipe >= 0:
            watch(pipe, signal_number)
    elif pipe >= 0:
        os.close(pipe)
    try:
        if "--cwd" in options:
            os.chdir(options["--cwd"])
        os.execvp(argv[0], argv)  # noqa: S606
    except FileNotFoundError as error:
        print(f"{error.filename or argv[0]}: {error.strerror}", file=sys.stderr, flush=True)
        return 127
    except OSError as error:
        print(f"{error.filename or argv[0]}: {error.strerror}", file=sys.stderr, flush=True)
        return 126


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
