"""Which images a configuration needs."""

from __future__ import annotations

from pathlib import Path

from envctl.engines.choosing.images import Lack, Wanted, lacks, names, wanted
from envctl.host.config import default_spec, load


def _bases(tmp_path: Path, dockerfile: str) -> tuple[str, ...]:
    (tmp_path / "server").mkdir(exist_ok=True)
    (tmp_path / "server" / "Dockerfile").write_text(dockerfile)
    (tmp_path / "envctl.yaml").write_text("services:\n  api: {build: ./server, port: 80}\n")
    (need,) = wanted(load(None, tmp_path, {}))
    assert need.image is None
    return need.bases


def test_the_default_services_need_three_images_and_one_base() -> None:
    """Postgres and Redis as they are, the bundled server's own or what it is built from."""
    needs = wanted(default_spec())
    assert [need.image for need in needs[:2]] == ["postgres:18", "redis:8"]
    assert needs[2].bases == ("python:3.13-slim",)
    assert len(names(needs)) == 4


def test_a_build_needs_the_images_it_starts_from(tmp_path: Path) -> None:
    """Stages of its own, `scratch` and names with arguments in them are no images that could be asked for."""
    text = (
        "ARG TAG=3\nFROM node:24 AS build\nRUN true\nfrom --platform=linux/amd64 nginx:1 as web\n"
        "FROM build AS test\nFROM $BASE\nFROM scratch\nCOPY --from=build /a /b\nFROM node:24\n"
    )
    assert _bases(tmp_path, text) == ("node:24", "nginx:1")


def test_an_image_that_is_there_needs_no_base() -> None:
    """What is absent is what would have to be fetched."""
    built = Wanted("built:1", ("base:1", "base:2"))
    assert lacks([built], ["built:1"]) == ()
    assert lacks([built], ["base:1"]) == (Lack("base:2", "base:2"),)
    assert lacks([Wanted("plain:1"), Wanted("plain:1")], []) == (Lack("plain:1", "plain:1"),)
    assert lacks([Wanted(None, ())], []) == ()


def test_mirror_and_pull_policy_decide_what_is_asked_for(tmp_path: Path) -> None:
    """Docker Hub's images are asked for at the mirror, those to be renewed always, those not to be pulled never."""
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "Dockerfile").write_text("FROM base:1\n")
    (tmp_path / "envctl.yaml").write_text(
        """
registry_mirror: mirror.example:5000
pull: always
services:
  redis: {}
  own: {image: "ghcr.io/example/own:1"}
  local: {image: "local:1", pull: never}
  pinned: {image: "a@sha256:%s"}
  built: {build: ./server}
"""
        % ("0" * 64)
    )
    needs = wanted(load(None, tmp_path, {}))
    redis = Lack("redis:8", "mirror.example:5000/library/redis:8")
    own = Lack("ghcr.io/example/own:1", "ghcr.io/example/own:1")
    pinned = Lack(f"a@sha256:{'0' * 64}", f"a@sha256:{'0' * 64}")
    base = Lack("base:1", "base:1")
    assert lacks(needs, []) == (redis, own, Lack("local:1", None), pinned, base)
    there = (redis._replace(present=True), own._replace(present=True))
    assert lacks(needs, names(needs)) == there


def test_processes_need_no_image(tmp_path: Path) -> None:
    """The repository's own programs run from the working tree."""
    (tmp_path / "envctl.yaml").write_text("services:\n  api: {process: 'sleep 1', port: 80}\n")
    assert wanted(load(None, tmp_path, {})) == []
