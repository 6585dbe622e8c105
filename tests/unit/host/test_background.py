"""Programs of ours that go on by themselves."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from harness import eventually

from envctl.host import background


def test_nothing_of_the_caller_is_held(tmp_path: Path) -> None:
    """A session of its own, no stream, no descriptor that was lent to the caller; its variables, and a mark."""
    lent, end = os.pipe()
    os.set_inheritable(end, True)
    script = f"ls -l /proc/self/fd > {tmp_path}/fds; env > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/environ"
    try:
        pid = background.start(["/bin/sh", "-c", script], {"PATH": os.defpath, "MINE": "1"})
        assert os.getsid(pid) == pid
        assert eventually((tmp_path / "environ").exists, every_s=0.005)
        os.waitpid(pid, 0)
    finally:
        os.close(lent)
        os.close(end)
    assert {"MINE=1", f"{background.MARK}=1"} <= set((tmp_path / "environ").read_text().splitlines())
    assert "pipe:" not in (tmp_path / "fds").read_text()


def test_it_outlives_a_job() -> None:
    """What a CI runner knows its job's processes by means another one; outside of CI nothing is made up."""
    job = {"RUNNER_TRACKING_ID": "github_1", "BUILD_ID": "7", "JENKINS_NODE_COOKIE": "x", "PATH": "/bin"}
    ours = background.environment(job)
    assert (ours["RUNNER_TRACKING_ID"], ours["BUILD_ID"], ours["JENKINS_NODE_COOKIE"]) == ("0", *2 * ["dontKillMe"])
    assert background.environment({"DOCKER_CONFIG": "x"})["DOCKER_CONFIG"] == f"{Path.cwd()}/x", "it leaves this folder"
    assert background.environment({"PATH": "/bin"}) == {"PATH": "/bin", background.MARK: "1"}


def test_our_modules_are_found_from_everywhere(tmp_path: Path) -> None:
    """However envctl was found by this Python, and whatever lies in the working folder."""
    (tmp_path / "envctl.py").write_text("raise SystemExit(9)")
    (tmp_path / "signal.py").write_text("raise SystemExit(9)")
    command = background.python("envctl.host.terminal")
    assert command[0] == sys.executable
    probe = [
        *command[:-1],
        command[-1].replace("main", "escape").replace("escape(sys.argv[1:])", "print(escape('found'))"),
    ]
    pid = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", f'cd "{tmp_path}" && exec "$@" > "{tmp_path}/out"', "sh", *probe],
        {"PATH": os.defpath},
    )
    assert os.waitpid(pid, 0)[1] == 0
    assert (tmp_path / "out").read_text() == "found\n"
