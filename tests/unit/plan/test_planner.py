"""Plans of representative configurations, as golden files and by their parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from golden_samples import GOLDEN, KINDS_OF_FILE, SAMPLES, facts_of, plan_of, spec_of, texts

from envctl.errors import NotOurs
from envctl.model import Observed, ServiceState
from envctl.plan.planner import plan
from envctl.plan.steps import Verb

TEXTS = texts()


@pytest.mark.parametrize("name", TEXTS)
def test_golden(name: str) -> None:
    """Plan and document are exactly as in the golden file; after a wanted change, `scripts/golden` writes it again."""
    assert TEXTS[name] == (GOLDEN / name).read_text(encoding="utf-8")


def test_no_other_golden_files() -> None:
    """Every golden file belongs to a sample."""
    assert {file.name for file in GOLDEN.iterdir() if file.name.endswith(KINDS_OF_FILE)} == set(TEXTS)


@pytest.mark.parametrize("name", SAMPLES)
def test_steps_are_in_an_order_that_works(name: str) -> None:
    """Every step comes after those it waits for, and each has a cause."""
    found = plan_of(SAMPLES[name])
    assert [step.number for step in found.steps] == list(range(1, len(found.steps) + 1))
    for step in found.steps:
        assert all(number < step.number for number in step.after)
        assert step.cause


def test_a_plan_is_the_same_for_the_same_facts() -> None:
    """Equal configurations and facts give equal plans."""
    assert all(plan_of(sample) == plan_of(sample) for sample in SAMPLES.values())


def test_nothing_to_do() -> None:
    """Where everything runs as defined, there is no step."""
    assert plan_of(SAMPLES["nothing-to-do"]).is_empty


def test_an_image_two_services_need_is_pulled_once() -> None:
    """One absent image is one pull, which every service that needs it waits for."""
    found = plan_of(SAMPLES["generic"])
    pulls = [step for step in found.steps if step.verb is Verb.PULL and step.subject == "busybox"]
    assert len(pulls) == 1
    starts = {step.subject: step for step in found.steps if step.verb is Verb.START}
    assert pulls[0].number in starts["worker"].after
    assert pulls[0].number in starts["after"].after


def test_only_what_drifted_is_touched() -> None:
    """A plan for what runs names a cause for each service it touches and leaves the others out."""
    found = plan_of(SAMPLES["drifted"])
    causes = {step.subject: step.cause for step in found.steps if step.verb in (Verb.START, Verb.REMOVE)}
    assert set(causes) == {"redis", "mailer", "worker", "after", "gone"}
    assert "137" in causes["redis"]
    assert "image" in causes["mailer"]
    assert "another image" in causes["worker"]
    assert causes["after"] == "not there"
    assert "no longer" in causes["gone"]


def test_data_is_discarded_only_where_it_may_be() -> None:
    """Data of another version is discarded, unless it is to persist."""
    found = plan_of(SAMPLES["older-data"])
    assert found.subjects(Verb.DISCARD) == ("archive-data",)


def test_foreign_objects_stop_everything() -> None:
    """Something foreign with a name of ours is an error that names it, whatever else is to do."""
    spec = spec_of(SAMPLES["default"])
    facts = replace(facts_of(SAMPLES["default"], spec), observed=Observed(foreign=("volume envctl-x_data",)))
    with pytest.raises(NotOurs, match="volume envctl-x_data"):
        plan(spec, facts)


@pytest.mark.parametrize("state", [s for s in ServiceState if s is not ServiceState.RUNNING])
def test_whatever_does_not_run_is_started(state: ServiceState) -> None:
    """A service in any other state than running is started."""
    sample = SAMPLES["nothing-to-do"]
    spec = spec_of(sample)
    facts = facts_of(sample, spec)
    assert sample.observed is not None
    observed = sample.observed(spec, facts, plan(spec, facts))
    broken = {**observed.services, "redis": replace(observed.services["redis"], state=state)}
    found = plan(spec, replace(facts, observed=replace(observed, services=broken)))
    assert found.subjects(Verb.START) == ("redis",)
