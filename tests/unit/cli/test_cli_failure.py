"""How failures are told: the shape, what is escaped and hidden, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_samples import PASSWORD, Call, Conductor

from envctl.cli import failure
from envctl.errors import EngineUnreachable, Interrupted, Leftovers, ServiceExited, ServiceNotReady, leaves
from envctl.host import log


def test_the_shape_of_an_error(envctl: Call, conductor: Conductor) -> None:
    """What failed, why, the proof, the way out, the state of things, what is left: in this order, labelled."""
    conductor.error = ServiceExited(
        'service "websocket" stopped with code 1 after 0.8 s',
        cause="its last lines",
        evidence=["Error: Cannot find module './server.js'"],
        fix=["check services.websocket.command", "whole log: envctl logs websocket"],
        state="rolled back: 3 containers, 1 network",
        leftovers=["volume x: in use"],
    )
    outcome = envctl("up")
    assert outcome.exit == 80
    assert outcome.out == ""
    assert outcome.err.splitlines() == [
        'error[SERVICE_EXITED] service "websocket" stopped with code 1 after 0.8 s',
        "  cause  its last lines",
        "         | Error: Cannot find module './server.js'",
        "  fix    check services.websocket.command",
        "  fix    whole log: envctl logs websocket",
        "  state  rolled back: 3 containers, 1 network",
        "  left   volume x: in use",
    ]


def test_an_error_without_a_fix_of_its_own_has_that_of_its_code(envctl: Call, conductor: Conductor) -> None:
    """Nobody is left without a way out; the same in JSON."""
    conductor.error = EngineUnreachable("the engine does not answer")
    assert "start the engine" in envctl("up").err
    assert "start the engine" in envctl("up", "--format", "json").error["fix"][0]


def test_errors_are_one_json_object_on_stderr(envctl: Call, conductor: Conductor) -> None:
    """Programs read one object with everything in it, and stdout stays empty."""
    conductor.error = Leftovers("removed except for 1 thing", leftovers=["volume x"], subject={"port": 20431})
    for arguments in (("--format", "json", "down"), ("down", "--format=json"), ("--format=json", "psql")):
        outcome = envctl(*arguments)
        assert (outcome.exit, outcome.out) == (85, "")
        assert set(outcome.error) >= {"code", "exit", "message", "cause", "fix", "subject", "retryable", "state"}
        assert (outcome.error["leftovers"], outcome.error["subject"]) == (["volume x"], {"port": 20431})


def test_nothing_from_a_service_reaches_the_terminal_raw(envctl: Call, conductor: Conductor) -> None:
    """Escape sequences, direction marks and endless lines in any part of an error are made harmless."""
    nasty = "\x1b]0;owned\x07\u202e" + "A" * 1_000_000
    conductor.error = ServiceNotReady(f"bad {nasty}", cause=nasty, evidence=[nasty], fix=[nasty], state=nasty)
    outcome = envctl("up")
    assert "\x1b" not in outcome.err
    assert "\u202e" not in outcome.err
    assert len(outcome.err) < 30_000


def test_secrets_are_hidden_in_every_part_of_an_error(envctl: Call, conductor: Conductor) -> None:
    """Neither a known password nor one in anybody's URL is printed, in text and in JSON."""
    log.keep_secret([PASSWORD])
    told = f"login failed with {PASSWORD} at postgresql://someone:hunter22@db/x"
    conductor.error = ServiceNotReady(told, cause=told, evidence=[told], fix=[told], subject={"url": told})
    for arguments in (("up",), ("up", "--format", "json")):
        err = envctl(*arguments).err
        assert PASSWORD not in err
        assert "hunter22" not in err
        assert "someone" in err


@pytest.mark.provokes("USAGE")
@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("upp",), "did you mean up?"),
        (("redis_cli",), "did you mean redis-cli?"),
        (("up", "--tiemout", "3s"), "did you mean --timeout?"),
        (("up", "--engine", "podman"), "compose"),
        (("up", "extra"), "envctl up --help"),
        (("url",), "envctl url --help"),
        (("--format", "yaml", "up"), "table, json, none"),
        (("--file",), "--help"),
        (("schema", "--branch", "x"), "envctl schema --help"),
    ],
)
def test_a_wrong_command_line_is_error_2_with_a_hint(envctl: Call, arguments: tuple[str, ...], hint: str) -> None:
    """Every mistake has the same shape as all errors and shows the way."""
    outcome = envctl(*arguments)
    assert outcome.exit == 2
    assert outcome.err.startswith("error[USAGE] ")
    assert hint in outcome.err


def test_a_wrong_command_line_is_json_where_json_was_asked_for(envctl: Call) -> None:
    """Also when the command line is too wrong to be parsed; words of another program do not count."""
    assert envctl("up", "--nonsense", "--format", "json").error["code"] == "USAGE"
    assert envctl("exec", "--nonsense", "postgres", "--", "--format", "json").err.startswith("error[USAGE]")


@pytest.mark.provokes("BUG")
def test_a_bug_is_saved_to_a_private_file(envctl: Call, conductor: Conductor, tmp_path: Path) -> None:
    """The user sees one message that names the file; the file has the traceback and no password."""
    log.keep_secret([PASSWORD])
    conductor.error = ZeroDivisionError(f"with {PASSWORD}")
    outcome = envctl("up", "--format", "json")
    [file] = (tmp_path / "state" / "reports").iterdir()
    assert (outcome.exit, outcome.error["code"]) == (1, "BUG")
    assert str(file) in outcome.error["cause"]
    assert file.stat().st_mode & 0o777 == 0o600
    saved = file.read_text()
    assert "ZeroDivisionError" in saved
    assert "envctl up --format json" in saved
    assert PASSWORD not in saved + outcome.err


def test_a_bug_that_cannot_be_saved_is_shown(
    envctl: Call, conductor: Conductor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a place for the file the traceback is on stderr: it must not be lost."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("ENVCTL_STATE_DIR", str(tmp_path / "file" / "state"))
    conductor.error = ZeroDivisionError("x")
    outcome = envctl("up")
    assert outcome.exit == 1
    assert "ZeroDivisionError" in outcome.err
    assert "Traceback" in outcome.err


def test_an_interruption_has_the_exit_code_of_its_signal(envctl: Call, conductor: Conductor) -> None:
    """128 plus the signal's number, and the state after the rollback."""
    conductor.error = Interrupted(15, state="rolled back: 2 containers")
    outcome = envctl("up")
    assert outcome.exit == 143
    assert "rolled back: 2 containers" in outcome.err


def test_every_code_has_a_situation_and_a_fix() -> None:
    """What `envctl explain` prints comes from the docstrings, so each needs both parts."""
    for kind in leaves():
        situation, fix = failure.described(kind)
        assert situation.endswith("."), kind
        assert fix.endswith("."), kind


def test_the_error_tree_in_the_docstring_is_complete() -> None:
    """The drawing at the top of errors.py names every code with its class and its exit code."""
    from envctl import errors

    words = [line.split() for line in (errors.__doc__ or "").splitlines()]
    for kind in leaves():
        assert any(line[:2] == [kind.__name__, kind.code] for line in words), kind


def test_verbose_logs_lines_of_json(envctl: Call, monkeypatch: pytest.MonkeyPatch, conductor: Conductor) -> None:
    """`--log-format json` writes one object per line to stderr, without secrets; without it nothing is written."""
    monkeypatch.setattr(log, "_sink", None)
    logger = log.get_logger().bind(step=1)

    def speak(_: object) -> None:
        logger.info("created", container="shop-1", url=f"redis://:{PASSWORD}@h", event_count=2, event="own")

    conductor.during_up = speak
    assert "created" not in envctl("up").err
    err = envctl("--log-format", "json", "up").err
    [event] = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert event["event"] == "created"
    assert (event["container"], event["step"], event["level"]) == ("shop-1", 1, "info")
    assert PASSWORD not in err
    monkeypatch.setattr(log, "_sink", None)
    assert "created" in envctl("up", "-v").err
