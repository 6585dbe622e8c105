"""Containers, networks and volumes of a stack: looked at and removed by their labels, never by their names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from envctl.engines.docker import cli
from envctl.engines.docker.direct import Question
from envctl.engines.docker.endpoint import Endpoint
from envctl.engines.docker.states import STATES
from envctl.host import clock
from envctl.model import Observed, ObservedService, ServiceState, Stack
from envctl.plan.labels import LABEL_PREFIX

_LABELS = ("registry", "stack", "service", "digest", "aspects", "data")
_EXIT_CODE = re.compile(r"Exited \((\d+)\)")
_PUBLISHED = re.compile(r":(\d+)->(\d+)/tcp")
_IMAGE_ID = re.compile(r"(sha256:)?[0-9a-f]{12,64}")


def _label(name: str) -> str:
    return f'{{{{json (.Label "{LABEL_PREFIX}{name}")}}}}'


_CONTAINER = (
    "[{{json .ID}},{{json .Names}},{{json .State}},{{json .Status}},{{json .Image}},{{json .Ports}},"
    + ",".join(map(_label, _LABELS))
    + "]"
)
_OTHER = "[{{json .Name}}," + ",".join(map(_label, ("registry", "stack", "persist"))) + "]"


@dataclass(frozen=True, slots=True)
class Look:
    """A look at one stack that is under way; the calls run side by side.

    Attributes:
        stack: The stack.
        registry_id: Whose labels count as ours.
        calls: By noun: "container", "network", "volume".
    """

    stack: Stack
    registry_id: str
    calls: dict[str, cli.Call] = field(default_factory=dict)

    def result(self) -> Observed:
        """Wait for the calls and say what is there. Raises EngineUnavailable errors."""
        texts = dict(zip(self.calls, cli.answers(list(self.calls.values())), strict=True))
        services: dict[str, ObservedService] = {}
        ours: dict[str, list[str]] = {"network": [], "volume": []}
        foreign: list[str] = []
        for row in _rows(texts["container"]):
            handle, name, state, status, image, ports, registry, stack, *labels = row
            if (registry, stack) == (self.registry_id, self.stack.id):
                services[labels[0]] = _service(handle, state, status, image, ports, labels)
            elif self._is_our_name("container", name):
                foreign.append(f"container {name}")
        for noun, names in ours.items():
            for name, registry, stack, _ in _rows(texts.get(noun, "")):
                if (registry, stack) == (self.registry_id, self.stack.id):
                    names.append(name)
                elif self._is_our_name(noun, name):
                    foreign.append(f"{noun} {name}")
        return Observed(services, tuple(ours["network"]), tuple(ours["volume"]), tuple(foreign))

    def end(self) -> None:
        """Give the look up."""
        for call in self.calls.values():
            call.end()

    def _is_our_name(self, noun: str, name: str) -> bool:
        project = re.escape(self.stack.project)
        pattern = {"container": f"{project}-.+", "network": f"{project}(_.+)?", "volume": f"{project}_.+"}[noun]
        return re.fullmatch(pattern, name) is not None


def look(endpoint: Endpoint, stack: Stack, registry_id: str, *, whole: bool) -> Look:
    """Begin a look.

    Args:
        endpoint: The engine.
        stack: The stack.
        registry_id: Our registry's id.
        whole: Whether to look at networks and volumes too, and at foreign things with our names; otherwise one call
            for our containers is all, which is what an `up` of something that runs can afford.
    """
    found = Look(stack, registry_id)
    where = f"name={stack.project}" if whole else f"label={LABEL_PREFIX}stack={stack.id}"
    listing = ["ps", "--all", "--no-trunc", "--filter", where, "--format", _CONTAINER]
    found.calls["container"] = cli.start(endpoint, listing, doing="list containers")
    for noun in ("network", "volume") if whole else ():
        arguments = [noun, "ls", "--filter", f"name={stack.project}", "--format", _OTHER]
        found.calls[noun] = cli.start(endpoint, arguments, doing=f"list {noun}s")
    return found


def remove_containers(endpoint: Endpoint, handles: Sequence[str], *, grace_s: int | None = None) -> None:
    """Remove containers with their anonymous volumes; one that is gone already is fine.

    Args:
        endpoint: The engine.
        handles: Container ids.
        grace_s: Time to stop cleanly before the kill, for data that is kept; None kills at once.
    """
    if not handles:
        return
    if grace_s is not None:
        _tolerant(endpoint, ["stop", "--time", str(grace_s), *handles], "stop containers", limit_s=grace_s + 20)
    _tolerant(endpoint, ["rm", "--force", "--volumes", *handles], "remove containers", limit_s=60)


def remove_others(endpoint: Endpoint, noun: str, names: Sequence[str]) -> cli.Call | None:
    """Begin to remove networks or volumes by name, which were found by label."""
    return cli.start(endpoint, [noun, "rm", *names], doing=f"remove {noun}s") if names else None


@dataclass(frozen=True, slots=True)
class Owned:
    """What carries a stack's labels now.

    Attributes:
        containers: Container ids.
        networks: Network names.
        volumes: Volume names.
        persistent: Those of the volumes whose data is to survive `down`.
    """

    containers: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    persistent: frozenset[str] = frozenset()


def owned(endpoint: Endpoint, stack_id: str, registry_id: str) -> Owned:
    """Everything of a stack, by label alone."""
    where = [
        *("--filter", f"label={LABEL_PREFIX}stack={stack_id}"),
        *("--filter", f"label={LABEL_PREFIX}registry={registry_id}"),
    ]
    listing = ["ps", "--all", "--quiet", "--no-trunc", *where]
    containers = cli.start(endpoint, listing, doing="list containers")
    networks = cli.start(endpoint, ["network", "ls", *where, "--format", _OTHER], doing="list networks")
    volumes = cli.start(endpoint, ["volume", "ls", *where, "--format", _OTHER], doing="list volumes")
    handles, network_rows, volume_text = cli.answers([containers, networks, volumes])
    volume_rows = list(_rows(volume_text))
    return Owned(
        tuple(handles.split()),
        tuple(row[0] for row in _rows(network_rows)),
        tuple(row[0] for row in volume_rows),
        frozenset(row[0] for row in volume_rows if row[3] == "true"),
    )


def published(endpoint: Endpoint, stack_id: str) -> dict[int, str]:
    """Host ports that containers outside the stack publish, each with its holder in words."""
    form = f"[{{{{json .Names}}}},{{{{json .Ports}}}},{_label('stack')}]"
    rows = _rows(cli.run(endpoint, ["ps", "--format", form], doing="list containers"))
    return {
        int(outer): f'container "{name}"'
        for name, ports, stack in rows
        if stack != stack_id
        for outer, _ in _PUBLISHED.findall(ports)
    }


def image_ids(endpoint: Endpoint, references: Iterable[str]) -> dict[str, str]:
    """The id of each image, "" for one that the engine has not."""
    questions: dict[str, Question] = {}
    try:
        for reference in dict.fromkeys(references):
            questions[reference] = Question(endpoint, f"/images/{reference}/json")
        deadline_s = clock.monotonic_s() + cli.CALL_LIMIT_S
        return {reference: _id(*question.answer(deadline_s)) for reference, question in questions.items()}
    finally:
        for question in questions.values():
            question.end()


def _id(fine: bool, text: str) -> str:  # noqa: FBT001 - as `Question.answer` gives it
    from envctl.engines.docker.failures import classify
    from envctl.errors import ImageAbsent

    if fine:
        return str(json.loads(text)["Id"])
    error = classify(text, doing="look at images")
    if not isinstance(error, ImageAbsent):
        raise error
    return ""


def _tolerant(endpoint: Endpoint, arguments: Sequence[str], doing: str, *, limit_s: float) -> None:
    """Run a removal; what is gone already, or is being removed by someone else, is no failure."""
    from envctl.errors import EnvctlError

    try:
        cli.run(endpoint, arguments, doing=doing, limit_s=limit_s)
    except EnvctlError as error:
        words = f"{error.cause} {' '.join(error.evidence)}".lower()
        if "no such container" not in words and "already in progress" not in words:
            raise


def _rows(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        if line.strip():
            yield json.loads(line)


def _service(handle: str, state: str, status: str, image: str, ports: str, labels: Sequence[str]) -> ObservedService:
    name, digest, aspects, data = labels
    known = json.loads(aspects) if aspects else {}
    code = _EXIT_CODE.search(status)
    return ObservedService(
        name=name,
        handle=handle,
        state=STATES.get(state, ServiceState.EXITED),
        digest=digest,
        aspects=known,
        data_digest=data,
        image_moved=_IMAGE_ID.fullmatch(image) is not None and known.get("image") != image,
        exit_code=int(code[1]) if code else None,
        host_ports={int(inner): int(outer) for outer, inner in _PUBLISHED.findall(ports)},
    )
