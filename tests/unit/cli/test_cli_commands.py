"""What each command asks of the conductor and what it prints. The conductor is substituted, see cli_samples."""

from __future__ import annotations

import inspect
import json
import signal
from pathlib import Path

import pytest
from cli_samples import ENVIRONMENT_FUNCTIONS, FLEET_FUNCTIONS, PASSWORD, TOKEN, Call, Conductor, report

from envctl.environment import Selection
from envctl.errors import EnvironmentNotFound, Interrupted
from envctl.model import EnvironmentState, Owner, ServiceState, Session
from envctl.report import Removal


def _signature(function: object) -> list[tuple[str, object, object]]:
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]  # a test gives what it likes
    return [(p.name, p.kind, p.default) for p in parameters if p.name != "self"]


def test_the_substitute_has_the_signatures_of_the_real_conductor() -> None:
    """What is tested here against a substitute is called the same way in the real one."""
    from envctl import environment, fleet

    for names, module in ((ENVIRONMENT_FUNCTIONS, environment), (FLEET_FUNCTIONS, fleet)):
        for name in names:
            assert _signature(getattr(Conductor, name)) == _signature(getattr(module, name)), name


def test_up_shows_addresses_without_passwords(envctl: Call) -> None:
    """Connection details on a screen or in a CI log hold no password."""
    outcome = envctl("up")
    assert outcome.exit == 0
    assert "127.0.0.1:20431" in outcome.out
    assert PASSWORD not in outcome.out + outcome.err
    assert TOKEN not in outcome.out + outcome.err


def test_up_as_json_holds_everything(envctl: Call) -> None:
    """Programs get the whole report, and an empty stderr."""
    outcome = envctl("up", "--format", "json")
    assert outcome.json["services"]["postgres"]["password"] == PASSWORD
    assert outcome.json["services"]["mailer"]["ports"] == {"smtp": 20434, "http": 20435}
    assert outcome.err == ""


def test_up_without_a_format_for_results_prints_none(envctl: Call) -> None:
    """`--format none` leaves stdout empty."""
    assert envctl("up", "--format", "none").out == ""


def test_dry_run_prints_the_plan_and_does_nothing(envctl: Call, conductor: Conductor) -> None:
    """The plan comes from the conductor and `up` is not called."""
    assert "start postgres" in envctl("up", "--dry-run").out
    assert [verb for verb, _ in conductor.asked] == ["dry_run"]


BEFORE = ("--branch", "other", "--timeout", "1s", "-f", "x.yaml", "--name", "n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("-f", "x.yaml", "--branch", "b", "--name", "n", "--engine", "compose", "--timeout", "1m30s", "up"),
        ("up", "--file", "x.yaml", "--branch", "b", "--name", "n", "--engine", "compose", "--timeout", "90s"),
        (*BEFORE, "up", "--branch", "b", "--engine=compose", "--timeout=90000ms"),
    ],
)
def test_common_options_stand_before_or_after_the_command(
    envctl: Call, conductor: Conductor, arguments: tuple[str, ...]
) -> None:
    """The place of an option does not matter; the later mention wins."""
    assert envctl(*arguments, "--keep-failed").exit == 0
    [(_, asked)] = conductor.asked
    selection = asked["selection"]
    assert isinstance(selection, Selection)
    assert (selection.file, selection.branch, selection.label) == (Path("x.yaml"), "b", "n")
    assert (selection.engine, asked["wishes"].timeout_s, asked["wishes"].keep_failed) == ("compose", 90.0, True)


@pytest.mark.parametrize("value", ["", "5", "soon", "-1s", "0s", "5 m"])
def test_a_wrong_duration_is_a_usage_error_that_shows_the_form(envctl: Call, value: str) -> None:
    """Nothing is done with a time limit that was not understood."""
    outcome = envctl("up", "--timeout", value)
    assert outcome.exit == 2
    assert "30s" in outcome.err


def test_env_is_dotenv_when_piped(envctl: Call) -> None:
    """Without a terminal the default is the format of files."""
    assert f"POSTGRES_PASSWORD={PASSWORD}" in envctl("env").out.splitlines()


def test_env_as_a_table_hides_passwords(envctl: Call) -> None:
    """The table is for eyes."""
    assert PASSWORD not in envctl("env", "--format", "table").out


def test_env_writes_a_private_file_and_nothing_to_stdout(envctl: Call, tmp_path: Path) -> None:
    """The file is replaced as a whole and its mode is 0600 whatever it was."""
    file = tmp_path / ".env"
    file.write_text("OLD=1\n")
    file.chmod(0o644)
    assert envctl("env", "--output", ".env").out == ""
    assert "OLD" not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("before", [None, "A=1\n", "A=1", ""])
def test_env_for_github_is_appended_and_masks_passwords(envctl: Call, tmp_path: Path, before: str | None) -> None:
    """The steps of a job share one file, so what is there stays; the masks are commands, not variables."""
    file = tmp_path / "github.env"
    if before is not None:
        file.write_text(before)
    outcome = envctl("env", "--format", "github", "--output", str(file))
    lines = file.read_text().splitlines()
    assert lines[: 1 if before else 0] == (["A=1"] if before else [])
    assert f"POSTGRES_PASSWORD={PASSWORD}" in lines
    assert f"::add-mask::{PASSWORD}" in outcome.out.splitlines()
    assert "add-mask" not in file.read_text()


def test_env_for_github_on_stdout_keeps_masks_out_of_it(envctl: Call) -> None:
    """`>> "$GITHUB_ENV"` must not put commands into the file."""
    outcome = envctl("env", "--format", "github")
    assert "add-mask" not in outcome.out
    assert f"::add-mask::{PASSWORD}" in outcome.err.splitlines()


@pytest.mark.provokes("CANNOT_WRITE")
def test_env_to_a_folder_that_is_not_there_says_so(envctl: Call, tmp_path: Path) -> None:
    """A file that cannot be written is error 73, in either way of writing."""
    for form in ("dotenv", "github"):
        outcome = envctl("env", "--format", form, "--output", str(tmp_path / "no" / "file"))
        assert outcome.exit == 73


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        (("postgres",), f"postgresql://app:{PASSWORD}@127.0.0.1:20431/shop"),
        (("postgres", "--port", "postgres"), f"postgresql://app:{PASSWORD}@127.0.0.1:20431/shop"),
        (("mailer", "--port", "http"), "http://127.0.0.1:20435"),
    ],
)
def test_url_prints_one_url(envctl: Call, arguments: tuple[str, ...], url: str) -> None:
    """Exactly the URL and a line end, usable in `$(…)`; the same in JSON."""
    assert envctl("url", *arguments).out == url + "\n"
    assert envctl("url", *arguments, "--format", "json").json == {"service": arguments[0], "url": url}


@pytest.mark.provokes("NO_SERVICE")
def test_url_of_what_is_not_there(envctl: Call) -> None:
    """An unknown service is 66 with the one that was meant; an unknown or missing port is a usage error."""
    missing = envctl("url", "postgre", "--format", "json")
    assert (missing.exit, missing.error["code"]) == (66, "NO_SERVICE")
    assert "did you mean postgres?" in missing.error["fix"]
    assert envctl("url", "mailer", "--port", "imap").exit == 2
    assert envctl("url", "worker").exit == 2


def test_status_has_exit_80_when_a_service_is_not_ready(envctl: Call, conductor: Conductor) -> None:
    """Scripts can ask with the exit code alone."""
    assert envctl("status").exit == 0
    services = dict(conductor.result.services)
    from dataclasses import replace

    services["redis"] = replace(services["redis"], state=ServiceState.EXITED, detail="exit \x1b[2J 137")
    conductor.result = report(services=services, state=EnvironmentState.DEGRADED)
    outcome = envctl("status")
    assert outcome.exit == 80
    assert "\x1b" not in outcome.out
    assert envctl("status", "--format", "json").json["services"]["redis"]["state"] == "exited"


def test_status_without_an_environment_is_66(envctl: Call, conductor: Conductor) -> None:
    """Nothing there is different from not ready."""
    conductor.error = EnvironmentNotFound("there is no environment for branch 'main'")
    assert envctl("status").exit == 66


def test_ls_lists_without_passwords(envctl: Call) -> None:
    """A list of everything is not the place for credentials, in any format."""
    table, listed = envctl("ls"), envctl("ls", "--format", "json")
    assert "shop-main-3fa91c02" in table.out
    assert listed.json["environments"][0]["services"]["redis"]["port"] == 20432
    assert PASSWORD not in table.out + listed.out


def test_ls_tells_size_and_users(envctl: Call, conductor: Conductor) -> None:
    """Where they are known; a purpose is somebody's text and cannot write to the terminal."""
    told = envctl("ls", "--format", "json").json["environments"][0]
    known = ("owner", "sessions", "disk_bytes", "last_used_at", "ephemeral")
    assert [told[name] for name in known] == [None, [], None, None, False]
    assert "OWNER" not in envctl("ls").out
    sessions = (
        Session("7a", "py\x1btest", 1, Owner("b", 4121, 7), 0.0),
        Session("7a.gw0", "pytest", 2, Owner("b", 4122, 8), 1.0),
        Session("9c", "envctl run", 3, Owner("b", 4123, 9), 2.0),
    )
    conductor.result = report(
        sessions=sessions, disk_bytes=47_721_432, last_used_at="2026-11-22T10:00:00Z", ephemeral=True
    )
    table, listed = envctl("ls").out, envctl("ls", "--format", "json").json["environments"][0]
    assert [*table.splitlines()[1].split("  ")[-2:]] == ["48 MB", "py\\x1btest (pid 4121) +1"]
    assert [listed[name] for name in ("owner", "disk_bytes", "last_used_at", "ephemeral")] == [
        *("py\x1btest (pid 4121) +1", 47_721_432, "2026-11-22T10:00:00Z", True)
    ]
    assert listed["sessions"][2] == {"id": "9c", "purpose": "envctl run", "pid": 4123}
    envctl("ls", "--sizes")
    assert [asked["sizes_limit_s"] for _, asked in conductor.asked[-2:]] == [None, 30.0]


def test_logs_are_prefixed_when_there_are_several_services(envctl: Call, conductor: Conductor) -> None:
    """With one service its lines stand alone."""
    conductor.lines = [("redis", "ready"), ("postgres", "hello")]
    assert envctl("logs").out == "redis | ready\npostgres | hello\n"
    conductor.lines = [("redis", "ready")]
    assert envctl("logs", "redis").out == "ready\n"


def test_logs_show_control_characters_and_drop_colours(envctl: Call, conductor: Conductor) -> None:
    """Nothing a service writes reaches the terminal as a command."""
    conductor.lines = [("redis", "\x1b[31mred\x1b[0m \x1b]0;title\x07 \u202e end\r")]
    assert envctl("logs", "redis").out == "red \\x1b]0;title\\x07 \\u202e end\n"
    assert envctl("logs", "redis", "--format", "json").json["line"] == conductor.lines[0][1]


def test_logs_hand_on_what_is_asked_for(envctl: Call, conductor: Conductor) -> None:
    """Each option means what its help says."""
    assert envctl("logs", "-f", "--tail", "5", "--since", "5m").exit == 0
    asked = {"services": (), "follow": True, "tail_lines": 5, "since": "5m"}
    assert conductor.asked == [("logs", asked)]


def test_following_logs_ends_quietly_with_ctrl_c(envctl: Call, conductor: Conductor) -> None:
    """Ctrl-C is how one stops following; it is no error to tell of. SIGTERM is."""
    conductor.error = Interrupted(signal.SIGINT)
    outcome = envctl("logs", "-f")
    assert (outcome.exit, outcome.err) == (130, "")
    conductor.error = Interrupted(signal.SIGTERM)
    assert envctl("logs", "-f").exit == 143


def test_exec_passes_words_and_exit_code_through(envctl: Call, conductor: Conductor) -> None:
    """What follows the service belongs to the command, with or without `--`; its exit code is ours."""
    conductor.exit_code = 42
    for words in (("--", "ls", "--branch", "x", "--"), ("ls", "--branch", "x", "--")):
        assert envctl("exec", "--branch", "b", "postgres", *words).exit == 42
    for _, asked in conductor.asked:
        assert (asked["service"], asked["command"]) == ("postgres", ["ls", "--branch", "x", "--"])
        assert asked["selection"].branch == "b"  # type: ignore[attr-defined]  # its type says less than it has
        assert asked["tty"] is False
    assert envctl("exec", "postgres").exit == 2
    assert envctl("exec", "postgres", "--").exit == 2


def test_psql_gets_all_arguments_and_no_password_in_them(envctl: Call, conductor: Conductor) -> None:
    """Options that envctl also has (`-f`, `-v`) are psql's here."""
    assert envctl("--branch", "b", "psql", "-v", "x=1", "-f", "-", "-Atc", "select 1").exit == 0
    asked = conductor.asked[-1][1]
    assert asked["command"] == ["psql", "-U", "app", "-d", "shop", "-v", "x=1", "-f", "-", "-Atc", "select 1"]
    assert asked["variables"] == {"PGPASSWORD": PASSWORD}
    assert asked["selection"].branch == "b"  # type: ignore[attr-defined]  # its type says less than it has


def test_redis_cli_is_logged_in_by_a_variable(envctl: Call, conductor: Conductor) -> None:
    """The first service of the kind is used; the password is in no argument list."""
    assert envctl("redis-cli", "get", "-x").exit == 0
    asked = conductor.asked[-1][1]
    assert (asked["service"], asked["command"]) == ("redis", ["redis-cli", "-n", "0", "get", "-x"])
    assert asked["variables"] == {"REDISCLI_AUTH": PASSWORD}


def test_a_client_without_its_service_is_66(envctl: Call, conductor: Conductor) -> None:
    """No Postgres, no psql."""
    conductor.result = report(services={})
    assert envctl("psql").exit == 66


def test_down_with_nothing_to_remove_is_success(envctl: Call) -> None:
    """`down` says that there was nothing, on stderr, and succeeds."""
    outcome = envctl("down")
    assert (outcome.exit, outcome.out) == (0, "")
    assert envctl("down", "--format", "json").json == {"environment": None, "removed": {}, "kept": []}


def test_down_counts_what_it_removed(envctl: Call, conductor: Conductor) -> None:
    """The result names what went and what was kept."""
    conductor.removal = Removal("shop-main-3fa91c02", {"container": 3, "network": 1}, ("volume data",))
    outcome = envctl("down", "--keep-ports", "--purge")
    assert "3 containers, 1 network" in outcome.out
    assert "volume data" in outcome.out
    assert conductor.asked[-1][1] | {"selection": None} == {
        "selection": None,
        "keep_ports": True,
        "purge": True,
        "timeout_s": None,
        "force": False,
    }


def test_down_all_goes_with_nothing_that_means_one(envctl: Call, conductor: Conductor) -> None:
    """A contradiction is refused before anything is removed."""
    for option in (("--branch", "b"), ("--name", "n"), ("--keep-ports",), ("--purge",), ("--while-pid", "1")):
        for many in ("--all", "feature/*"):
            assert envctl("down", many, *option).exit == 2
    for words in (("--all", "x"), ("--dry-run",), ("--dry-run", "--while-pid", "1")):
        assert envctl("down", *words).exit == 2
    assert conductor.asked == []
    assert envctl("down", "--all").exit == 0
    assert conductor.asked == [("down_all", {"patterns": (), "force": False})]


def test_down_takes_patterns(envctl: Call, conductor: Conductor) -> None:
    """They are handed on as they are; what was removed is told of each."""
    conductor.removal = Removal("shop-main-3fa91c02", {"container": 3})
    outcome = envctl("down", "--force", "feature/*", "shop-[ab]*", "--format", "json")
    assert conductor.asked == [("down_all", {"patterns": ("feature/*", "shop-[ab]*"), "force": True})]
    assert [one["environment"] for one in outcome.json["environments"]] == ["shop-main-3fa91c02"]


def test_a_dry_run_of_down_only_asks(envctl: Call, conductor: Conductor) -> None:
    """It names what would go, and who keeps what would stay."""
    used = report(sessions=(Session("7a", "pytest", 1, Owner("b", 4121, 7), 0.0),))
    for result, fate, owner in ((report(), "would be removed", None), (used, "would stay", "pytest (pid 4121)")):
        conductor.result = result
        assert fate in envctl("down", "--dry-run", "m*").out
        (planned,) = envctl("down", "--dry-run", "--all", "--format", "json").json["environments"]
        assert (planned["environment"], planned["branch"], planned["owner"]) == ("shop-main-3fa91c02", "main", owner)
    assert "would be removed" in envctl("down", "--dry-run", "--force", "m*").out
    assert {verb for verb, _ in conductor.asked} == {"select"}


def test_render_prints_the_document(envctl: Call, conductor: Conductor) -> None:
    """Passwords are written into it only on request."""
    assert envctl("render").out == "services: {}\n"
    envctl("render", "--secrets")
    assert [asked["inline_secrets"] for _, asked in conductor.asked] == [False, True]


def test_explain_knows_every_code(envctl: Call) -> None:
    """Each code of the error tree has a text with its fix, found in any spelling of case."""
    from envctl.errors import leaves

    listed = {entry["code"]: entry for entry in envctl("explain", "--format", "json").json["codes"]}
    assert set(listed) == {kind.code for kind in leaves()}
    assert all(entry["means"] and entry["fix"] for entry in listed.values())
    assert "SERVICE_EXITED" in envctl("explain", "service-exited").out
    assert envctl("explain").exit == 0


@pytest.mark.provokes("NO_CODE")
def test_explain_of_an_unknown_code_suggests_one(envctl: Call) -> None:
    """A mistyped code leads to the right one."""
    outcome = envctl("explain", "PORT_INUSE", "--format", "json")
    assert (outcome.exit, outcome.error["code"]) == (66, "NO_CODE")
    assert "PORT_IN_USE" in outcome.error["fix"][0]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(envctl: Call, shell: str) -> None:
    """Each shell gets a script that calls envctl back."""
    outcome = envctl("completion", shell)
    assert outcome.exit == 0
    assert "_ENVCTL_COMPLETE" in outcome.out


@pytest.mark.parametrize(
    ("words", "expected"),
    [("envctl url ", {"postgres", "redis", "mailer", "websocket", "worker"}), ("envctl exec p", {"postgres"})],
)
def test_service_names_complete(envctl: Call, monkeypatch: pytest.MonkeyPatch, words: str, expected: set[str]) -> None:
    """The shell gets the names that begin with what was typed."""
    _ask_completion(monkeypatch, words)
    assert {line.partition(",")[2] for line in envctl().out.splitlines()} == expected


def test_completion_fails_silently(envctl: Call, monkeypatch: pytest.MonkeyPatch, conductor: Conductor) -> None:
    """No environment, no names, no words on the terminal."""
    conductor.error = RuntimeError("damaged")
    _ask_completion(monkeypatch, "envctl url ")
    outcome = envctl()
    assert (outcome.out.strip(), outcome.err) == ("", "")


def _ask_completion(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setenv("_ENVCTL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))


def test_json_of_every_listing_is_json(envctl: Call) -> None:
    """`--format json`, before or after the command, gives one JSON value."""
    for arguments in (("ls",), ("status",), ("down",), ("url", "redis"), ("env",), ("up", "--dry-run")):
        assert json.loads(envctl("--format", "json", *arguments).out) is not None
        assert json.loads(envctl(*arguments, "--format", "json").out) is not None
