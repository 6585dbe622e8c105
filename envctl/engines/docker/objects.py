"""Containers, networks and volumes of a stack: looked at by their labels, never by their names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from envctl.engines.docker import cli
from envctl.engines.docker.direct import Question, answers
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


@dataclass(frozen=True, slots=True)
class Owned:
    """What carries a stack's labels now.

    Attributes:
        containers: Container ids.
        networks: Network names by id: a network that is not ours may have the same name.
        volumes: Volume names.
        persistent: Those of the volumes whose data is to survive `down`.
    """

    containers: tuple[str, ...] = ()
    networks: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    persistent: frozenset[str] = frozenset()


def owned(endpoint: Endpoint, stack_id: str, registry_id: str) -> Owned:
    """Everything of a stack, by label alone."""
    ours = {"label": [f"{LABEL_PREFIX}stack={stack_id}", f"{LABEL_PREFIX}registry={registry_id}"]}
    options = {"filters": json.dumps(ours)}
    questions = [Question(endpoint, "/containers/json", {"all": "1", **options})]
    questions += [Question(endpoint, path, options) for path in ("/networks", "/volumes")]
    deadline_s = clock.monotonic_s() + cli.CALL_LIMIT_S
    containers, networks, told = answers(questions, deadline_s, doing="list what there is")
    volumes = {str(one["Name"]): one["Labels"] for one in told["Volumes"] or ()}
    return Owned(
        tuple(str(one["Id"]) for one in containers),
        {str(one["Id"]): str(one["Name"]) for one in networks},
        tuple(volumes),
        frozenset(name for name, labels in volumes.items() if labels.get(f"{LABEL_PREFIX}persist") == "true"),
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
