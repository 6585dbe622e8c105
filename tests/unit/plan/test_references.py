"""`{service.attribute}` is a reference; every other brace is text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envctl import kinds
from envctl.errors import ConfigInvalid
from envctl.model import Connection, EnvironmentSpec, Identity, PortSpec, ServiceSpec
from envctl.plan.references import problems, resolve, services_in

IDENTITY = Identity("shop", "feature/{x}", "/src/shop", "", "0" * 64, "shop-feature-x-00000000")


def service(name: str, kind: str | None = None, ports: tuple[PortSpec, ...] | None = None) -> ServiceSpec:
    """A service of a kind with that kind's defaults."""
    k = kinds.get(kind or name)
    options = {option: value.default for option, value in k.options.items()}
    return ServiceSpec(name, k.name, ports=k.ports if ports is None else ports, options=options)


SPEC = EnvironmentSpec(
    {
        "postgres": service("postgres"),
        "redis": service("redis"),
        "websocket": service("websocket"),
        "mailer": service("mailer", "generic", (PortSpec("smtp", 1025), PortSpec("http", 8025))),
        "worker": service("worker", "generic", ()),
        "object-store": service("object-store", "generic", (PortSpec("api", 9000),)),
    }
)


def connections(host: str = "127.0.0.1") -> dict[str, Connection]:
    """Connections of every service of SPEC, with ports from 20001."""
    result = {}
    for number, spec in enumerate(SPEC.services.values(), start=1):
        ports = {port.name: 20000 + 10 * number + i for i, port in enumerate(spec.ports)}
        secrets = {"password": "pa{ss}", "token": "tok"}
        result[spec.name] = kinds.get(spec.kind).connection(spec, host, ports, secrets)
    return result


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{postgres.url}", "postgresql://app:pa%7Bss%7D@127.0.0.1:20010/app"),
        ("{postgres.host}:{postgres.port}", "127.0.0.1:20010"),
        ("{postgres.user}/{postgres.password}/{postgres.database}", "app/pa{ss}/app"),
        ("{redis.database}", "0"),
        ("{websocket.token} {websocket.path}", "tok /ws"),
        ("{mailer.port}", "20040"),
        ("{mailer.smtp}", "127.0.0.1:20040"),
        ("{mailer.smtp.port} {mailer.smtp.host} {mailer.smtp.url}", "20040 127.0.0.1 tcp://127.0.0.1:20040"),
        ("{mailer.http.url}/api", "http://127.0.0.1:20041/api"),
        ("{object-store.url}", "http://127.0.0.1:20060"),
        ("{env.name} {env.project} {env.branch}", "shop-feature-x-00000000 shop feature/{x}"),
        ("{postgres.port}{postgres.port}", "2001020010"),
    ],
)
def test_a_reference_becomes_its_value(text: str, value: str) -> None:
    """Attributes, named ports and the environment itself; a value is never read as a reference again."""
    assert problems(text, SPEC) == []
    assert resolve(text, connections(), IDENTITY) == value


LITERAL = [
    "",
    "plain",
    "{}",
    "{",
    "}",
    "{{",
    "}}",
    "{postgres}",
    "{ postgres.url }",
    "{postgres.}",
    "{.url}",
    "{1.5}",
    "{a.b.c.d}",
    "${HOME}",
    "{{ jinja.style }}",
    '{"a": 1}',
    '{"a":{"b":{"c":1}}}',
    "{postgres.url",
]


@pytest.mark.parametrize("text", LITERAL)
def test_everything_else_is_literal(text: str) -> None:
    """JSON, other templates and single braces need no escaping."""
    assert problems(text, SPEC) == []
    assert resolve(text, connections(), IDENTITY) == text
    assert services_in(text) == set()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{postgres.port}}", "{postgres.port}"),
        ("{{{postgres.port}}}", "{{postgres.port}}"),
        ('{"p":{postgres.port}}', '{"p":20010}'),
        ('{"p":{"q":{postgres.port}}}', '{"p":{"q":20010}}'),
        ("{{no.such}}", "{no.such}"),
    ],
)
def test_doubled_braces_write_a_reference_literally(text: str, value: str) -> None:
    """Only around a reference do doubled braces mean anything, so that nested JSON stays as it is."""
    assert problems(text, SPEC) == []
    assert resolve(text, connections(), IDENTITY) == value


@given(st.recursive(st.text() | st.integers() | st.none(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)))
def test_json_without_references_is_never_changed(value: object) -> None:
    """Any JSON document survives, compact or not."""
    for text in (json.dumps(value), json.dumps(value, separators=(",", ":"))):
        if not services_in(text) and "{{" not in text:
            assert resolve(text, connections(), IDENTITY) == text


@given(st.text(alphabet="{}.ab_-1 "))
def test_a_text_without_problems_can_be_resolved(text: str) -> None:
    """What the check lets through never fails later, and what it reports always does."""
    if problems(text, SPEC):
        with pytest.raises(ConfigInvalid):
            resolve(text, connections(), IDENTITY)
    else:
        resolve(text, connections(), IDENTITY)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{postgress.url}", ["no service 'postgress'", "did you mean 'postgres'?"]),
        ("{Postgres.url}", ["did you mean 'postgres'?"]),
        ("{postgres.uri}", ["has no 'uri'", "did you mean 'url'?"]),
        ("{postgres.token}", ["has no 'token'"]),
        ("{websocket.password}", ["has no 'password'"]),
        ("{redis.user}", ["has no 'user'"]),
        ("{mailer.smpt.port}", ["did you mean 'smtp.port'?"]),
        ("{mailer.smtp.user}", ["has no 'smtp.user'"]),
        ("{worker.port}", ["has no 'port'"]),
        ("{worker.url}", ["nothing to refer to"]),
        ("{env.nmae}", ["did you mean 'name'?"]),
        ("{zzzzzz.url}", ["there is postgres, redis, websocket"]),
        ("{zzzzzz.url}", ["{{zzzzzz.url}}"]),
    ],
)
def test_an_unknown_reference_is_explained(text: str, words: list[str]) -> None:
    """The sentence says what is missing, what was probably meant, and how to write the text itself."""
    (sentence,) = problems(text, SPEC)
    for word in words:
        assert word in sentence


def test_every_problem_of_a_text_is_reported() -> None:
    """Two mistakes are two sentences, in the order of the text."""
    found = problems("{a.b} {postgres.port} {c.d}", SPEC)
    assert [sentence.partition(":")[0] for sentence in found] == ["{a.b}", "{c.d}"]


def test_services_in_names_every_service() -> None:
    """Known or not, but neither the environment itself nor literal text."""
    assert services_in("{postgres.url} {mailer.smtp.port} {x.y} {env.name} {{redis.url}}") == {
        "postgres",
        "mailer",
        "x",
    }


def test_the_same_text_serves_inside_and_outside() -> None:
    """The caller's connections decide which address it is."""
    assert resolve("{redis.host}", connections("redis"), IDENTITY) == "redis"
    assert resolve("{redis.host}", connections(), IDENTITY) == "127.0.0.1"


def test_an_attribute_wins_over_a_port_of_its_name() -> None:
    """A port called `url` does not hide the service's URL."""
    spec = service("odd", "generic", (PortSpec("http", 1), PortSpec("url", 2)))
    connection = kinds.get("generic").connection(spec, "h", {"http": 1, "url": 2}, {})
    assert resolve("{odd.url} {odd.url.port}", {"odd": connection}, IDENTITY) == "http://h:1 2"
