"""What is not ours is neither used, changed nor removed, whatever its name."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from harness import Project

REDIS = "services:\n  redis: {}\n"


def _stack(project: Project) -> str:
    """The Compose project name that this project's environment gets."""
    report = project.up()
    project.run("down", check=True)
    return f"envctl-{report['environment']}"


@pytest.mark.provokes("NOT_OURS")
@pytest.mark.parametrize("noun", ["network", "volume", "container"])
def test_foreign_object_of_our_name(project: Project, noun: str) -> None:
    """A network, volume or container that has the name we need is refused with 78 and stays exactly as it is."""
    project.config(REDIS)
    stack = _stack(project)
    label = ("--label", project.own_label)
    if noun == "network":
        project.docker("network", "create", *label, stack)
        name = stack
    elif noun == "volume":
        name = f"{stack}_redis-data"
        project.docker("volume", "create", *label, name)
    else:
        name = f"{stack}-redis-1"
        project.docker("create", *label, "--name", name, "busybox", "sleep", "600")
    before = project.docker(noun, "inspect", name)
    error = project.error("up")
    assert (error["code"], error["exit"]) == ("NOT_OURS", 78)
    assert name in error["message"]
    assert project.docker(noun, "inspect", name) == before
    assert project.labelled() == []
    project.run("down", check=True)
    assert project.docker(noun, "inspect", name) == before


def test_names_that_only_begin_alike_are_nobodys_business(project: Project) -> None:
    """Another project's objects whose names begin like ours are no reason to refuse anything."""
    project.config(REDIS)
    stack = _stack(project)
    project.docker("network", "create", "--label", project.own_label, f"{stack}x")
    project.docker("volume", "create", "--label", project.own_label, f"other-{stack}_redis-data")
    assert project.up()["state"] == "ready"
    project.run("down", check=True)


def test_other_registry_is_left_alone(make_project: Callable[[], Project]) -> None:
    """Containers with the labels of another registry survive `down`, `down --all` and a repair of ours."""
    ours, theirs = make_project(), make_project()
    for one in (ours, theirs):
        one.config(REDIS)
        one.up()
    before = theirs.containers()
    (ours.state / "registry.db").unlink()
    assert ours.run("ls", "--format", "json", check=True).json["environments"]
    ours.run("down", check=True)
    ours.run("down", "--all", check=True)
    assert theirs.containers() == before
    ours.assert_nothing_left()


def test_copied_labels_are_not_enough(project: Project) -> None:
    """A container that carries our environment's label, but another registry's id, is not removed by `down`."""
    project.config(REDIS)
    project.up()
    labels = project.inspect("redis")["Config"]["Labels"]
    copied = {**{k: v for k, v in labels.items() if k.startswith("dev.envctl.")}, "dev.envctl.registry": "0" * 32}
    del copied["dev.envctl.checkout"]  # by this the leak oracle would take it for the project's own
    options = [word for key, value in copied.items() for word in ("--label", f"{key}={value}")]
    copy = project.docker("create", *options, "--label", project.own_label, "busybox", "sleep", "600")
    project.run("down", check=True)
    assert project.docker("inspect", "--format", "{{.Id}}", copy) == copy


def test_lost_registry_and_id_make_everything_foreign(project: Project) -> None:
    """Without its registry and its id envctl cannot know its own: it refuses with 78 and removes nothing."""
    project.config(REDIS)
    project.up()
    before = project.containers()
    kept = {name: (project.state / name).read_bytes() for name in ("registry.db", "registry-id")}
    for name in kept:
        (project.state / name).unlink()
    error = project.error("up")
    assert (error["code"], error["exit"]) == ("NOT_OURS", 78)
    assert project.containers() == before
    for name, content in kept.items():
        (project.state / name).write_bytes(content)
    project.run("down", check=True)
    project.assert_nothing_left()


def test_removed_behind_our_back(project: Project) -> None:
    """After `docker rm -f` of a container by somebody else, `status` tells it and `up` starts that service alone."""
    project.config("services:\n  redis: {}\n  cache: {kind: redis}\n")
    first = project.up()
    before = project.containers()
    subprocess.run(["docker", "rm", "--force", before["cache"]], check=True, capture_output=True)
    status = project.run("status", "--format", "json")
    assert status.json["services"]["cache"]["state"] == "absent"
    second = project.up()
    after = project.containers()
    assert after["redis"] == before["redis"]
    assert after["cache"] != before["cache"]
    assert second["variables"] == first["variables"]
    project.run("down", check=True)
    project.assert_nothing_left()


def test_everything_removed_behind_our_back(project: Project) -> None:
    """Containers, network and volume all gone: `up` makes them again at the same address, `down` forgets them."""
    project.config(REDIS)
    first = project.up()
    for noun in ("container", "network", "volume"):
        for thing in project.labelled():
            if thing.noun == noun:
                options = ["--force"] if noun != "network" else []
                project.docker(noun, "rm", *options, thing.id)
    second = project.up()
    assert second["variables"] == first["variables"]
    project.run("down", check=True)
    project.assert_nothing_left()
