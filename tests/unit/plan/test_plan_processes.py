"""Definitions of services that run as processes: the repository's own, and the kinds' where there are no containers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from golden_samples import EMBEDDED, PASSWORD, PROCESSES, PROGRAMS, SAMPLES, Sample, facts_of, plan_of, spec_of

from envctl.errors import Unsupported
from envctl.model import EnvironmentSpec, Prepared, Program
from envctl.plan import digest, secrets
from envctl.plan.facts import Facts
from envctl.plan.labels import LABEL_PREFIX
from envctl.plan.planner import plan
from envctl.plan.processes import definitions
from envctl.plan.steps import Plan, Verb

NAMES = [name for name, sample in SAMPLES.items() if plan_of(sample).processes]


def definition(text: str, service: str, sample: Sample | None = None) -> dict[str, Any]:
    """The definition of one service of a configuration."""
    one = replace(sample or Sample(), text=text)
    spec = spec_of(one)
    return definitions(spec, facts_of(one, spec))[service]


def refused(text: str, *, embedded: bool = True) -> Unsupported:
    """The error that a configuration ends in."""
    sample = Sample(text, capabilities=EMBEDDED) if embedded else Sample(text)
    spec = spec_of(sample)
    with pytest.raises(Unsupported) as caught:
        plan(spec, facts_of(sample, spec))
    return caught.value


def digests(spec: EnvironmentSpec, facts: Facts) -> dict[str, str]:
    """Service → digest of its definition."""
    return {name: one["labels"][LABEL_PREFIX + "digest"] for name, one in definitions(spec, facts).items()}


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_is_in_a_definition(name: str) -> None:
    """Definitions are written to a file: they hold markers, and the secrets fit into them."""
    sample = SAMPLES[name]
    found = plan_of(sample).processes
    text = json.dumps(found)
    assert PASSWORD not in text
    values = secrets.environment(facts_of(sample, spec_of(sample)).stack.credentials)
    filled = json.loads(secrets.filled(text, values))
    assert "EnvctlSecret" not in json.dumps(filled)
    assert all(PASSWORD in json.dumps(one) for one in filled.values() if not one["data"] or one["stdin"])


@pytest.mark.parametrize("name", NAMES)
def test_a_definition_survives_json(name: str) -> None:
    """What is read back from a file is what was planned, but for the numbers of ports, which become text."""
    for one in plan_of(SAMPLES[name]).processes.values():
        again = json.loads(json.dumps(one))
        assert again.pop("ports") == {str(inner): outer for inner, outer in one["ports"].items()}
        assert again == {key: value for key, value in one.items() if key != "ports"}


@pytest.mark.parametrize("name", NAMES)
def test_a_digest_does_not_depend_on_order(name: str) -> None:
    """The order of variables and settings in the file changes nothing, so nothing is started again."""
    spec = spec_of(SAMPLES[name])
    facts = facts_of(SAMPLES[name], spec)
    turned = {
        key: replace(one, environment=_turned(one.environment), options=_turned(one.options))
        for key, one in spec.services.items()
    }
    assert digests(replace(spec, services=turned), facts) == digests(spec, facts)


def _turned(mapping: Mapping[str, str]) -> dict[str, str]:
    return dict(reversed(mapping.items()))


def test_containers_and_processes_part() -> None:
    """Under an engine of containers only the repository's own programs are processes, apart from the document."""
    found = plan_of(SAMPLES["processes"])
    assert list(found.processes) == ["websocket", "worker", "admin"]
    services: Any = found.document["services"]
    assert list(services) == ["postgres", "mailer"]
    assert set(found.digests) == {*found.processes, *services}


def test_without_containers_everything_is_a_process() -> None:
    """The embedded engine has no document to speak of, and no image to get."""
    found = plan_of(SAMPLES["embedded-default"])
    assert list(found.processes) == ["postgres", "redis", "websocket"]
    assert found.document["services"] == {}
    assert {step.verb for step in found.steps} == {Verb.START, Verb.WAIT}
    assert {one["program"] for one in found.processes.values()} == {
        "PostgreSQL 18.6", "Valkey 9.0.1", "Python 3.13.1",
    }  # fmt: skip


def test_a_process_sees_its_ports_and_the_other_services() -> None:
    """It gets the variables a test would get, its leased ports, and over all what the user says."""
    found = plan_of(SAMPLES["processes"]).processes
    server, admin, worker = (
        found["websocket"]["environment"],
        found["admin"]["environment"],
        found["worker"]["environment"],
    )
    assert server["PORT"] == server["WEBSOCKET_PORT"] == "20003"
    assert (server["SMTP"], server["PRICE"]) == ("127.0.0.1:20001", "$5")
    assert server["DATABASE_URL"] == server["TEST_DATABASE_URL"].replace("TEST_", "")
    assert server["WS_URL"] == "ws://127.0.0.1:20003/live"
    assert (admin["PORT"], admin["PORT_HTTP"], admin["PORT_METRICS"]) == ("20004", "20004", "9101")
    assert {name for name in (*server, *worker) if name.startswith("PORT_")} == set()
    assert "PORT" not in worker


def test_the_ports_of_a_process_are_apart() -> None:
    """Each port has a number of its own within its service, `auto` ones too."""
    ports = plan_of(SAMPLES["processes"]).processes["admin"]["ports"]
    assert sorted(ports.values()) == [9101, 20004]


def test_a_process_has_no_data() -> None:
    """What a program of the repository writes is the repository's own: no step ever discards it."""
    found = plan_of(SAMPLES["processes"])
    assert {one["data"] for one in found.processes.values()} == {None}
    moved = plan_of(SAMPLES["moved"])
    assert moved.subjects(Verb.DISCARD) == ("postgres-data",)


def test_kinds_inherit_nothing() -> None:
    """A database does not get the caller's variables; a program of the repository does."""
    found = plan_of(SAMPLES["embedded-own-server"]).processes
    assert {name: one["inherits"] for name, one in found.items()} == {
        "postgres": False, "redis": False, "websocket": True,
    }  # fmt: skip


def test_a_changed_file_starts_one_service_again() -> None:
    """The cause says `inputs`, and only the service that declared the file is touched."""
    found = plan_of(SAMPLES["changed-inputs"])
    assert found.causes() == ("start websocket: changed: inputs", "start worker: exited with code 1")


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"fingerprint": "other"}, "inputs"),
        ({"command": ("/bin/sh", "-c", "npm start")}, "command"),
        ({"cwd": "/project/server"}, "command"),
        ({"stop_signal": "SIGINT"}, "settings"),
    ],
)
def test_a_changed_definition_names_what_changed(change: dict[str, Any], cause: str) -> None:
    """Whatever of a process differs is a cause in words, and the other services stay as they are."""
    sample = SAMPLES["processes"]
    spec = spec_of(sample)
    facts = facts_of(sample, spec)
    everything = replace(sample, observed=SAMPLES["nothing-to-do"].observed)
    assert plan_of(everything).is_empty
    assert everything.observed is not None
    observed = everything.observed(spec, facts, plan(spec, facts))
    server = spec.services["websocket"]
    assert server.process is not None
    other = replace(
        spec, services={**spec.services, "websocket": replace(server, process=replace(server.process, **change))}
    )
    found = plan(other, replace(facts, observed=observed))
    assert found.causes() == (f"start websocket: changed: {cause}",)


def test_another_version_of_a_program_makes_new_data() -> None:
    """Data made by another program is discarded, unless it is to persist; the cause names both versions."""
    found = plan_of(SAMPLES["embedded-older-program"])
    assert found.subjects(Verb.DISCARD) == ("redis-data",)
    assert "start postgres: changed: program PostgreSQL 18.5 → PostgreSQL 18.6" in found.causes()


def test_a_new_version_of_the_bundled_server_starts_it_again() -> None:
    """The bundled server's source is part of its definition, as it is of its image; other kinds stay as they are."""
    sample = SAMPLES["embedded-nothing-to-do"]
    spec = spec_of(sample)
    facts = facts_of(sample, spec)
    assert sample.observed is not None
    observed = sample.observed(spec, facts, plan(spec, facts))
    assets = {**facts.assets, "websocket": replace(facts.assets["websocket"], digest="another")}
    assert plan(spec, replace(facts, observed=observed, assets=assets)).causes() == (
        "start websocket: changed: inputs",
    )


def test_another_lease_is_told() -> None:
    """A process whose port changed is started again, since it listens on the old one."""
    sample = SAMPLES["processes"]
    spec = spec_of(sample)
    facts = facts_of(sample, spec)
    ports = tuple(replace(p, host_port=p.host_port + 50) if p.service == "websocket" else p for p in facts.stack.ports)
    moved = replace(facts, stack=replace(facts.stack, ports=ports))
    before, after = definitions(spec, facts)["websocket"], definitions(spec, moved)["websocket"]
    assert before["labels"] != after["labels"]
    assert after["environment"]["PORT"] == "20053"


def test_a_plan_that_is_only_shown_has_ports_without_leases() -> None:
    """`--dry-run` reserves nothing: it still says what would be done."""
    sample = SAMPLES["embedded-default"]
    spec = spec_of(sample)
    facts = facts_of(sample, spec)
    found: Plan = plan(spec, replace(facts, stack=replace(facts.stack, ports=())))
    assert found.subjects(Verb.START) == ("postgres", "redis", "websocket")


@pytest.mark.parametrize(
    ("text", "service", "words"),
    [
        ("services: {search: {image: 'getmeili/meilisearch:v1', port: 7700}}", "search", "getmeili/meilisearch:v1"),
        ("services: {postgres: {image: 'postgres:17'}}", "postgres", "PostgreSQL 18.6"),
        ("services: {postgres: {image: 'postgis/postgis:18-3.6'}}", "postgres", "PostgreSQL 18.6"),
        ("services: {redis: {image: 'redis/redis-stack:7'}}", "redis", "Valkey 9.0.1"),
        ("services: {websocket: {image: 'a/chat:1'}}", "websocket", "a/chat:1"),
        ("services: {api: {build: ./server}}", "api", "an image that is built"),
        ("services: {websocket: {build: ./server}}", "websocket", "an image that is built"),
        ("services: {postgres: {volumes: ['data:/srv']}}", "postgres", "mounted in containers only"),
        (
            "services: {postgres: {volumes: ['./settings.ini:/docker-entrypoint-initdb.d/a.sql']}}",
            "postgres",
            "mounted",
        ),
    ],
)
def test_what_needs_a_container_is_refused_with_the_ways_out(text: str, service: str, words: str) -> None:
    """Without containers an image is refused for safety (78) before anything is created, and the service is named."""
    error = refused(text)
    assert (error.code, error.exit, error.subject["service"]) == ("UNSUPPORTED", 78, service)
    assert f'"{service}"' in error.message
    assert words in f"{error.message} {error.cause}"
    ways = " ".join(error.fix)
    assert "--engine compose" in ways
    assert f"services.{service}.process" in ways
    assert error.state == "nothing was created"


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("postgres", "18.6"), ("postgres:18", "18.6"), ("postgres:18.1-alpine", "18.6"), ("postgres:latest", "16.2"),
        ("docker.io/library/postgres:17-bookworm", "17.0"), ("postgres:alpine", "15.9"),
    ],
)  # fmt: skip
def test_an_official_image_asks_for_a_major_version(image: str, version: str) -> None:
    """The program found here stands in for an official image of the same major version, or of none."""
    sample = Sample(f"services: {{postgres: {{image: '{image}'}}}}", capabilities=EMBEDDED)
    spec = spec_of(sample)
    program = replace(PROGRAMS["postgres"], version=version)
    found = definitions(spec, replace(facts_of(sample, spec), programs={"postgres": program}))
    assert found["postgres"]["program"] == f"PostgreSQL {version}"


def test_a_kind_without_a_program_is_refused() -> None:
    """A kind that nothing here serves needs a container."""
    sample = SAMPLES["embedded-default"]
    spec = spec_of(sample)
    programs: Mapping[str, Program] = {name: one for name, one in PROGRAMS.items() if name != "redis"}
    with pytest.raises(Unsupported, match='"redis" needs a container'):
        plan(spec, replace(facts_of(sample, spec), programs=programs))


OWN = "server: {process: node server.js, port: auto, depends_on: []}"


@pytest.mark.parametrize(
    "container",
    [
        "{image: a, depends_on: [server]}",
        "{image: a, environment: {API: '{server.url}'}}",
        "{image: a, environment: ['API=http://{server.host}']}",
    ],
)
def test_a_container_cannot_need_a_process(container: str) -> None:
    """No way leads from a container to a process on the loopback address: both services are named, with ways out."""
    error = refused(f"services: {{web: {container}, {OWN}}}", embedded=False)
    assert (error.exit, error.subject["service"], error.subject["needs"]) == (78, "web", "server")
    assert '"web"' in error.message
    assert '"server"' in error.message
    assert any("services.web" in way and "services.server" in way for way in error.fix)
    assert any("--engine embedded" in way for way in error.fix)


def test_without_containers_all_services_reach_each_other() -> None:
    """What is refused beside containers works where the other service is a process too."""
    text = "services: {redis: {environment: {API: '{server.url}'}, depends_on: [server]}, " + OWN + "}"
    found = definition(text, "redis", Sample(capabilities=EMBEDDED))
    assert found["environment"]["API"] == "tcp://127.0.0.1:20001"
    assert found["depends_on"] == ["server"]


def test_the_sample_has_a_service_of_each_sort() -> None:
    """The golden files show a WebSocket server, a worker without ports, and several ports with a fixed one."""
    services = spec_of(Sample(PROCESSES)).services
    assert [service.kind for service in services.values() if service.process] == ["websocket", "generic", "generic"]


def test_prepared_data_shapes_a_service() -> None:
    """Other prepared data makes what is there stale, by a cause that says so; without any, nothing is different."""
    sample = Sample("services: {postgres: {}, websocket: {}}", capabilities=EMBEDDED)
    spec = spec_of(sample)
    facts = facts_of(sample, spec)

    def made(key: str, source: str = "/cache/postgres.data") -> dict[str, Any]:
        given = {"postgres": Prepared(key, source), "websocket": Prepared(key, source)}
        return definitions(spec, replace(facts, prepared=given))

    def label(definition: Mapping[str, Any], name: str) -> Any:
        return definition["labels"][LABEL_PREFIX + name]

    plain, first, second = definitions(spec, facts), made("a" * 32), made("b" * 32)
    assert made("c" * 32, source="") == plain
    assert first["websocket"] == plain["websocket"]
    postgres = [one["postgres"] for one in (plain, first, second)]
    assert postgres[1]["prepared"] == {"key": "a" * 32, "source": "/cache/postgres.data"}
    assert len({label(one, "data") for one in postgres}) == len({label(one, "digest") for one in postgres}) == 3
    aspects = [json.loads(label(one, "aspects")) for one in postgres]
    for before, after in ((0, 1), (1, 2), (1, 0)):
        assert list(digest.differing(aspects[before], aspects[after])) == ["data"]
