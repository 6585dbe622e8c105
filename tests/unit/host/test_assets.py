"""envctl's own files: where they are and what changes their digest."""

from pathlib import Path

import pytest

from envctl import kinds
from envctl.errors import InstallationBroken
from envctl.host import assets

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up place for the asset rooms, with one kind."""
    kind = tmp_path / "compose" / "toy"
    kind.mkdir(parents=True)
    (tmp_path / "healthchecks").mkdir()
    (kind / "compose.yaml").write_text("services:\n  toy: {image: toy:1}\n")
    for function in (assets.fragment, assets.healthcheck, assets.folder_digest):
        function.cache_clear()
    monkeypatch.setattr(assets, "root", lambda: tmp_path)
    return tmp_path


def test_a_checkout_is_its_own_root() -> None:
    """Run from a checkout, the rooms are the repository's, so that edits are live."""
    assert assets.root() == REPOSITORY


def test_every_kind_of_this_repository_has_a_fragment() -> None:
    """Each kind's compose.yaml holds exactly one service."""
    for kind in kinds.names():
        assert dict(assets.fragment(kind))


def test_a_fragment_is_its_one_service(rooms: Path) -> None:
    """What is handed out is the service itself, not the document around it."""
    assert dict(assets.fragment("toy")) == {"image": "toy:1"}


@pytest.mark.provokes("INSTALLATION_BROKEN")
@pytest.mark.parametrize(
    "text", ["", "services: {}", "services: {a: {}, b: {}}", "[", "services: [a]", "services: {a: }"]
)
def test_a_damaged_fragment_is_a_broken_installation(rooms: Path, text: str) -> None:
    """Whatever is wrong with envctl's own file, the error says that it is envctl's own."""
    (rooms / "compose" / "toy" / "compose.yaml").write_text(text)
    with pytest.raises(InstallationBroken, match=r"compose\.yaml"):
        assets.fragment("toy")


def test_an_unknown_folder_is_a_broken_installation(rooms: Path) -> None:
    """A kind without its folder is reported by path."""
    with pytest.raises(InstallationBroken) as caught:
        assets.folder("nope")
    assert caught.value.subject == {"path": str(rooms / "compose" / "nope")}


def test_a_healthcheck_is_found_by_its_kind(rooms: Path) -> None:
    """Name and text of the one file, None where there is none, an error where it is not clear which."""
    assert assets.healthcheck("toy") is None
    assets.healthcheck.cache_clear()
    (rooms / "healthchecks" / "toy.sh").write_text("exit 0\n")
    assert assets.healthcheck("toy") == ("toy.sh", "exit 0\n")
    assets.healthcheck.cache_clear()
    (rooms / "healthchecks" / "toy.py").write_text("")
    with pytest.raises(InstallationBroken):
        assets.healthcheck("toy")


def _digest() -> str:
    assets.folder_digest.cache_clear()
    return assets.folder_digest("toy")


def test_the_digest_follows_names_bytes_and_modes(rooms: Path) -> None:
    """It changes with content, names, executable bits and .dockerignore, and with nothing else."""
    folder = rooms / "compose" / "toy"
    seen = [_digest()]
    (folder / "sub").mkdir()
    (folder / "sub" / "a.py").write_text("1")
    seen.append(_digest())
    (folder / "sub" / "a.py").write_text("2")
    seen.append(_digest())
    (folder / "sub" / "a.py").rename(folder / "sub" / "b.py")
    seen.append(_digest())
    (folder / "sub" / "b.py").chmod(0o755)
    seen.append(_digest())
    (folder / ".dockerignore").write_text("x")
    seen.append(_digest())
    assert len(set(seen)) == len(seen)
    (folder / "sub" / "__pycache__").mkdir()
    (folder / "sub" / "__pycache__" / "b.pyc").write_bytes(b"x")
    (folder / ".editor").write_text("x")
    assert _digest() == seen[-1]
