"""Where state is kept, and that only its owner can read it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from envctl.errors import CannotWrite, StateDenied, UsageError
from envctl.host import paths


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"ENVCTL_STATE_DIR": "/x", "XDG_STATE_HOME": "/y", "HOME": "/h"}, "/x"),
        ({"ENVCTL_STATE_DIR": "", "XDG_STATE_HOME": "/y", "HOME": "/h"}, "/y/envctl"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/envctl"),
        ({"HOME": "/h"}, "/h/.local/state/envctl"),
    ],
)
def test_the_most_specific_setting_wins(environ: dict[str, str], expected: str) -> None:
    """ENVCTL_STATE_DIR before XDG_STATE_HOME before HOME; the empty and the relative are ignored."""
    assert paths.state_dir(environ) == Path(expected)


def test_without_home_the_user_database_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stripped environment (cron, sudo -i) finds the same state."""
    import pwd

    home = pwd.getpwuid(os.getuid()).pw_dir
    assert paths.state_dir({}) == Path(home) / ".local/state/envctl"


def test_no_home_at_all_names_the_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user id without an entry, as in many containers, is told what to do. The user database is mocked."""
    import pwd

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(CannotWrite) as caught:
        paths.state_dir({})
    assert any("ENVCTL_STATE_DIR" in fix for fix in caught.value.fix)


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o777])
def test_directories_are_private_whatever_the_umask(tmp_path: Path, umask: None, mask: int) -> None:
    """Modes come from envctl, not from the caller's umask; also those of parents that were made."""
    os.umask(mask)
    path = paths.ensure_state_dir(tmp_path / "a" / "b")
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o740, 0o702, 0o777])
def test_directory_open_to_others_is_refused_with_the_command(tmp_path: Path, mode: int) -> None:
    """It holds passwords: any access for others is refused, and left as it is."""
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(mode)
    with pytest.raises(StateDenied) as caught:
        paths.ensure_state_dir(path)
    assert f"chmod 700 {path}" in caught.value.fix
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make another user's directory")
def test_directory_of_another_user_is_refused_with_the_command(tmp_path: Path) -> None:
    """Also root does not use what another user could prepare."""
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    os.chown(path, 12345, 12345)
    with pytest.raises(StateDenied) as caught:
        paths.ensure_state_dir(path)
    assert caught.value.fix[0] == f"sudo chown -R {os.geteuid()}:{os.getegid()} {path}"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make another user's link")
def test_symbolic_link_of_another_user_is_refused(tmp_path: Path) -> None:
    """Somebody else must not choose where our passwords go."""
    (tmp_path / "real").mkdir(mode=0o700)
    link = tmp_path / "state"
    link.symlink_to("real")
    os.chown(link, 12345, 12345, follow_symlinks=False)
    with pytest.raises(StateDenied):
        paths.ensure_state_dir(link)


def test_own_symbolic_link_is_fine(tmp_path: Path) -> None:
    """Keeping the state on another disk is the user's right."""
    (tmp_path / "real").mkdir(mode=0o700)
    link = tmp_path / "state"
    link.symlink_to("real")
    assert paths.ensure_state_dir(link) == link


def test_file_in_its_place_is_an_error_and_stays(tmp_path: Path) -> None:
    """A file of that name is not replaced."""
    path = tmp_path / "state"
    path.write_text("mine")
    with pytest.raises(CannotWrite):
        paths.ensure_state_dir(path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "-x", "A", "a b", "a\n", "x" * 65])
def test_name_that_could_leave_the_directory_is_refused(tmp_path: Path, name: str) -> None:
    """`down --name ../../x` never becomes a path."""
    with pytest.raises(UsageError):
        paths.environment_dir(tmp_path, name)


def test_everything_is_below_the_state_directory(tmp_path: Path) -> None:
    """One directory to look into, to back up, or to remove."""
    for path in (paths.environment_dir(tmp_path, "a-1"), paths.locks_dir(tmp_path), paths.reports_dir(tmp_path)):
        assert tmp_path in path.parents
