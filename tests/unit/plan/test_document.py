"""What every Compose document keeps, whatever the configuration."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from golden_samples import PASSWORD, SAMPLES, facts_of, spec_of

from envctl.model import Capabilities
from envctl.plan.document import compose_document
from envctl.plan.labels import LABEL_PREFIX

NAMES = [name for name, sample in SAMPLES.items() if sample.observed is None and sample.capabilities.containers]


def document(name: str, **changed: Any) -> dict[str, Any]:
    """The document of a sample; `changed` replaces facts."""
    spec = spec_of(SAMPLES[name])
    return compose_document(spec, replace(facts_of(SAMPLES[name], spec), **changed))


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_is_in_it(name: str) -> None:
    """A document holds names of variables, never a password."""
    assert PASSWORD not in json.dumps(document(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_service_is_hardened(name: str) -> None:
    """Limits, an init, no new privileges, bounded logs and loopback ports are in each service."""
    for service in document(name)["services"].values():
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["init"] is True
        assert service["restart"] == "no"
        assert service["pids_limit"] > 0
        assert service["mem_limit"] == service["memswap_limit"] > 0
        assert {"max-size", "max-file"} <= set(service["logging"]["options"])
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_labelled(name: str) -> None:
    """Services, volumes and the network carry the owner's labels."""
    found = document(name)
    labelled = [*found["services"].values(), *found.get("volumes", {}).values(), *found["networks"].values()]
    for thing in labelled:
        assert {LABEL_PREFIX + key for key in ("registry", "environment", "stack")} <= set(thing["labels"])


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_the_host_is_mounted(name: str) -> None:
    """Volumes are named and declared; files travel as configs."""
    found = document(name)
    for service in found["services"].values():
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in found["volumes"]
        for config in service.get("configs", []):
            assert "content" in found["configs"][config["source"]]


@pytest.mark.parametrize("name", NAMES)
def test_start_interval_needs_a_start_period(name: str) -> None:
    """A check's `start_interval` stands beside a `start_period`: alone, Docker ignores it silently."""
    for service in document(name)["services"].values():
        check = service.get("healthcheck", {})
        assert "start_interval" not in check or "start_period" in check


def test_an_engine_before_25() -> None:
    """Where the engine ignores `start_interval`, the interval itself is short and the setting is left out."""
    older = Capabilities("compose", "24.0.9", start_interval=False)
    for name in NAMES:
        for service in document(name, capabilities=older)["services"].values():
            check = service.get("healthcheck", {})
            assert "start_interval" not in check
            assert not check or check["interval"] == "2s"


def test_a_dollar_reaches_the_service_as_it_is() -> None:
    """Compose replaces variables in every value; a `$` of the user's is doubled, so that it stays one."""
    found = document("generic")
    assert found["services"]["worker"]["environment"]["PRICE"] == "$$5"
    assert found["configs"]["worker_file_0"]["content"] == "[main]\nprice = $$5 or $${x}\n"
    assert found["services"]["worker"]["command"][2] == 'echo "$$HOME $${x}"; exec sleep 600'


def test_the_condition_of_depends_on() -> None:
    """What has a check inside its container must be healthy first; what has none must have started."""
    after = document("generic")["services"]["after"]["depends_on"]
    conditions = {name: how["condition"] for name, how in after.items()}
    assert conditions == {"redis": "service_healthy", "mailer": "service_started", "worker": "service_healthy"}


def test_without_leases_the_engine_chooses() -> None:
    """A document that is only shown, with nothing reserved, leaves the host ports open."""
    spec = spec_of(SAMPLES["default"])
    facts = facts_of(SAMPLES["default"], spec)
    found = compose_document(spec, replace(facts, stack=replace(facts.stack, ports=(), subnet=None)))
    assert found["services"]["redis"]["ports"] == ["127.0.0.1::6379"]
    assert "ipam" not in found["networks"]["default"]


def test_a_digest_changes_with_the_definition_alone() -> None:
    """Other leases change only the ports' part; another environment's labels change no digest."""
    digests = [
        {
            name: service["labels"][LABEL_PREFIX + "digest"]
            for name, service in document("default", **changed)["services"].items()
        }
        for changed in ({}, {"labels": {"registry": "other", "created": "later"}})
    ]
    assert digests[0] == digests[1]


def test_a_user_s_own_server_gets_none_of_our_checks() -> None:
    """An image of the user's may lack what our check inside needs: only the outside proof remains."""
    websocket = document("own-websocket")["services"]["websocket"]
    assert "healthcheck" not in websocket
    assert "build" not in websocket
    assert websocket["image"] == "ghcr.io/example/chat:2"


def test_a_file_s_content_is_part_of_the_definition() -> None:
    """A changed file of the project changes the digest of the service that mounts it, and of no other."""
    sample = SAMPLES["generic"]
    spec = spec_of(sample)
    worker = spec.services["worker"]
    changed = replace(worker, volumes=tuple(replace(v, content=v.content and "new") for v in worker.volumes))
    other = replace(spec, services={**spec.services, "worker": changed})
    facts = facts_of(sample, spec)
    before, after = (compose_document(one, facts)["services"] for one in (spec, other))
    differing = [n for n in before if before[n]["labels"] != after[n]["labels"]]
    assert differing == ["worker"]
