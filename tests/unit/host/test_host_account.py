"""As root, servers run as a user without rights, and their data is where only root and they can get at it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from envctl.engines.local import account as of_definition
from envctl.errors import StateDenied
from envctl.host import account

IS_ROOT = os.geteuid() == 0
STACK = "0123456789ab"
SOMEBODY = (54321, 54322)  # neither root nor who runs the tests
as_root = pytest.mark.skipif(not IS_ROOT, reason="needs root: an ordinary user's servers run as that user")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder others can pass through, unlike those of pytest."""
    folder = Path(mkdtemp(prefix="envctl-account-", dir="/var/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def run_dir(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run root of this test."""
    monkeypatch.setenv(account.RUN_DIR, str(open_folder / "run"))
    return open_folder / "run"


# -- who ---------------------------------------------------------------------------------------------------------------


def test_never_root() -> None:
    """Root's servers get another user and group; an ordinary user's get none."""
    found = account.unprivileged()

    if IS_ROOT:
        assert found is not None
        assert all(found)
    else:
        assert found is None


def test_only_where_it_was_asked_for() -> None:
    """A service that may run as root does."""
    assert of_definition.user_of({"unprivileged": False}) is None
    assert of_definition.user_of({}) is None
    assert of_definition.user_of({"unprivileged": True}) == account.unprivileged()


def test_may(tmp_path: Path) -> None:
    """Owner, group and others are told apart as the kernel does: the first that fits counts."""
    file = tmp_path / "file"
    file.touch()
    found = file.stat()
    file.chmod(0o640)
    me, group, others = (found.st_uid, 1), (found.st_uid + 1, found.st_gid), (found.st_uid + 1, found.st_gid + 1)

    assert [account.may(str(file), who, 4) for who in (me, group, others)] == [True, True, False]
    assert [account.may(str(file), who, 2) for who in (me, group, others)] == [True, False, False]
    file.chmod(0o077)
    assert not account.may(str(file), me, 4)
    assert not account.may(str(tmp_path / "missing"), me, 4)


def test_may_pass(open_folder: Path) -> None:
    """One closed folder above is enough to be kept out, also behind a link."""
    inner = open_folder / "a/b"
    inner.mkdir(parents=True)
    (open_folder / "link").symlink_to(inner)
    for folder in (open_folder / "a", inner):
        folder.chmod(0o711)

    assert account.may_pass(str(inner), SOMEBODY)
    assert account.may_pass(str(open_folder / "link"), SOMEBODY)
    (open_folder / "a").chmod(0o700)
    assert not account.may_pass(str(inner), SOMEBODY)
    assert not account.may_pass(str(open_folder / "link"), SOMEBODY)


# -- run root ----------------------------------------------------------------------------------------------------------


def test_the_run_root_is_made(run_dir: Path) -> None:
    """Others may pass through it and nothing else, whatever the umask."""
    old = os.umask(0o077)
    try:
        assert account.run_root(SOMEBODY) == run_dir
    finally:
        os.umask(old)

    assert run_dir.stat().st_mode & 0o777 == 0o711
    assert list(account.run_roots()) == [run_dir]


def test_a_run_root_half_made(run_dir: Path) -> None:
    """Killed between making it and opening it, the next one opens it."""
    run_dir.mkdir(mode=0o700)

    account.run_root(SOMEBODY)

    assert run_dir.stat().st_mode & 0o777 == 0o711


def refusal() -> str:
    with pytest.raises(StateDenied) as caught:
        account.run_root(SOMEBODY)
    assert list(account.run_roots()) == []
    assert account.RUN_DIR in caught.value.fix[0]
    return caught.value.cause or ""


def test_a_link_in_its_place(run_dir: Path) -> None:
    """It could lead anywhere."""
    (run_dir.parent / "other").mkdir()
    run_dir.symlink_to(run_dir.parent / "other")

    assert refusal().endswith("not a directory")


def test_one_that_others_write_to(run_dir: Path) -> None:
    """They could put their files in the place of ours."""
    run_dir.mkdir()
    run_dir.chmod(0o1777)

    assert "others may write to it" in refusal()


@pytest.mark.root
@as_root
def test_somebody_elses(run_dir: Path) -> None:
    """A folder of another user is not used, however it looks."""
    run_dir.mkdir(mode=0o711)
    os.chown(run_dir, *SOMEBODY)

    assert refusal().endswith("it belongs to user 54321")


def test_out_of_reach(run_dir: Path) -> None:
    """A folder the user cannot get to is of no use."""
    run_dir.parent.chmod(0o700)
    with pytest.raises(StateDenied) as caught:
        account.run_root(SOMEBODY)

    assert "cannot enter it" in (caught.value.cause or "")


@pytest.mark.root
@as_root
@pytest.mark.provokes("STATE_DENIED")
def test_the_next_place_is_taken(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first place cannot be used the second one is; without any, each reason is told."""
    bad, good = open_folder / "bad", open_folder / "good"
    bad.write_text("a file")
    monkeypatch.delenv(account.RUN_DIR, raising=False)
    monkeypatch.setattr(account, "_RUN_ROOTS", (str(bad), str(good)))

    assert account.run_root(SOMEBODY) == good
    monkeypatch.setattr(account, "_RUN_ROOTS", (str(bad), str(bad / "below")))
    with pytest.raises(StateDenied) as caught:
        account.run_root(SOMEBODY)
    assert caught.value.code == "STATE_DENIED"
    assert len(caught.value.evidence) == 2


# -- data --------------------------------------------------------------------------------------------------------------


def test_ordinary_data(tmp_path: Path) -> None:
    """Data of a service that runs as we do is in the state directory."""
    assert of_definition.data_folder(tmp_path, STACK, "db", {}) == tmp_path / "stacks" / STACK / "db" / "data"


@pytest.mark.root
@as_root
def test_data_of_another_user(tmp_path: Path, run_dir: Path) -> None:
    """It is outside of the private state directory, apart from that of another one, and the path does not change."""
    definition = {"unprivileged": True}
    data = of_definition.data_folder(tmp_path, STACK, "db", definition)
    other = of_definition.data_folder(tmp_path / "other", STACK, "db", definition)
    (tmp_path / "link").symlink_to(tmp_path)

    assert data.parts[-2:] == (STACK, "db")
    assert data.parents[2] == run_dir
    assert other != data
    assert of_definition.data_folder(tmp_path / "link", STACK, "db", definition) == data
    account.make_home(data, SOMEBODY)
    assert {folder.stat().st_mode & 0o777 for folder in data.parents[:2]} == {0o711}
    assert not data.exists()


@pytest.mark.root
@as_root
def test_data_is_found_where_it_was_made(tmp_path: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data made when the first place could not be used is still found when it can."""
    first, second = open_folder / "first", open_folder / "second"
    first.write_text("in the way")
    monkeypatch.delenv(account.RUN_DIR, raising=False)
    monkeypatch.setattr(account, "_RUN_ROOTS", (str(first), str(second)))
    data = account.data_folder(tmp_path, STACK, "db", unprivileged_service=True)
    account.make_home(data, SOMEBODY)
    data.mkdir()
    first.unlink()
    account.run_root(SOMEBODY)

    assert account.data_folder(tmp_path, STACK, "db", unprivileged_service=True) == data
    assert account.data_folder(tmp_path, STACK, "cache", unprivileged_service=True).parents[2] == first


def test_empty_folders_go(tmp_path: Path, run_dir: Path) -> None:
    """After the last data of a stack its folders go, with what a killed preparation left; the run root stays."""
    account.run_root(SOMEBODY)
    data, other = (run_dir / "digest" / STACK / name for name in ("db", "cache"))
    account.make_home(data, SOMEBODY)
    other.mkdir()
    (data.parent / ".work.1-1-00000000.tmp").mkdir()

    account.forget_home(data)
    assert other.is_dir()
    other.rmdir()
    account.forget_home(other)

    assert list(run_dir.iterdir()) == []


def test_empty_folders_of_a_stack_go(tmp_path: Path, run_dir: Path) -> None:
    """Folders that were left empty by whoever was killed go with their stack, wherever that stopped."""
    account.run_root(SOMEBODY)
    digest = run_dir / account._digest(tmp_path)
    for left in (digest / STACK, digest):
        left.mkdir(parents=True)
        account.forget_homes(tmp_path, STACK)
        assert list(run_dir.iterdir()) == []
    (digest / STACK / "db").mkdir(parents=True)
    account.forget_homes(tmp_path, STACK)
    assert (digest / STACK / "db").is_dir()


def test_the_state_directory_is_not_touched(tmp_path: Path, run_dir: Path) -> None:
    """Where data is in the state directory, there is nothing to forget."""
    data = tmp_path / "stacks" / STACK / "db" / "data"
    account.make_home(data, None)
    assert data.parent.stat().st_mode & 0o777 == 0o700

    account.forget_home(data)

    assert data.parent.is_dir()
