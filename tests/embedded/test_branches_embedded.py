"""An environment for each branch: side by side, in one list, gone with it; and what docs/branches.md says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import Project, eventually
from redis import Redis

ROOT = Path(__file__).parents[2]
_FILES = re.compile(r"<!-- file: (?P<name>\S+) -->\n```\w*\n(?P<text>.*?)```", re.DOTALL)
_PAGE = (ROOT / "docs" / "branches.md").read_text("utf-8")
DOCUMENTED = [(block["name"], block["text"]) for block in _FILES.finditer(_PAGE)]


def documented(name: str) -> list[str]:
    """The files of this name that the page shows."""
    return [text for known, text in DOCUMENTED if known == name]


def listed(project: Project) -> dict[str, dict[str, Any]]:
    """What `ls` tells, by branch."""
    found = project.run("ls", "--format", "json", check=True).json["environments"]
    return {one["branch"]: one for one in found}


def switch(project: Project, branch: str) -> None:
    """Switch to a branch; it is made where there is none."""
    known = project.git("branch", "--list", branch).strip()
    project.git("switch", "--quiet", *([] if known else ["--create"]), branch)


@pytest.fixture
def shop(project: Project) -> Project:
    """A project with one quick service."""
    project.config("services: {redis: {}}\n")
    return project


@contextmanager
def somebody() -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody else's."""
    process = subprocess.Popen(["sleep", "300"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_branches_and_worktrees_side_by_side(shop: Project) -> None:
    """Each has its own; switching back finds the first as it was; patterns remove some, gc what has lost its place."""
    first = shop.up()
    with Redis.from_url(first["variables"]["REDIS_URL"]) as redis:
        redis.set("who", "main")
    switch(shop, "feature/login")
    second = shop.up()
    trees = [shop.folder / "trees" / name for name in ("hotfix", "review")]
    for tree in trees:
        shop.git("worktree", "add", "--quiet", str(tree))
        shutil.copy(shop.root / "envctl.yaml", tree)
    with ThreadPoolExecutor(2) as pool:
        others = list(pool.map(lambda tree: shop.up(cwd=tree), trees))
    assert len({report["services"]["redis"]["port"] for report in (first, second, *others)}) == 4
    switch(shop, "main")
    again = shop.up()
    assert (again["environment"], again["services"]) == (first["environment"], first["services"])
    with Redis.from_url(again["variables"]["REDIS_URL"]) as redis:
        assert redis.get("who") == b"main"

    assert eventually(lambda: all(one["disk_bytes"] for one in listed(shop).values())), "these sizes cost little"
    planned = shop.run("down", "--dry-run", "feature/*", "*-re?iew-*", "--format", "json", check=True).json
    assert {one["branch"] for one in planned["environments"]} == {"feature/login", "review"} < listed(shop).keys()
    shop.run("down", "feature/*", "*-re?iew-*", check=True)
    assert listed(shop).keys() == {"main", "hotfix"}
    assert shop.error("down", "main", "nothing*")["exit"] == 66

    shop.git("worktree", "remove", "--force", str(trees[0]))
    assert [one["environment"] for one in shop.run("gc", "--format", "json", check=True).json["environments"]] == [
        others[0]["environment"]
    ]
    assert listed(shop).keys() == {"main"}


def test_what_somebody_uses_is_named_and_stays(shop: Project) -> None:
    """`ls` says who it is, `down` of many leaves it and removes the others; it goes with that process."""
    shop.up()
    switch(shop, "used")
    with somebody() as process:
        shop.up("--while-pid", str(process.pid))
        assert listed(shop)["used"]["owner"] == f"sleep (pid {process.pid})"
        refused = shop.error("down", "*")
        assert (refused["code"], refused["exit"]) == ("ENVIRONMENT_IN_USE", 75)
        assert listed(shop).keys() == {"used"}
    assert eventually(lambda: not listed(shop), limit_s=10), "it goes with its process"


# -- what docs/branches.md says ------------------------------------------------------------------------------------


def hook(project: Project, name: str, text: str) -> None:
    """Put a hook into the project's repository, where git finds envctl."""
    project.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{project.environ['PATH']}"
    file = project.root / ".git" / "hooks" / name
    file.write_text(text)
    file.chmod(0o755)


def ready(project: Project) -> set[str]:
    """The branches whose environment is ready."""
    return {branch for branch, one in listed(project).items() if one["state"] == "ready"}


def in_background(project: Project) -> list[str]:
    """The commands of envctl that hooks have started and that have not ended."""
    commands = [process.command for process in project.processes().values()]
    return [command for command in commands if re.search(r"envctl (up|down|gc)\b", command)]


def test_hooks_bring_up_on_a_switch_and_remove_with_a_branch(shop: Project) -> None:
    """The first post-checkout hook and the one for deleted branches; git does not wait for either."""
    odd = "feature/$(id);x"
    hook(shop, "post-checkout", documented(".git/hooks/post-checkout")[0])
    hook(shop, "reference-transaction", documented(".git/hooks/reference-transaction")[0])
    switch(shop, odd)
    log = shop.root / ".git" / "envctl.log"
    assert eventually(lambda: ready(shop) == {odd}, limit_s=20), log.read_text()
    switch(shop, "main")
    assert eventually(lambda: ready(shop) == {"main", odd}, limit_s=20), log.read_text()
    shop.git("branch", "--move", odd, "renamed")
    assert eventually(lambda: listed(shop).keys() == {"main"}, limit_s=20), "the branch of that name is gone"
    assert eventually(lambda: not in_background(shop))
    shop.git("checkout", "--quiet", "--", "README")
    shop.git("commit", "--quiet", "--allow-empty", "--message=x")
    assert in_background(shop) == [], "only a switch, and only a deletion, has something done"


def test_a_hook_keeps_one_environment_at_a_time(shop: Project) -> None:
    """The second post-checkout hook: the branch before loses its environment, unless it is the same one."""
    shop.git("symbolic-ref", "HEAD", "refs/heads/-odd'name")
    shop.git("commit", "--quiet", "--allow-empty", "--message=x")
    shop.up()
    hook(shop, "post-checkout", documented(".git/hooks/post-checkout")[1])
    switch(shop, "main")
    assert eventually(lambda: ready(shop) == {"main"} == listed(shop).keys(), limit_s=20)
    assert eventually(lambda: not in_background(shop))
    before = shop.instances()
    shop.git("checkout", "--quiet", "main")
    assert eventually(lambda: in_background(shop), every_s=0.01), "the hook is run"
    assert eventually(lambda: not in_background(shop))
    assert shop.instances() == before


def test_unit_files_are_accepted_by_systemd(tmp_path: Path) -> None:
    """Its own check finds nothing to say."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd on this machine")
    units = [name for name, _ in DOCUMENTED if name.startswith("envctl-gc")]
    for name in units:
        (tmp_path / name).write_text(documented(name)[0])
    (tmp_path / ".local" / "bin").mkdir(parents=True)
    (tmp_path / ".local" / "bin" / "envctl").symlink_to(Path(sys.executable).parent / "envctl")
    surroundings = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    check = ["systemd-analyze", "--user", "verify", *(str(tmp_path / name) for name in units)]
    checked = subprocess.run(check, env=surroundings, capture_output=True, text=True, check=False)
    assert sorted(units) == ["envctl-gc.service", "envctl-gc.timer"]
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_the_line_for_cron_says_nothing(shop: Project) -> None:
    """What a job prints is mailed; this one prints only what is wrong. The line is run as cron runs it, by sh."""
    shop.up("--ttl", "1s")
    (line,) = documented("crontab")
    *when, command = line.strip().split(maxsplit=5)
    home = shop.folder / "home"
    (home / ".local" / "bin").mkdir(parents=True)
    (home / ".local" / "bin" / "envctl").symlink_to(Path(sys.executable).parent / "envctl")
    surroundings = {**shop.environ, "HOME": str(home)}

    def run() -> bool:
        done = subprocess.run(["/bin/sh", "-c", command], env=surroundings, capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == ("", "")
        return not shop.state.joinpath("stacks").exists() or not list(shop.state.glob("stacks/*"))

    assert when == ["17", "*", "*", "*", "*"]
    assert eventually(run, limit_s=10), "it has expired, and goes"
