"""Machines that lack something, made of what is here."""

from __future__ import annotations

import os
import site
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from grp import getgrnam
from pathlib import Path
from pwd import getpwnam

import pytest
from harness import Project

ROOT = Path(__file__).parents[2]
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


def ordinary_user(project: Project) -> None:
    """From now on the project is the user nobody's, who runs its commands. Skips where that user has no Python."""
    if os.geteuid() != 0:
        return  # we are one
    become = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs"]
    python = next((one for one in map(partial(_environment, project), _pythons()) if _serves(become, one)), None)
    if python is None:
        pytest.skip("the user nobody can run no Python of this version, or cannot enter the checkout")
    project.command = [*become, python, "-m", "envctl"]
    project.environ["HOME"] = project.environ["ENVCTL_CACHE_DIR"] = str(project.folder / "home")
    (project.folder / "home").mkdir()
    nobody, nogroup = getpwnam("nobody").pw_uid, getgrnam("nogroup").gr_gid
    for path in (project.folder, *project.folder.rglob("*")):
        os.chown(path, nobody, nogroup, follow_symlinks=False)


def _pythons() -> list[str]:
    """Pythons of our version that other users may be able to run; the one that runs us may be root's own."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = [f"{folder}/{name}" for folder in ("/usr/bin", "/usr/local/bin")]
    return [path for path in (*found, os.path.realpath(sys.executable)) if Path(path).exists()]


def _environment(project: Project, python: str) -> str:
    """A virtual environment in the project's folder with the packages of ours; its Python."""
    top = project.folder / f"venv-{hash(python) & 0xFFFF:04x}"
    places = top / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    for folder in (top / "bin", places):
        folder.mkdir(parents=True)
    (top / "pyvenv.cfg").write_text(f"home = {Path(python).parent}\ninclude-system-site-packages = false\n")
    (places / "ours.pth").write_text(f"{packages()}\n{ROOT}\n")
    (top / "bin" / "python").symlink_to(python)
    return str(top / "bin" / "python")


def _serves(become: list[str], python: str) -> bool:
    check = "import os, sys, envctl.cli.main, psycopg, websockets; sys.exit(not os.access(sys.executable, os.X_OK))"
    command = [*become, python, "-c", check]
    return subprocess.run(command, env={"PATH": os.defpath}, cwd="/", capture_output=True, check=False).returncode == 0
