"""Which images are pulled, when, and from where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from golden_samples import SAMPLES, Sample, facts_of, spec_of

from envctl.errors import ImageAbsent
from envctl.host.config import load
from envctl.model import EnvironmentSpec
from envctl.plan.obtaining import mirrored, with_policy
from envctl.plan.planner import plan
from envctl.plan.steps import Verb

MIRROR = "mirror.example:5000/hub"
DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("image", "source"),
    [
        ("redis", f"{MIRROR}/library/redis"),
        ("postgres:18", f"{MIRROR}/library/postgres:18"),
        ("axllent/mailpit", f"{MIRROR}/axllent/mailpit"),
        ("valkey/valkey:8", f"{MIRROR}/valkey/valkey:8"),
        ("library/redis:8", f"{MIRROR}/library/redis:8"),
        ("a/b/c:1", f"{MIRROR}/a/b/c:1"),
        ("docker.io/library/redis:8", None),
        ("ghcr.io/example/chat:2", None),
        ("127.0.0.1:5000/tiny:1", None),
        ("registry:5000/tiny", None),
        ("localhost/tiny:1", None),
        (f"redis@{DIGEST}", None),
        (f"redis:8@{DIGEST}", None),
    ],
)
def test_images_of_docker_hub_come_from_the_mirror(image: str, source: str | None) -> None:
    """Official ones from its `library`; what names a registry, or a digest, is left alone."""
    assert mirrored(image, MIRROR) == source
    assert mirrored(image, None) is None


def _spec(folder: Path, text: str) -> EnvironmentSpec:
    (folder / "envctl.yaml").write_text(text)
    return load(None, folder, {"MIRROR": MIRROR})


def test_mirror_and_policy_are_read(tmp_path: Path) -> None:
    """The mirror may stand in a variable, which may be empty where there is none."""
    found = _spec(tmp_path, "registry_mirror: '${MIRROR}'\npull: always\nservices: {redis: {pull: never}}")
    assert (found.registry_mirror, found.pull, found.services["redis"].pull) == (MIRROR, "always", "never")
    assert _spec(tmp_path, "registry_mirror: '${NONE:-}'").registry_mirror is None
    assert _spec(tmp_path, "").pull == "missing"


def test_the_option_wins_over_everything(tmp_path: Path) -> None:
    """`--pull` counts for every service, whatever it says itself."""
    found = with_policy(_spec(tmp_path, "pull: always\nservices: {redis: {pull: never}, postgres: {}}"), "missing")
    assert found.pull == "missing"
    assert {service.pull for service in found.services.values()} == {None}


def test_neither_changes_a_definition() -> None:
    """Another policy or mirror replaces no service and stands in no document."""
    sample = SAMPLES["pulled"]
    spec = spec_of(sample)
    other = replace(with_policy(spec, "missing"), registry_mirror=None)
    one, another = plan(spec, facts_of(sample, spec)), plan(other, facts_of(sample, other))
    assert one.document == another.document
    assert one.digests == another.digests
    assert another.sources == {}


def test_what_may_not_be_pulled_and_is_not_there_is_an_error() -> None:
    """It names service and image; where nobody looked which images are there, nothing is said."""
    sample = Sample("pull: never\nservices: {redis: {}, two: {image: busybox}}", absent=("busybox",))
    spec = spec_of(sample)
    facts = facts_of(sample, spec)
    with pytest.raises(ImageAbsent) as caught:
        plan(spec, facts)
    assert caught.value.subject == {"service": "two", "image": "busybox"}
    plan(spec, replace(facts, images={}))
    assert plan(spec, replace(facts, images={"redis:8": True, "busybox": True})).subjects(Verb.PULL) == ()


def test_an_always_pulled_image_is_not_asked_for_where_nothing_is_started() -> None:
    """An `up` of what runs as defined has nothing to do, whatever the policy."""
    sample = replace(SAMPLES["nothing-to-do"], text="pull: always")
    spec = spec_of(sample)
    facts = facts_of(sample, spec)
    assert sample.observed is not None
    assert plan(spec, replace(facts, observed=sample.observed(spec, facts, plan(spec, facts)))).is_empty
