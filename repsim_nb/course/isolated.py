"""Run one notebook in this process, and write what happens to a file: `python -m repsim_nb.course.isolated JOB EVENTS`.

Where Linux allows it, the process enters a namespace without network access: there is nothing but loopback, which the
kernel of the notebook needs. Elsewhere a guard in the kernel refuses what Python's sockets would send to another
machine. It holds for the Python code of the kernel, and not for other programs that this code starts.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Any

from repsim_nb.course.checking import MIME

_NEW_NETWORK, _NEW_USER = 0x40000000, 0x10000000  # CLONE_NEWNET, CLONE_NEWUSER
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP

_LOCAL = (None, "", b"", "127.0.0.1", "::1", "localhost", b"localhost")


def guard() -> None:
    """Refuse what Python's sockets would send to another machine, for the rest of this process.

    Python code cannot remove the hook again. `exit()` raises: it would end the kernel after its cell, and the next cell
    would be blamed.
    """
    sys.addaudithook(_refuse)
    if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()):
        shell.push({"exit": _leave, "quit": _leave})


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    host = None
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        host = arguments[1][0] if isinstance(arguments[1], tuple) and arguments[1] else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    if host not in _LOCAL:
        raise PermissionError("there is no network access while a notebook is graded")


def _leave(*arguments: Any) -> None:
    raise SystemExit(*arguments)


def leave_network() -> bool:
    """Enter a namespace without network access to other machines; False where this is not possible."""
    return can_leave_network() and _enter()


def can_leave_network() -> bool:
    """Return whether this machine lets a process give up its network access, tried in another process."""
    if sys.platform != "linux":
        return False
    trial = os.fork()
    if trial == 0:
        os._exit(not _enter())
    return os.waitpid(trial, 0)[1] == 0


def _enter() -> bool:
    library, user, group = ctypes.CDLL(None, use_errno=True), os.getuid(), os.getgid()
    if library.unshare(_NEW_NETWORK) != 0:
        if library.unshare(_NEW_NETWORK | _NEW_USER) != 0:
            return False
        try:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        except OSError:
            pass  # files are still read with the rights of this user
    return _start_loopback()


def _start_loopback() -> bool:
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        try:
            flags = struct.unpack("16sH14s", fcntl.ioctl(one, _GET_FLAGS, request))[1]
            fcntl.ioctl(one, _SET_FLAGS, struct.pack("16sH14s", b"lo", flags | _UP, b""))
        except OSError:
            return False
    return True


def run(notebook: Path, events: Path) -> None:
    """Run a notebook; write one line of JSON to `events` when a cell starts, and one when it is done."""
    import papermill
    from papermill.engines import NBClientEngine, papermill_engines

    def write(**event: Any) -> None:
        with events.open("a") as file:
            file.write(json.dumps(event) + "\n")

    class Engine(NBClientEngine):  # type: ignore[misc]
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> None:
            start, complete = nb_man.cell_start, nb_man.cell_complete

            def cell_start(cell: Any, *arguments: Any, **options: Any) -> None:
                write(start=cell.id)
                start(cell, *arguments, **options)

            def cell_complete(cell: Any, *arguments: Any, **options: Any) -> None:
                if sys.exc_info()[0] is None:  # else the kernel died
                    write(done=cell.id, **_result(cell))
                complete(cell, *arguments, **options)

            nb_man.cell_start, nb_man.cell_complete = cell_start, cell_complete
            super().execute_managed_notebook(nb_man, kernel_name, **options)

    papermill_engines.register("course", Engine)
    with contextlib.suppress(papermill.PapermillExecutionError):  # errors of single cells are in their results
        papermill.execute_notebook(
            str(notebook),
            None,
            engine_name="course",
            kernel_name="python3",
            progress_bar=False,
            cwd=str(notebook.parent),
            extra_arguments=["--HistoryManager.enabled=False", "--IPKernelApp.log_level=50"],
        )
    write(end=True)


def _result(cell: Any) -> dict[str, Any]:
    """Return the result of a check that a cell shows last, and the name of its error."""
    outputs = cell.get("outputs", [])
    results = [output["data"][MIME] for output in outputs if MIME in output.get("data", {})]
    errors = [output["ename"] for output in outputs if output["output_type"] == "error"]
    return {"result": results[-1] if results else None, "error": errors[-1] if errors else ""}


if __name__ == "__main__":
    events = Path(sys.argv[2])
    with events.open("a") as file:
        file.write(json.dumps({"network": "none" if leave_network() else "guard"}) + "\n")
    run(Path(sys.argv[1]), events)
