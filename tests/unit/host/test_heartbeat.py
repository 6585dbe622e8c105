"""Whether the process behind a session lives, also where it cannot be seen from here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from envctl.host import clock, heartbeat, owner
from envctl.model import Owner, Session

ME = owner.current()
ELSEWHERE = replace(ME, boot_id=f"{owner.boot_id()}/pid:[1]", pid=4_000_000)


def session(of: Owner, name: str = "5e55") -> Session:
    return Session(name, "pytest", 1, of, 0.0)


def beat(state: Path, text: str, name: str = "5e55") -> None:
    file = heartbeat.path(state, name)
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)


def test_by_its_number_and_start_time(tmp_path: Path) -> None:
    """Where the process can be seen nothing else counts: its watcher may have been killed."""
    dead = replace(ME, start_ticks=1)
    assert heartbeat.living(tmp_path, (session(ME), session(dead))) == (session(ME),)
    beat(tmp_path, str(clock.boot_s() - 10_000))
    assert heartbeat.is_alive(tmp_path, session(ME))
    beat(tmp_path, str(clock.boot_s()))
    assert not heartbeat.is_alive(tmp_path, session(dead))


@pytest.mark.parametrize(
    ("age_s", "alive"), [(0.0, True), (heartbeat.BEAT_S * 2, True), (3600.0, False), (-3600.0, True)]
)
def test_by_its_watcher_where_it_cannot_be_seen(tmp_path: Path, age_s: float, alive: bool) -> None:
    """A container that shares the state directory: its watcher says every few seconds that it is there."""
    beat(tmp_path, f"{clock.boot_s() - age_s:.0f}")
    assert heartbeat.is_alive(tmp_path, session(ELSEWHERE)) is alive
    assert heartbeat.is_alive(tmp_path, session(ELSEWHERE, "5e55.gw0")) is alive, "workers live by their run's"


@pytest.mark.parametrize("text", [None, "", "soon"])
def test_what_cannot_be_known_lives(tmp_path: Path, text: str | None) -> None:
    """Without a heartbeat that can be read nobody is called dead, unless the machine was started again."""
    if text is not None:
        beat(tmp_path, text)
    assert heartbeat.is_alive(tmp_path, session(ELSEWHERE))
    assert not heartbeat.is_alive(tmp_path, session(replace(ELSEWHERE, boot_id="another-boot/pid:[1]")))


def test_it_is_forgotten_with_the_session(tmp_path: Path) -> None:
    """But not with a worker's; again is fine."""
    beat(tmp_path, "1")
    heartbeat.forget(tmp_path, "5e55.gw0")
    assert heartbeat.path(tmp_path, "5e55").exists()
    for _ in range(2):
        heartbeat.forget(tmp_path, "5e55")
    assert not heartbeat.path(tmp_path, "5e55").exists()
