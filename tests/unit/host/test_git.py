"""Where we stand, tried on real repositories made by the real git."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from envctl.errors import UsageError
from envctl.host.git import find_checkout
from envctl.model import BranchSource

PLAIN = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}
"""What the caller's environment holds: nothing of the machine's git configuration."""

NO_PROGRAMS = PLAIN | {"PATH": "/nonexistent"}
"""An environment in which git cannot be asked."""

GITHUB_PULL_REQUEST = {"GITHUB_ACTIONS": "true", "GITHUB_HEAD_REF": "feature/x", "GITHUB_REF_NAME": "7/merge"}


def git(folder: Path, *words: str | bytes) -> str:
    """Run git in `folder` and give its answer."""
    command = ["git", "-c", "protocol.file.allow=always", *words]
    done = subprocess.run(command, cwd=folder, env=PLAIN, check=True, capture_output=True)
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def commit(folder: Path, message: str = "m") -> str:
    """Make a commit and give its id."""
    git(folder, "commit", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A repository in a folder called `shop`, on branch `main`, with one commit."""
    folder = tmp_path.resolve() / "shop"
    folder.mkdir()
    git(folder, "init", "-b", "main")
    commit(folder)
    return folder


def test_a_normal_checkout_gives_root_folder_and_branch(shop: Path) -> None:
    """The ordinary case: everything is read from git's files, without running git."""
    found = find_checkout(shop, NO_PROGRAMS)
    assert (found.root, found.folder, found.branch) == (str(shop), "shop", "main")
    assert (found.source, found.ci) == (BranchSource.GIT, None)


def test_a_subfolder_belongs_to_the_checkout_around_it(shop: Path) -> None:
    """From any depth the same checkout is found."""
    deep = shop / "a" / "b" / "c"
    deep.mkdir(parents=True)
    assert find_checkout(deep, NO_PROGRAMS) == find_checkout(shop, NO_PROGRAMS)


def test_the_git_folder_itself_belongs_to_its_checkout(shop: Path) -> None:
    """A hook that is run inside `.git` finds the checkout, not a bare repository."""
    assert find_checkout(shop / ".git" / "hooks", NO_PROGRAMS) == find_checkout(shop, NO_PROGRAMS)


def test_a_branch_without_commits_has_its_name(tmp_path: Path) -> None:
    """Right after `git init` the branch is unborn, yet it has a name."""
    git(tmp_path, "init", "-b", "first")
    assert find_checkout(tmp_path, NO_PROGRAMS).branch == "first"


def test_a_detached_head_gives_the_short_commit(shop: Path) -> None:
    """Twelve digits of the commit stand for the branch, and the source says so."""
    digits = commit(shop)
    git(shop, "checkout", "--detach")
    found = find_checkout(shop, NO_PROGRAMS)
    assert (found.branch, found.source) == (digits[:12], BranchSource.DETACHED)


def test_a_sha256_repository_is_read_alike(tmp_path: Path) -> None:
    """Commits of 64 digits are commits too."""
    git(tmp_path, "init", "-b", "main", "--object-format=sha256")
    digits = commit(tmp_path)
    git(tmp_path, "checkout", "--detach")
    assert len(digits) == 64
    assert find_checkout(tmp_path, NO_PROGRAMS).branch == digits[:12]


def test_packed_refs_change_nothing(shop: Path) -> None:
    """The branch is known by HEAD alone, wherever its commit is kept."""
    git(shop, "pack-refs", "--all")
    assert find_checkout(shop, NO_PROGRAMS).branch == "main"


def test_a_branch_being_rebased_keeps_its_name(shop: Path) -> None:
    """While a rebase has detached the head, the environment stays that of the branch."""
    commit(shop)
    git(shop, "checkout", "-b", "feature/x")
    with pytest.raises(subprocess.CalledProcessError):
        git(shop, "rebase", "--force-rebase", "--exec", "false", "HEAD~1")
    assert git(shop, "branch", "--show-current") == ""
    found = find_checkout(shop, NO_PROGRAMS)
    assert (found.branch, found.source) == ("feature/x", BranchSource.GIT)


def test_a_branch_being_bisected_keeps_its_name(shop: Path) -> None:
    """A bisect does not make an environment for every commit it tries."""
    for _ in range(4):
        commit(shop)
    git(shop, "bisect", "start", "HEAD", "HEAD~4")
    found = find_checkout(shop, NO_PROGRAMS)
    assert (found.branch, found.source) == ("main", BranchSource.GIT)


def test_a_bisect_begun_on_a_detached_head_gives_the_commit(shop: Path) -> None:
    """Where there was no branch before the bisect either, the commit stands for it."""
    for _ in range(4):
        commit(shop)
    git(shop, "checkout", "--detach")
    git(shop, "bisect", "start", "HEAD", "HEAD~4")
    assert find_checkout(shop, NO_PROGRAMS).source is BranchSource.DETACHED


def test_a_symbolic_link_as_head_is_understood(shop: Path) -> None:
    """Old repositories have HEAD as a link to the branch's file, which packing removes."""
    head = shop / ".git" / "HEAD"
    head.unlink()
    head.symlink_to("refs/heads/old/style")
    assert find_checkout(shop, NO_PROGRAMS).branch == "old/style"


def test_a_linked_worktree_has_its_own_root_and_the_main_ones_name(shop: Path) -> None:
    """Two worktrees are two checkouts of one project."""
    git(shop, "worktree", "add", "-b", "hotfix", "../elsewhere")
    found = find_checkout(shop.parent / "elsewhere", NO_PROGRAMS)
    assert (found.root, found.folder, found.branch) == (str(shop.parent / "elsewhere"), "shop", "hotfix")


@pytest.mark.parametrize("bare", ["shop.git", "shop/.bare"])
def test_a_worktree_of_a_bare_repository_is_named_after_it(tmp_path: Path, bare: str) -> None:
    """Both usual layouts of bare repositories with worktrees give the project's name."""
    (tmp_path / "shop").mkdir()
    git(tmp_path, "init", "--bare", "-b", "main", bare)
    tree = git(tmp_path / bare, "hash-object", "-t", "tree", "-w", "/dev/null")
    git(tmp_path / bare, "update-ref", "refs/heads/main", git(tmp_path / bare, "commit-tree", "-m", "m", tree))
    git(tmp_path / bare, "worktree", "add", "-b", "x", str(tmp_path / "tree"))
    found = find_checkout(tmp_path / "tree", NO_PROGRAMS)
    assert (found.root, found.folder, found.branch) == (str(tmp_path.resolve() / "tree"), "shop", "x")


def test_a_submodule_is_a_project_of_its_own(shop: Path, tmp_path: Path) -> None:
    """Its root and name are its own folder's, its branch its own."""
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "-b", "main")
    commit(library)
    git(shop, "submodule", "add", str(library), "vendor/lib")
    git(shop / "vendor" / "lib", "checkout", "-b", "patch")
    found = find_checkout(shop / "vendor" / "lib", NO_PROGRAMS)
    assert (found.root, found.folder, found.branch) == (str(shop / "vendor" / "lib"), "lib", "patch")


def test_a_bare_repository_is_its_own_root(tmp_path: Path) -> None:
    """A server-side hook runs in a bare repository; `.git` is no part of its name."""
    git(tmp_path, "init", "--bare", "-b", "trunk", "shop.git")
    found = find_checkout(tmp_path / "shop.git", NO_PROGRAMS)
    assert (found.root, found.folder, found.branch) == (str(tmp_path.resolve() / "shop.git"), "shop", "trunk")


def test_a_symbolic_link_to_the_checkout_is_the_same_checkout(shop: Path) -> None:
    """Paths are resolved, so that the way in does not matter."""
    (shop.parent / "link").symlink_to(shop)
    assert find_checkout(shop.parent / "link", NO_PROGRAMS) == find_checkout(shop, NO_PROGRAMS)


WEIRD = [
    "feature/x",
    "$(id)",
    "a;reboot",
    "`id`",
    "it's",
    'say"hi"',
    "x#y",
    "-dash",
    "a\u202eb",
    "漢字",
    "x${HOME}",
    "@",
]


@pytest.mark.parametrize("name", [*WEIRD, "long/" + "x" * 235])
def test_any_branch_name_git_accepts_comes_through_unchanged(shop: Path, name: str) -> None:
    """A branch's name is data: whatever git accepts is given back exactly."""
    git(shop, "symbolic-ref", "HEAD", f"refs/heads/{name}")
    assert find_checkout(shop, NO_PROGRAMS).branch == name == git(shop, "symbolic-ref", "HEAD")[len("refs/heads/") :]


def test_bytes_that_are_not_utf8_become_readable_and_stay_distinct(shop: Path) -> None:
    """Such a name can be stored as text anywhere, and two of them are not taken for one."""
    names = set()
    for raw in (b"caf\xe9", b"caf\xe8"):
        git(shop, "symbolic-ref", "HEAD", b"refs/heads/" + raw)
        names.add(find_checkout(shop, NO_PROGRAMS).branch)
    assert names == {"caf\\xe9", "caf\\xe8"}


def test_the_option_gives_the_same_name_as_git(shop: Path) -> None:
    """`--branch` with undecodable bytes means the branch that git shows with the same bytes."""
    git(shop, "symbolic-ref", "HEAD", b"refs/heads/caf\xe9")
    given = find_checkout(shop, NO_PROGRAMS, branch=os.fsdecode(b"caf\xe9"))
    assert given.branch == find_checkout(shop, NO_PROGRAMS).branch


def test_git_dir_and_work_tree_are_respected(shop: Path, tmp_path: Path) -> None:
    """The variables that direct git direct envctl as well."""
    tree = tmp_path / "tree"
    tree.mkdir()
    environ = NO_PROGRAMS | {"GIT_DIR": str(shop / ".git"), "GIT_WORK_TREE": "tree"}
    found = find_checkout(tmp_path, environ)
    assert (found.root, found.branch) == (str(tree.resolve()), "main")


def test_git_dir_alone_makes_the_current_folder_the_root(shop: Path, tmp_path: Path) -> None:
    """Git's own rule for a GIT_DIR that lies elsewhere."""
    found = find_checkout(tmp_path, NO_PROGRAMS | {"GIT_DIR": str(shop / ".git")})
    assert (found.root, found.branch) == (str(tmp_path.resolve()), "main")


@pytest.mark.parametrize("git_dir", ["{shop}/.git", ".git"])
def test_a_hook_in_a_subfolder_belongs_to_the_same_checkout(shop: Path, git_dir: str) -> None:
    """Hooks set GIT_DIR; a hook that changes folder must not get another environment."""
    (shop / "sub").mkdir()
    found = find_checkout(shop / "sub", NO_PROGRAMS | {"GIT_DIR": git_dir.format(shop=shop)})
    assert found == find_checkout(shop, NO_PROGRAMS)


def test_a_ceiling_ends_the_search(shop: Path) -> None:
    """GIT_CEILING_DIRECTORIES keeps a test's folder from being taken for the checkout around it."""
    inside = shop / "tmp" / "project"
    inside.mkdir(parents=True)
    found = find_checkout(inside, NO_PROGRAMS | {"GIT_CEILING_DIRECTORIES": str(shop / "tmp")})
    assert (found.root, found.source) == (str(inside), BranchSource.NONE)


def test_without_git_the_folder_stands_alone(tmp_path: Path) -> None:
    """No repository: the folder is the root, and there is no branch."""
    found = find_checkout(tmp_path, NO_PROGRAMS)
    assert (found.root, found.folder) == (str(tmp_path.resolve()), tmp_path.name)
    assert (found.branch, found.source) == ("", BranchSource.NONE)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"gitdir: /nonexistent/place\n", b"\xff\xfe\x00", b"gitdir:", b"gitdir: \0"]
)
def test_a_damaged_git_file_ends_the_search_there(shop: Path, content: bytes) -> None:
    """A broken worktree or submodule is not taken for a part of the repository around it."""
    inner = shop / "inner"
    inner.mkdir()
    (inner / ".git").write_bytes(content)
    found = find_checkout(inner, NO_PROGRAMS)
    assert (found.root, found.source) == (str(inner), BranchSource.NONE)


def test_an_empty_git_folder_is_passed_over(shop: Path) -> None:
    """Git itself ignores a `.git` folder without a repository in it, and looks further up."""
    (shop / "inner" / ".git").mkdir(parents=True)
    assert find_checkout(shop / "inner", NO_PROGRAMS).root == str(shop)


@pytest.mark.parametrize("content", [b"", b"garbage\n", b"\x00\xff", b"ref:", b"0123"])
def test_a_garbage_head_gives_no_branch(shop: Path, content: bytes) -> None:
    """A repository whose HEAD says nothing is still the checkout; it has no branch."""
    (shop / ".git" / "HEAD").write_bytes(content)
    found = find_checkout(shop, NO_PROGRAMS)
    assert (found.root, found.branch, found.source) == (str(shop), "", BranchSource.NONE)


@pytest.fixture
def anyone(shop: Path) -> Iterator[Path]:
    """The repository where an ordinary user can reach it, inside of another one, and this process as such a user."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        git(Path(folder), "init", "-b", "outer")
        moved = Path(shutil.move(shop, Path(folder).resolve() / "shop"))
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)
        try:
            yield moved
        finally:
            if is_root:
                os.seteuid(0)
            (moved / ".git").chmod(0o700)


@pytest.mark.parametrize("name", [".git", ".git/HEAD"])
def test_an_unreadable_repository_gives_no_branch(anyone: Path, name: str) -> None:
    """What may not be read is as if it said nothing; the search neither fails nor goes on above."""
    owner, user = anyone.stat().st_uid, os.geteuid()
    os.seteuid(owner)
    (anyone / name).chmod(0)
    os.seteuid(user)
    found = find_checkout(anyone, NO_PROGRAMS)
    assert (found.root, found.source) == (str(anyone), BranchSource.NONE)


def test_another_users_repository_is_read(anyone: Path) -> None:
    """Git refuses a repository of another owner, since it could run its hooks; reading a name is harmless."""
    assert find_checkout(anyone, NO_PROGRAMS).branch == "main"


# -- the reftable format: git is asked ------------------------------------------------------------------------------


@pytest.fixture
def reftable(shop: Path) -> Path:
    """A repository whose HEAD looks like a reftable repository's, as every version of git can make it."""
    (shop / ".git" / "HEAD").write_text("ref: refs/heads/.invalid\n")
    return shop


def fake_git(folder: Path, script: str) -> dict[str, str]:
    """An environment whose `git` is `script`. A stand-in, since git before 2.45 knows no reftable format."""
    folder.mkdir()
    (folder / "git").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "git").chmod(0o755)
    return PLAIN | {"PATH": f"{folder}:{PLAIN['PATH']}"}


def test_a_real_reftable_repository_gives_its_branch(tmp_path: Path) -> None:
    """Where this git can make one, the branch is found by asking git."""
    made = subprocess.run(
        ["git", "init", "-b", "feature/x", "--ref-format=reftable"], cwd=tmp_path, env=PLAIN, capture_output=True
    )
    if made.returncode:
        pytest.skip("this git is older than 2.45")
    assert find_checkout(tmp_path, PLAIN).branch == "feature/x"


def test_reftable_asks_git(reftable: Path, tmp_path: Path) -> None:
    """Git's answer is the branch."""
    environ = fake_git(tmp_path / "bin", 'case "$*" in *symbolic-ref*) echo refs/heads/feature/x;; esac')
    found = find_checkout(reftable, environ)
    assert (found.branch, found.source) == ("feature/x", BranchSource.GIT)


def test_reftable_with_a_detached_head_gives_the_commit(reftable: Path, tmp_path: Path) -> None:
    """Where git knows no branch, it is asked for the commit."""
    digits = "0123456789" * 4
    environ = fake_git(tmp_path / "bin", f'case "$*" in *symbolic-ref*) exit 1;; *) echo {digits};; esac')
    found = find_checkout(reftable, environ)
    assert (found.branch, found.source) == (digits[:12], BranchSource.DETACHED)


@pytest.mark.parametrize("script", ["exit 128", "echo refs/heads/.invalid", "exec sleep 60"])
def test_a_git_that_does_not_answer_gives_no_branch(
    reftable: Path, tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A git that is too old, unwilling or hanging leaves the branch unknown; envctl goes on."""
    monkeypatch.setattr("envctl.host.git.GIT_TIMEOUT_S", 0.2)
    assert find_checkout(reftable, fake_git(tmp_path / "bin", script)).source is BranchSource.NONE


def test_reftable_without_git_gives_no_branch(reftable: Path) -> None:
    """No git program: the checkout is there, without a branch."""
    assert find_checkout(reftable, NO_PROGRAMS).source is BranchSource.NONE


# -- who decides the branch ----------------------------------------------------------------------------------------


def test_the_option_stands_over_everything(shop: Path) -> None:
    """`--branch` is what the user says now."""
    found = find_checkout(shop, NO_PROGRAMS | GITHUB_PULL_REQUEST, branch="other")
    assert (found.branch, found.source, found.ci) == ("other", BranchSource.OPTION, "github")


def test_a_left_over_ci_variable_does_not_hide_the_branch(shop: Path) -> None:
    """With a branch checked out, git is right."""
    found = find_checkout(shop, NO_PROGRAMS | GITHUB_PULL_REQUEST)
    assert (found.branch, found.source, found.ci) == ("main", BranchSource.GIT, "github")


def test_ci_names_the_branch_of_a_detached_head(shop: Path) -> None:
    """CI checkouts are detached; the system knows the branch."""
    git(shop, "checkout", "--detach")
    found = find_checkout(shop, NO_PROGRAMS | GITHUB_PULL_REQUEST)
    assert (found.branch, found.source) == ("feature/x", BranchSource.CI)


def test_ci_names_the_branch_without_git(tmp_path: Path) -> None:
    """A job that got an archive instead of a clone has a branch as well."""
    found = find_checkout(tmp_path, NO_PROGRAMS | GITHUB_PULL_REQUEST)
    assert (found.branch, found.source) == ("feature/x", BranchSource.CI)


def test_an_unknown_ci_leaves_the_commit(shop: Path) -> None:
    """Where the system does not say the branch, the commit stands for it."""
    git(shop, "checkout", "--detach")
    found = find_checkout(shop, NO_PROGRAMS | {"CI": "true"})
    assert (found.source, found.ci) == (BranchSource.DETACHED, "generic")


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[31m", "\x7f"])
def test_an_impossible_option_is_refused(shop: Path, name: str) -> None:
    """An empty `--branch` (often an unset variable) or control characters are a mistake, not a branch."""
    with pytest.raises(UsageError):
        find_checkout(shop, NO_PROGRAMS, branch=name)


def test_the_answer_agrees_with_git(shop: Path) -> None:
    """Root and branch are what git itself says, in the main work tree and in a linked one."""
    git(shop, "worktree", "add", "-b", "hotfix/y", "../elsewhere")
    for folder in (shop, shop.parent / "elsewhere"):
        found = find_checkout(folder, NO_PROGRAMS)
        assert found.root == git(folder, "rev-parse", "--show-toplevel")
        assert found.branch == git(folder, "branch", "--show-current")


def test_a_moved_worktree_is_not_mistaken_for_the_folder_above(shop: Path) -> None:
    """When the main repository is gone, a worktree is a folder without git."""
    git(shop, "worktree", "add", "-b", "hotfix", "../elsewhere")
    shutil.rmtree(shop)
    found = find_checkout(shop.parent / "elsewhere", NO_PROGRAMS)
    assert (found.root, found.source) == (str(shop.parent / "elsewhere"), BranchSource.NONE)
