"""What is installed finds its own files: from a wheel, and from a checkout without copies."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ROOMS = ("compose", "healthchecks")

_LIST = """
import hashlib, json, sys
sys.path.insert(0, {site!r})
from envctl.host import assets
root = assets.root()
found = {{}}
for room in ("compose", "healthchecks"):
    for path in assets.files(root / room):
        found[path.relative_to(root).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
print(json.dumps({{"root": str(root), "files": found, "digest": assets.folder_digest("websocket")}}))
"""


def run(*command: str, cwd: Path) -> str:
    """The output of a program that must succeed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tracked() -> dict[str, str]:
    """Digest by path of every asset file git knows, as it is on disk now."""
    names = run("git", "ls-files", "-z", *ROOMS, cwd=REPOSITORY).split("\0")
    paths = {name: REPOSITORY / name for name in names if name}
    return {n: hashlib.sha256(p.read_bytes()).hexdigest() for n, p in paths.items() if p.is_file()}


@pytest.fixture
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files, so that what lies about in the checkout cannot get in."""
    folder = tmp_path_factory.mktemp("source")
    for name in run("git", "ls-files", "-z", cwd=REPOSITORY).split("\0"):
        origin = REPOSITORY / name
        if name and origin.is_file() and not name.startswith("tests/"):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(origin.read_bytes())
            target.chmod(origin.stat().st_mode)
    return folder


def installed(target: Path, source: Path, *options: str) -> Path:
    """Installs `source` into the folder `target`."""
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check")
    run(*pip, "--target", str(target), *options, str(source), cwd=target.parent)
    return target


def test_a_wheel_carries_every_asset(tmp_path: Path, source: Path, tracked: dict[str, str]) -> None:
    """Installed from a wheel, every tracked file of the rooms is there, byte for byte, and nothing else."""
    site = installed(tmp_path / "site", source)
    found = json.loads(run(sys.executable, "-I", "-c", _LIST.format(site=str(site)), cwd=tmp_path))
    assert found["root"] == str(site / "envctl" / "_data")
    assert found["files"] == {
        n: d for n, d in tracked.items() if not Path(n).name.startswith(".") or n.endswith(".dockerignore")
    }


def test_an_editable_install_reads_the_checkout(tmp_path: Path, source: Path) -> None:
    """Editable, there is no copy: an edit in the checkout is seen at once."""
    site = installed(tmp_path / "site", source, "--editable")
    (path_file,) = site.glob("*.pth")
    checkout = path_file.read_text().strip()
    script = _LIST.format(site=checkout)
    before = json.loads(run(sys.executable, "-I", "-c", script, cwd=tmp_path))
    assert before["root"] == str(source)
    assert not (source / "envctl" / "_data").exists()
    fragment = source / "compose" / "websocket" / "compose.yaml"
    fragment.write_text(fragment.read_text() + "\n# edited\n")
    after = json.loads(run(sys.executable, "-I", "-c", script, cwd=tmp_path))
    assert before["digest"] != after["digest"]
