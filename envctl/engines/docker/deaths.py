"""Being told at once when a container of a stack ends, and finding out why."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from envctl.engines.docker import cli
from envctl.engines.docker.direct import Question
from envctl.engines.docker.endpoint import Endpoint
from envctl.errors import EnvctlError, Interrupted
from envctl.host import clock
from envctl.model import Death
from envctl.plan.labels import LABEL_PREFIX

_TAIL_LINES = 20
_KILLED = 128 + 9
_EVENTS_LIMIT_S = 2.0
_LOOK = '{"state":{{json .State}},"memory":{{.HostConfig.Memory}}}'


@contextmanager
def watch(endpoint: Endpoint, stack_id: str, *, since_s: float, report: Callable[[Death], None]) -> Iterator[None]:
    """Call `report`, from another thread, for each container of the stack that ends while the block runs.

    Args:
        endpoint: The engine.
        stack_id: The stack.
        since_s: Unix time from which on an end counts: a container may end before the engine's events flow. Used only
            where the engine's clock is ours.
        report: Gets each death, with its evidence.
    """
    filters = {"type": ["container"], "event": ["die"], "label": [f"{LABEL_PREFIX}stack={stack_id}"]}
    since = {"since": f"{since_s:.3f}"} if endpoint.is_local else {}
    question = Question(endpoint, "/events", {"filters": json.dumps(filters), **since})
    reader = threading.Thread(target=_read, args=(question, report), daemon=True)
    reader.start()
    try:
        yield
    finally:
        question.end()
        reader.join(timeout=1.0)


def _read(question: Question, report: Callable[[Death], None]) -> None:
    for line in question.lines():
        try:  # what is no event is the head of the answer
            actor = json.loads(line)["Actor"]
            service = actor["Attributes"][LABEL_PREFIX + "service"]
        except (ValueError, KeyError, TypeError):
            continue
        report(autopsy(question.endpoint, service, str(actor["ID"])))


def autopsy(endpoint: Endpoint, service: str, handle: str) -> Death:
    """Why a container ended: its exit code, whether memory ran out, how long it ran, its last lines."""
    try:
        seen = json.loads(cli.run(endpoint, ["inspect", "--format", _LOOK, handle], doing="inspect a container"))
    except Interrupted:
        raise
    except (EnvctlError, ValueError):
        return Death(service)
    state = seen["state"]
    # A busy engine misses one in some dozens of the kernel's notices that memory ran out.
    silently = state.get("ExitCode") == _KILLED and bool(seen["memory"]) and not _by_request(endpoint, handle)
    return Death(
        service,
        exit_code=state.get("ExitCode"),
        out_of_memory=bool(state.get("OOMKilled")) or silently,
        log_tail=tail(endpoint, handle),
        ran_s=_seconds(state.get("StartedAt"), state.get("FinishedAt")),
    )


def _by_request(endpoint: Endpoint, handle: str) -> bool:
    """Whether somebody had the engine kill a container, or that cannot be known."""
    filters = json.dumps({"container": [handle], "event": ["kill"]})
    options = {"since": "1", "until": f"{clock.now().timestamp():.6f}", "filters": filters}
    try:
        fine, text = Question(endpoint, "/events", options).answer(clock.monotonic_s() + _EVENTS_LIMIT_S)
    except Interrupted:
        raise
    except EnvctlError:
        return True
    return not fine or bool(text.strip())


def tail(endpoint: Endpoint, handle: str, lines: int = _TAIL_LINES) -> tuple[str, ...]:
    """A container's last lines, both streams, raw; empty where they cannot be had."""
    try:
        process = subprocess.run(
            [cli.program(), *endpoint.arguments, "logs", "--tail", str(lines), handle],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=cli.environment(),
            timeout=cli.CALL_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ()
    return tuple(process.stdout.decode(errors="replace").splitlines())


def _seconds(started: object, finished: object) -> float | None:
    """Seconds between two of the engine's times; they have nanoseconds, which Python's reader does not take."""
    try:
        first, last = (datetime.fromisoformat(str(text)[:19]) for text in (started, finished))
        fraction = [float("0" + str(text)[19:].split("Z")[0]) for text in (started, finished)]
    except ValueError:
        return None
    return max(0.0, (last - first).total_seconds() + fraction[1] - fraction[0])
