"""Whether a branch is still there, asked of real repositories made by the real git."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unicodedata import normalize

import pytest
from test_git import NO_PROGRAMS, PLAIN, WEIRD, commit, fake_git, git

from envctl.host import branches


def state(checkout: Path, branch: str, mark: str = "") -> branches.State:
    """The state of a branch, for a caller with a clean environment."""
    return branches.branch_state(str(checkout), branch, mark, PLAIN)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A repository on branch `main` with a second branch, inside of another repository that has neither."""
    git(tmp_path, "init", "-b", "outer")
    folder = tmp_path.resolve() / "shop"
    folder.mkdir()
    git(folder, "init", "-b", "main")
    commit(folder)
    git(folder, "branch", "feature")
    return folder


# -- branches ------------------------------------------------------------------------------------------------------


def test_a_branch_is_gone_once_it_is_deleted_or_renamed(shop: Path) -> None:
    """Wherever its reference is kept; its name as a folder of other branches is not the branch."""
    git(shop, "branch", "old")
    git(shop, "pack-refs", "--all")
    assert {state(shop, name) for name in ("main", "feature", "old")} == {"present"}
    git(shop, "branch", "-d", "feature")
    git(shop, "branch", "feature/x")
    git(shop, "branch", "-m", "old", "new")
    assert [state(shop, name) for name in ("main", "feature", "feature/x", "old", "new")] == [
        *("present", "gone", "present", "gone", "present")
    ]


def test_any_name_is_only_data(shop: Path) -> None:
    """Names that would mean something to a shell, an option parser or a pattern mean themselves."""
    names = [*(name for name in WEIRD if name != "feature/x"), "a\u2028b", "\u202ex", "a" * 200]
    for name in names:
        assert state(shop, name) == "gone"
        git(shop, "update-ref", f"refs/heads/{name}", "HEAD")
    assert {state(shop, name) for name in names} == {"present"}


def test_names_are_known_in_the_registrys_spelling(shop: Path) -> None:
    """Bytes that are no text, and accents that are composed in the registry and not in git."""
    git(shop, "update-ref", b"refs/heads/caf\xe9", "HEAD")
    git(shop, "update-ref", f"refs/heads/{normalize('NFD', 'größe')}", "HEAD")
    assert [state(shop, name) for name in ("caf\\xe9", "größe", "caf\\xe8")] == ["present", "present", "gone"]


def test_a_branch_without_commits_is_there_while_it_is_a_head(shop: Path) -> None:
    """Of any worktree, not only of the one that is asked about."""
    git(shop, "worktree", "add", "--detach", "../other")
    git(shop.parent / "other", "checkout", "--orphan", "unborn")
    assert state(shop, "unborn") == "present"
    git(shop.parent / "other", "checkout", "-f", "--detach", "main")
    assert state(shop, "unborn") == "gone"


def test_a_branch_outside_of_heads_is_there(shop: Path) -> None:
    """A HEAD that is no branch proper is known by its name as well; what is checked out now does not matter."""
    git(shop, "checkout", "--detach")
    git(shop, "update-ref", "refs/review/7", "HEAD")
    assert (state(shop, "main"), state(shop, "review/7"), state(shop, "review")) == ("present", "present", "gone")


def test_a_linked_worktree_is_asked_like_a_clone(shop: Path) -> None:
    """Also where the repository itself is bare."""
    git(shop, "clone", "--bare", ".", "../shop.git")
    for repository in (shop, shop.parent / "shop.git"):
        tree = shop.parent / f"tree-{repository.suffix}"
        git(repository, "worktree", "add", "-b", "hotfix", str(tree))
        assert (state(tree, "hotfix"), state(tree, "feature")) == ("present", "present")
        git(tree, "checkout", "--detach")
        git(tree, "branch", "-D", "hotfix")
        assert state(tree, "hotfix") == "gone"


def test_reftable_is_no_other(tmp_path: Path) -> None:
    """Where this git can make such a repository."""
    made = subprocess.run(
        ["git", "init", "-b", "main", "--ref-format=reftable"], cwd=tmp_path, env=PLAIN, capture_output=True
    )
    if made.returncode:
        pytest.skip("this git is older than 2.45")
    commit(tmp_path)
    assert (state(tmp_path, "main"), state(tmp_path, "feature")) == ("present", "gone")


def test_the_callers_own_git_variables_do_not_count(shop: Path) -> None:
    """In a hook they point to the hook's repository."""
    hook = PLAIN | {"GIT_DIR": str(shop.parent / ".git"), "GIT_WORK_TREE": str(shop.parent)}
    assert branches.branch_state(str(shop), "main", "", hook) == "present"


def _without_repository(shop: Path) -> Path:
    shutil.rmtree(shop / ".git")
    return shop


def _torn_from_its_repository(shop: Path) -> Path:
    git(shop, "worktree", "add", "--detach", "../tree")
    shop.rename(shop.parent / "unplugged")
    return shop.parent / "tree"


def _bare(shop: Path) -> Path:
    git(shop, "clone", "--bare", ".", "../shop.git")
    return shop.parent / "shop.git"


def _submodule(shop: Path) -> Path:
    git(shop.parent, "submodule", "add", "./shop", "vendor")
    return shop.parent / "vendor"


def _with_a_broken_branch(shop: Path) -> Path:
    (shop / ".git" / "refs" / "heads" / "feature").write_bytes(b"")  # as a power failure leaves it
    return shop


def _with_a_folder_that_cannot_be_read(shop: Path) -> Path:
    git(shop, "branch", "-D", "feature")
    loop = shop / ".git" / "refs" / "heads" / "team"
    loop.symlink_to(loop)
    return shop


def _with_damaged_references(shop: Path) -> Path:
    git(shop, "pack-refs", "--all")
    with (shop / ".git" / "packed-refs").open("a") as file:
        file.write("junk\n")
    return shop


def _of_an_unknown_format(shop: Path) -> Path:
    git(shop, "config", "core.repositoryFormatVersion", "1")
    git(shop, "config", "extensions.fromTheFuture", "true")
    return shop


def _of_somebody_else(shop: Path) -> Path:
    if os.geteuid() != 0:
        pytest.skip("needs root, to give a folder away")
    for path in (shop, shop / ".git"):
        os.chown(path, 65534, 65534)
    return shop


def _replaced_by_a_link(shop: Path) -> Path:
    shop.rename(shop.parent / "moved")
    shop.symlink_to(shop.parent / "moved")
    return shop


DOUBTFUL = [
    *(_without_repository, _torn_from_its_repository, _bare, _submodule, _with_a_broken_branch),
    _with_a_folder_that_cannot_be_read,
    *(_with_damaged_references, _of_an_unknown_format, _of_somebody_else, _replaced_by_a_link),
]


@pytest.mark.parametrize("make", DOUBTFUL)
def test_what_is_in_doubt_is_never_gone(shop: Path, make: Callable[[Path], Path]) -> None:
    """Neither a branch that was there nor one that never was; the repository around it is not asked in its place."""
    place = make(shop)
    name = "team/x" if make is _with_a_folder_that_cannot_be_read else "feature"
    assert state(place, name, branches.mark(str(place))) == "unknown"


@pytest.mark.parametrize("script", ["exit 1", "exec sleep 60", '{git} "$@"; echo odd >&2', "echo nonsense"])
def test_a_git_that_does_not_answer_well_proves_nothing(
    shop: Path, tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that fails, hangs, complains or talks of something else."""
    monkeypatch.setattr("envctl.host.branches.LIMIT_S", 0.2)
    script = script.format(git=shutil.which("git"))
    assert branches.branch_state(str(shop), "none", "", fake_git(tmp_path / "bin", script)) == "unknown"


def test_without_git_nothing_is_known(shop: Path) -> None:
    """Where the program is not installed, branches stay."""
    assert branches.branch_state(str(shop), "none", "", NO_PROGRAMS) == "unknown"


# -- folders -------------------------------------------------------------------------------------------------------


def test_a_checkout_that_was_removed_is_gone_with_its_branches(shop: Path) -> None:
    """By `git worktree remove`, or with the folders around it."""
    tree = shop.parent / "trees" / "deep" / "hotfix"
    git(shop, "worktree", "add", "-b", "hotfix", str(tree))
    proof, of_shop = branches.mark(str(tree)), branches.mark(str(shop))
    assert branches.checkout_state(str(tree), proof) == state(tree, "hotfix", proof) == "present"
    git(shop, "worktree", "remove", str(tree))
    assert branches.checkout_state(str(tree), proof) == state(tree, "hotfix", proof) == "gone"
    shutil.rmtree(shop.parent / "trees")
    assert state(tree, "hotfix", proof) == "gone"
    assert (state(tree, "hotfix", ""), state(tree, "hotfix", of_shop)) == ("unknown", "unknown")
    shutil.rmtree(shop)
    assert state(shop, "main", of_shop) == "gone"


def test_a_checkout_that_is_out_of_sight_is_not_gone(tmp_path: Path) -> None:
    """Another folder in the place of the one it was in: the mount point of an unplugged disk, another container's."""
    disk = tmp_path / "disk"
    shop = disk / "src" / "shop"
    shop.mkdir(parents=True)
    proof = branches.mark(str(shop))
    disk.rename(tmp_path / "unplugged")
    disk.mkdir()
    assert branches.checkout_state(str(shop), proof) == "unknown"
    (disk / "src").mkdir()
    assert branches.checkout_state(str(shop), proof) == "unknown"
    shutil.rmtree(disk)
    assert branches.checkout_state(str(shop), proof) == "gone", "the folder that all of it was in is as it was"


@pytest.mark.root
def test_a_disk_that_was_unmounted_is_not_gone(tmp_path: Path) -> None:
    """Nor is one in the place of which is another, or whose mount point went with it, as desktops do."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a disk")
    disk = tmp_path / "disk"
    shop = disk / "src" / "shop"
    disk.mkdir()
    with _mounted(disk):
        shop.mkdir(parents=True)
        proof = branches.mark(str(shop))
        shop.rmdir()
        assert branches.checkout_state(str(shop), proof) == "gone", "it was removed from the disk"
    assert branches.checkout_state(str(shop), proof) == "unknown"
    with _mounted(disk):
        (disk / "src").mkdir()
        assert branches.checkout_state(str(shop), proof) == "unknown"
    disk.rmdir()
    assert branches.checkout_state(str(shop), proof) == "unknown"


@contextmanager
def _mounted(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_submodules_folder_is_never_proven_gone(shop: Path) -> None:
    """It comes back with the next branch of the repository around it."""
    place = _submodule(shop)
    proof = branches.mark(str(place))
    shutil.rmtree(place)
    assert branches.checkout_state(str(place), proof) == "unknown"


def test_a_file_system_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A stand-in, since no server can be taken away here: a look that does not come back."""
    from threading import Event

    waiting = Event()
    monkeypatch.setattr(branches, "LIMIT_S", 0.05)
    monkeypatch.setattr(branches, "_folder_state", lambda *_: waiting.wait() and "gone")
    assert branches.checkout_state(str(tmp_path)) == "unknown"
    waiting.set()
