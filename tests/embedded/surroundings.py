"""Machines that lack something, made of what is here."""

from __future__ import annotations

import os
import site
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from grp import getgrnam
from pathlib import Path
from pwd import getpwnam

import pytest
from harness import Project

ROOT = Path(__file__).parents[2]
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
# Runs in the Python that envctl runs in, before envctl: shows it other packages than are installed.
_SHOW_OTHER_PACKAGES = """\
import sys
sys.path[:] = [{shadow!r} if path == {packages!r} else path for path in sys.path]
"""


def packages() -> Path:
    """Where Python's packages are installed."""
    return Path(site.getsitepackages()[0])


def without_packages(project: Project, *names: str) -> Mapping[str, str]:
    """Variables for a call of envctl in whose Python packages with these beginnings are not installed."""
    shadow = project.folder / "packages"
    shadow.mkdir()
    for entry in packages().iterdir():
        if not entry.name.startswith(names):
            (shadow / entry.name).symlink_to(entry)
    hook = project.folder / "hook"
    hook.mkdir()
    text = _SHOW_OTHER_PACKAGES.format(shadow=str(shadow), packages=str(packages()))
    (hook / "sitecustomize.py").write_text(text)
    return {"PYTHONPATH": str(hook)}


def foreign_program(path: Path) -> Path:
    """A program for a processor this machine does not have: the head of an ELF file of IBM's S/390."""
    head = b"\x7fELF\x02\x02\x01" + bytes(9) + (2).to_bytes(2, "big") + (22).to_bytes(2, "big")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + bytes(200))
    path.chmod(0o755)
    return path


@contextmanager
def disk(path: Path, size: str) -> Iterator[Path]:
    """A disk of this size. Needs root."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0711", "none", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


_NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs"]


@contextmanager
def python_for_everybody(folder: Path) -> Iterator[str]:
    """A Python like ours that other users can run too: ours may be root's own. Skips where none can be had.

    Args:
        folder: Where to make it; everybody may pass through.
    """
    folder.mkdir()
    home, mounted = Path(sys.base_prefix), folder / "home"
    mounted.mkdir()
    if os.geteuid() == 0 and not _may_run([str(home / "bin" / _PYTHON), "-c", ""]):
        command = ["mount", "--bind", str(home), str(mounted)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("the user nobody can run no Python, and nothing can be mounted")
        home = mounted
    try:
        yield _virtual_environment(folder / "venv", home / "bin" / _PYTHON)
    finally:
        if home == mounted:
            subprocess.run(["umount", "--lazy", str(mounted)], check=True)


def _virtual_environment(top: Path, python: Path) -> str:
    """A virtual environment with the packages of ours; its Python."""
    places = top / "lib" / _PYTHON / "site-packages"
    for folder in (top / "bin", places):
        folder.mkdir(parents=True)
    (top / "pyvenv.cfg").write_text(f"home = {python.parent}\ninclude-system-site-packages = false\n")
    (places / "ours.pth").write_text(f"{packages()}\n{ROOT}\n")
    (top / "bin" / "python").symlink_to(python)
    return str(top / "bin" / "python")


def _may_run(command: list[str]) -> bool:
    shell = ["sh", "-c", 'exec "$0" "$@"']  # setpriv itself still has root's rights when it starts its program
    words = [*_NOBODY, *shell, *command]
    return subprocess.run(words, env={"PATH": os.defpath}, cwd="/", capture_output=True, check=False).returncode == 0


def give_away(project: Project, python: str) -> bool:
    """From now on the project is an ordinary user's, who runs its commands with this Python.

    Returns:
        Whether that Python can also run the bundled WebSocket server: it may find an older library of Python than ours.
    """
    if os.geteuid() != 0:
        return True  # we are one
    if not _may_run([python, "-c", "import envctl.cli.main"]):
        pytest.skip("the user nobody cannot enter the checkout or Python's packages")
    project.command = [*_NOBODY, python, "-m", "envctl"]
    project.environ["HOME"] = project.environ["ENVCTL_CACHE_DIR"] = str(project.folder / "home")
    (project.folder / "home").mkdir()
    nobody, nogroup = getpwnam("nobody").pw_uid, getgrnam("nogroup").gr_gid
    for path in (project.folder, *project.folder.rglob("*")):
        os.chown(path, nobody, nogroup, follow_symlinks=False)
    return _may_run([python, "-c", "import psycopg, redis.asyncio, websockets"])
