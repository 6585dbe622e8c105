"""Services migrated and seeded by commands and files: the order, and how failures are told."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from envctl.conductor.data import seeding
from envctl.errors import DataError, MigrationFailed, SeedFailed
from envctl.model import Connection, DataCommand, EnvironmentSpec, SeedFile, ServiceSpec

Shape = Callable[..., None]


class Teller:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.phases: list[tuple[str, str]] = []

    def phase(self, service: str, phase: str, detail: str = "") -> None:
        self.phases.append((service, phase))

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def teller() -> Teller:
    return Teller()


@pytest.fixture
def line(tmp_path: Path) -> Callable[[str], DataCommand]:
    """A line of shell as the configuration gives it, in a folder of its own."""
    folder = tmp_path / "work"
    folder.mkdir()
    return lambda text: DataCommand(("/bin/sh", "-c", text), str(folder))


@pytest.fixture
def shape(tmp_path: Path, teller: Teller) -> Shape:
    """Shapes services in the order they are given."""

    def do(*services: ServiceSpec, only: tuple[str, ...] = (), **variables: str) -> None:
        spec = EnvironmentSpec({service.name: service for service in services})
        reach: Mapping[str, Connection] = {
            service.name: Connection(service.name, service.kind, "127.0.0.1", 1) for service in services
        }
        names = only or tuple(reversed(reach))
        seeding.shape(tmp_path, spec, names, reach, {**os.environ, **variables}, teller)

    return do


def test_each_service_is_migrated_then_seeded(
    shape: Shape, line: Callable[[str], DataCommand], teller: Teller, tmp_path: Path
) -> None:
    """In the order of the configuration, in its folder, with the variables; only those that were asked for."""
    say = line('echo "$NAME $WORD $PWD" >>../said')
    (tmp_path / "work").rename(tmp_path / "moved")
    (tmp_path / "work").symlink_to("moved")
    shape(
        ServiceSpec("one", "generic", migrate=line("NAME=m1; echo $NAME >>../said"), seed=(say,)),
        ServiceSpec("two", "generic", seed=(line("echo two >>../said"), line("echo more >>../said"))),
        ServiceSpec("three", "generic", seed=(line("echo three >>../said"),)),
        only=("two", "one"),
        NAME="n",
        WORD="a b",
    )
    assert (tmp_path / "said").read_text().splitlines() == ["m1", f"n a b {tmp_path}/work", "two", "more"]
    assert [note.split(" done in")[0] for note in teller.notes][2:] == [
        "two: `echo two >>../said`",
        "two: `echo more >>../said`",
    ]
    assert [phase for phase in teller.phases if phase[0] == "one"] == [("one", "migrating"), ("one", "seeding")]


@pytest.mark.provokes("MIGRATION_FAILED")
def test_a_migration_that_fails(shape: Shape, line: Callable[[str], DataCommand], tmp_path: Path) -> None:
    """The command, its exit code and its last words are told, and nothing after it is done."""
    failing = line("seq 100; echo 'relation \"users\" does not exist' >&2; exit 7")
    with pytest.raises(MigrationFailed) as caught:
        shape(ServiceSpec("db", "generic", migrate=failing, seed=(line("touch ../seeded"),)))
    error = caught.value
    assert (error.exit, error.subject["exit_code"], error.subject["service"]) == (86, 7, "db")
    assert "seq 100; echo" in str(error.cause)
    assert (error.evidence[-1], len(error.evidence)) == ('relation "users" does not exist', 15)
    assert not (tmp_path / "seeded").exists()


@pytest.mark.provokes("SEED_FAILED")
@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("nosuchprogram", "x"), "no folder of PATH holds it"),
        (("/bin/sh", "-c", "nosuchprogram x"), "did not find a command of it"),
        (("/bin/sh", "-c", "kill -9 $$"), "exit code 137"),
        (("false",), "exit code 1"),
    ],
)
def test_a_seed_that_cannot_be_run(shape: Shape, command: tuple[str, ...], words: str) -> None:
    """Whether the program is missing or fails, the command is named and the cause is told."""
    with pytest.raises(SeedFailed) as caught:
        shape(ServiceSpec("db", "generic", seed=(DataCommand(command, "/"),)))
    assert words in str(caught.value.cause)
    assert seeding.shown(DataCommand(command, "/")) in str(caught.value.cause)


def test_what_takes_too_long_is_ended(
    shape: Shape, line: Callable[[str], DataCommand], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a limit, which is told as such."""
    monkeypatch.setattr(seeding, "_LIMIT_S", 0.2)
    with pytest.raises(DataError, match="seed of service db") as caught:
        shape(ServiceSpec("db", "generic", seed=(line("sleep 60"),)))
    assert "did not end within 200ms" in str(caught.value.cause)


def test_a_file_for_a_service_that_takes_none(shape: Shape) -> None:
    """It is refused by name."""
    with pytest.raises(SeedFailed, match=r"a\.sql"):
        shape(ServiceSpec("db", "generic", seed=(SeedFile("a.sql", ""),)))
