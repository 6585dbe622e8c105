"""Programs inside containers, and what containers say."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO

from envctl.engines.docker import cli
from envctl.engines.docker.endpoint import Endpoint

if TYPE_CHECKING:
    from envctl.host.streams import Writable

_LONGEST_LINE_BYTES = 1 << 20


def logs(where: Endpoint, handle: str, *, follow: bool, tail_lines: int | None, since: str | None) -> Iterator[str]:
    """A container's log lines, both streams, oldest first; a line of more than 1 MiB comes in pieces."""
    options = ["--follow"] if follow else []
    options += ["--tail", str(tail_lines)] if tail_lines is not None else []
    options += ["--since", since] if since else []
    process = subprocess.Popen(
        [cli.program(), *where.arguments, "logs", *options, handle],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=cli.environment(),
        preexec_fn=cli.die_with_parent,
    )
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    try:
        while line := process.stdout.readline(_LONGEST_LINE_BYTES):
            yield line.decode(errors="replace").rstrip("\n")
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def run_inside(where: Endpoint, handle: str, command: Sequence[str], limit_s: float) -> tuple[int, str]:
    """Run a program in a container: exit code and output.

    Raises:
        TimeoutError: It took longer than `limit_s`. It may go on inside the container.
    """
    try:
        process = subprocess.run(
            [cli.program(), *where.arguments, "exec", handle, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=cli.environment(),
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError from error
    return process.returncode, process.stdout.decode(errors="replace")


def stream(
    where: Endpoint,
    handle: str,
    command: Sequence[str],
    *,
    stdin: BinaryIO | None = None,
    stdout: Writable | None = None,
) -> tuple[int, str]:
    """Run a program in a container that reads a file of ours, or writes one: exit code, and what it said on stderr.

    Where we are interrupted, it finds its pipe closed.
    """
    from envctl.host import streams

    options = [] if stdin is None else ["--interactive"]

    def start(reads: int, writes: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [cli.program(), *where.arguments, "exec", *options, handle, *command],
            stdin=reads,
            stdout=writes,
            stderr=subprocess.PIPE,
            env=cli.environment(),
            preexec_fn=cli.die_with_parent,
            process_group=0,
        )

    return streams.run(start, _end, stdin=stdin, stdout=stdout)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def execute(
    where: Endpoint,
    handle: str,
    command: Sequence[str],
    *,
    tty: bool,
    stdin: bool,
    variables: Mapping[str, str],
) -> int:
    """Run a program in a container on our standard streams; its exit code.

    `docker exec --env NAME` without a value takes it from its own environment, so no argument list shows it.
    """
    options = [*(["--tty"] if tty else []), *(["--interactive"] if stdin else [])]
    options += [word for name in variables for word in ("--env", name)]
    process = subprocess.Popen(
        [cli.program(), *where.arguments, "exec", *options, handle, *command],
        stdin=None if stdin else subprocess.DEVNULL,
        env={**os.environ, **cli.environment(), **variables},
        preexec_fn=cli.die_with_parent,
    )
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
