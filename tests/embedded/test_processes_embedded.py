"""The repository's own server, run from the working tree as a process."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import psycopg
import pytest
from harness import Project, eventually
from redis import Redis
from repository_server import QUICK, ask, configure, script, server
from websockets.sync.client import connect

ODD = "two words\n\ttab, 'single' \"double\" back\\slash `x` $HOME ${HOME} äöü 漢字 🙂"


# -- what it is given ------------------------------------------------------------------------------------------------


def test_what_a_server_is_given(project: Project) -> None:
    """It runs in its folder, with its port in PORT, all the variables of the tests, and the caller's own."""
    configure(project, {"redis": {}, "api": server("--flag", cwd="./web")})
    project.write("web/server.py", (project.root / "server.py").read_text())
    report = project.up(env={"CALLERS": "own", "REDIS_URL": "redis://yesterday.example"})
    known, answer = report["variables"], ask(report)
    assert answer["arguments"] == ["--flag"]
    assert answer["cwd"] == answer["environment"]["PWD"] == str(project.root / "web")
    assert answer["environment"]["PORT"] == known["API_PORT"]
    assert answer["environment"]["CALLERS"] == "own"
    assert {name: answer["environment"].get(name) for name in known} == known
    with Redis.from_url(answer["environment"]["REDIS_URL"]) as redis:
        assert redis.ping()


def test_several_ports(project: Project) -> None:
    """With several ports each is in PORT_NAME, and PORT is the main one; all are other ports."""
    service = server(ports={"http": "auto", "metrics": "auto"})
    del service["port"]
    configure(project, {"api": service})
    report = project.up()
    environment = ask(report, port="http")["environment"]
    for name in ("HTTP", "METRICS"):
        assert environment[f"PORT_{name}"] == report["variables"][f"API_{name}_PORT"]
    assert environment["PORT"] == environment["PORT_HTTP"] != environment["PORT_METRICS"]


def test_values_arrive_as_they_are(project: Project) -> None:
    """Spaces, line breaks, quotes and any writing system arrive unchanged; references are filled in."""
    own = {"ODD": ODD, "CACHE": "{redis.url}", "LITERAL": "{{redis.url}}", "NUMBER": 3, "NOTHING": ""}
    configure(project, {"redis": {}, "api": server(environment=own)})
    report = project.up()
    environment = ask(report)["environment"]
    found = {name: environment[name] for name in own}
    url = report["variables"]["REDIS_URL"]
    assert found == {"ODD": ODD, "CACHE": url, "LITERAL": "{redis.url}", "NUMBER": "3", "NOTHING": ""}


def test_values_arrive_under_any_locale(project: Project) -> None:
    """Under the C locale, too, text that is not ASCII reaches the program as UTF-8."""
    configure(project, {"api": server(environment={"ODD": ODD})})
    report = project.up(env={"LC_ALL": "C", "LANG": "C"})
    assert ask(report)["environment"]["ODD"].encode("utf-8", "surrogateescape") == ODD.encode()


def test_a_text_is_a_line_for_the_shell(project: Project) -> None:
    """`process` as a text may use what a shell can: `&&`, quotes, and the variables of the process."""
    python = " ".join(QUICK)
    line = f'echo "one  $PORT" && exec {python} server.py "$SAID"'
    configure(project, {"api": server() | {"process": line, "environment": {"SAID": "a  b"}}})
    report = project.up()
    assert ask(report)["arguments"] == ["a  b"]
    assert f"one  {report['variables']['API_PORT']}" in project.run("logs", "api", check=True).out


def test_no_secret_is_seen(project: Project) -> None:
    """No password stands in an argument list or in the definition of a process."""
    configure(project, {"postgres": {}, "redis": {}, "api": server(environment={"OWN": "{postgres.url}"})})
    report = project.up()
    secrets = [report["variables"][name] for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD")]
    assert secrets[0] in ask(report)["environment"]["OWN"]
    commands = {process.command for process in project.processes().values()}
    assert len(commands) >= 3
    definitions = [file.read_text() for file in project.state.rglob("definition.json")]
    assert len(definitions) == 3
    assert [text for text in (*commands, *definitions) if any(secret in text for secret in secrets)] == []


# -- when it is started ----------------------------------------------------------------------------------------------


def test_it_waits_for_the_others(project: Project) -> None:
    """What it depends on is ready before it starts: its first connection to Postgres succeeds, without a second try."""
    code = (
        "import os, psycopg, runpy\n"
        "with psycopg.connect(os.environ['DATABASE_URL']) as database:\n"
        "    database.execute('CREATE TABLE started ()')\n"
        "runpy.run_path('server.py')\n"
    )
    configure(project, {"postgres": {}, "api": server() | {"process": [sys.executable, "-c", code]}})
    report = project.up()
    ask(report)
    with psycopg.connect(report["variables"]["DATABASE_URL"]) as database:
        assert database.execute("SELECT count(*) FROM started").fetchone() == (0,)


def test_processes_wait_for_each_other_when_told(project: Project) -> None:
    """A process waits for another one that `depends_on` names."""
    code = "import os, socket, runpy\nsocket.create_connection(('127.0.0.1', int(os.environ['FIRST_PORT']))).close()\n"
    second = server(depends_on=["first"]) | {"process": [*QUICK, "-c", code + "runpy.run_path('server.py')"]}
    configure(project, {"second": second, "first": server()})
    report = project.up()
    assert ask(report, "second")["environment"]["FIRST_PORT"] == report["variables"]["FIRST_PORT"]


def test_an_up_of_what_runs_starts_nothing(project: Project) -> None:
    """An `up` without a change leaves the process as it is, also where the caller's variables are others."""
    configure(project, {"redis": {}, "api": server(inputs=["server.py"])})
    project.up()
    before = project.instances()
    assert before.keys() == {"redis", "api"}
    project.write("notes.txt", "no input\n")
    project.up(env={"CALLERS": "another"})
    assert project.instances() == before


@pytest.mark.parametrize("change", ["changed", "added", "removed"])
def test_changed_inputs_start_it_again(project: Project, change: str) -> None:
    """A file of its `inputs` that was changed, added or removed starts the process again, and no other service."""
    kept = project.write("src/deep/kept.py", "1\n")
    configure(project, {"redis": {}, "api": server(inputs=["src/**"])})
    port, before = project.up()["variables"]["API_PORT"], project.instances()
    if change == "removed":
        kept.unlink()
    else:
        project.write("src/deep/kept.py" if change == "changed" else "src/new/more.py", "another text\n")
    assert "changed: inputs" in project.run("up", "--dry-run", check=True).out
    report, after = project.up(), project.instances()
    assert report["variables"]["API_PORT"] == port
    assert ask(report)["environment"]["PORT"] == port
    assert (after["redis"] == before["redis"], after["api"] == before["api"]) == (True, False)


@pytest.mark.parametrize("change", [{"environment": {"A": "1"}}, {"process": [*QUICK, "server.py", "--new"]}])
def test_a_changed_definition_replaces_it(project: Project, change: dict[str, object]) -> None:
    """Another command or variable replaces the process, and no other service."""
    configure(project, {"redis": {}, "api": server()})
    project.up()
    before = project.instances()
    configure(project, {"redis": {}, "api": server() | change})
    answer, after = ask(project.up()), project.instances()
    assert (answer["arguments"] == ["--new"], answer["environment"].get("A") == "1") in [(True, False), (False, True)]
    assert (after["redis"] == before["redis"], after["api"] == before["api"]) == (True, False)


def test_a_process_that_is_no_longer_wanted(project: Project) -> None:
    """A service that was taken out of the configuration is ended by the next `up`, and its files are removed."""
    configure(project, {"redis": {}, "api": server()})
    pid = ask(project.up())["pid"]
    configure(project, {"redis": {}})
    project.up()
    assert pid not in project.processes()
    assert project.service_folders().keys() == {"redis"}


def test_a_process_becomes_the_kinds_own_and_back(project: Project) -> None:
    """A service that changes from a process of the repository to the kind's own program, or back, is replaced."""
    own = {"kind": "websocket", **script(WEBSOCKET)} | {"process": [sys.executable, "-c", WEBSOCKET]}
    configure(project, {"live": {"kind": "websocket"}})
    said = []
    for services in ({"live": own}, {"live": {"kind": "websocket"}}, {"live": own}):
        configure(project, services)
        before = project.first_processes() if said else {}
        report = project.up()
        assert not before.keys() & project.first_processes().keys() or before != project.first_processes()
        with connect(report["variables"]["LIVE_URL"]) as socket:
            socket.send(json.dumps({"type": "ping", "id": 1}))
            said.append(json.loads(socket.recv(timeout=5)).get("type"))
    assert said == ["own", "pong", "own"]


# -- what is asked of it while it runs -------------------------------------------------------------------------------


def test_logs_show_both_streams(project: Project) -> None:
    """`envctl logs` shows what it wrote to both of its streams, in order, and `--tail` the end of it."""
    configure(project, {"api": server()})
    port = project.up()["variables"]["API_PORT"]
    said = [f"listening on {port}", "and complaining"]
    assert project.run("logs", "api", check=True).out.splitlines() == said
    assert project.run("logs", "api", "--tail", "1", check=True).out.splitlines() == said[-1:]


def test_logs_follow(project: Project) -> None:
    """`envctl logs --follow` goes on with what is written later."""
    code = "import runpy, sys, threading\nthreading.Timer(1.0, print, ('later',), {'flush': True}).start()\n"
    configure(project, {"api": server() | {"process": [*QUICK, "-c", code + "runpy.run_path('server.py')"]}})
    project.up()
    following = project.start("logs", "--follow", "api")
    assert following.stdout is not None
    assert [following.stdout.readline().strip() for _ in range(3)][-1] == "later"
    following.send_signal(signal.SIGINT)
    following.communicate(timeout=5)


def test_exec_runs_beside_it(project: Project) -> None:
    """`envctl exec` runs a program with the variables and in the folder of the process; its exit code is told."""
    configure(project, {"redis": {}, "api": server(cwd="web", environment={"OWN": "{redis.url}"})})
    project.write("web/server.py", (project.root / "server.py").read_text())
    report = project.up()
    code = "import json, os; print(json.dumps([os.getcwd(), dict(os.environ)])); raise SystemExit(7)"
    done = project.run("exec", "api", "--", sys.executable, "-c", code)
    assert done.code == 7, done
    folder, environment = done.json
    assert folder == str(project.root / "web")
    assert environment["OWN"] == report["variables"]["REDIS_URL"]
    assert {name: environment.get(name) for name in report["variables"]} == report["variables"]
    assert environment["PORT"] == report["variables"]["API_PORT"]


def test_a_worker_without_a_port(project: Project) -> None:
    """A process without port has none, and is ready by what it says."""
    code = "import os, time\nprint('PORT' in os.environ, flush=True)\nprint('at work', flush=True)\ntime.sleep(600)"
    configure(project, {"redis": {}, "worker": script(code, ready={"log": "at work"})})
    report = project.up()
    assert not [name for name in report["variables"] if name.startswith("WORKER_")]
    assert project.run("logs", "worker", check=True).out.splitlines() == ["False", "at work"]
    assert project.run("status", "--format", "json", check=True).json["services"]["worker"]["state"] == "ready"


def test_a_check_by_a_command(project: Project) -> None:
    """`ready: {exec: …}` runs beside the process, in its folder: it is ready when the command succeeds."""
    code = "import time; time.sleep(0.4); open('made', 'w').close(); time.sleep(600)"
    project.allow_files("made")
    configure(project, {"worker": script(code, ready={"exec": ["test", "-e", "made"]})})
    project.up()
    assert (project.root / "made").exists()


WEBSOCKET = """
import json, os
from websockets.sync.server import serve

def handle(socket):
    for message in socket:
        socket.send(json.dumps({"type": "own"}))

with serve(handle, "127.0.0.1", int(os.environ["PORT"])) as server:
    server.serve_forever()
"""


def test_a_websocket_server_of_the_repository(project: Project) -> None:
    """A process of kind websocket is probed as one, and WS_URL leads to it."""
    service = {"kind": "websocket", "process": [sys.executable, "-c", WEBSOCKET], "path": "/live"}
    configure(project, {"api": service})
    url = project.up()["variables"]["WS_URL"]
    assert url.endswith("/live")
    with connect(url) as socket:
        socket.send("hello")
        assert json.loads(socket.recv(timeout=5)) == {"type": "own"}


@pytest.mark.provokes("SERVICE_NOT_READY")
def test_a_server_that_is_no_websocket(project: Project) -> None:
    """A process of kind websocket that answers HTTP but no upgrade is not taken for ready."""
    service = {"kind": "websocket", "process": [*QUICK, "server.py"], "path": "/live"}
    configure(project, {"api": service}, ready_timeout="1s")
    error = project.error("up")
    assert error["code"] == "SERVICE_NOT_READY"
    assert "200" in "\n".join([str(error["cause"]), *error["evidence"]])
    project.assert_nothing_left()


# -- how it ends -----------------------------------------------------------------------------------------------------


def test_it_is_asked_to_end_by_its_own_signal(project: Project) -> None:
    """`down` sends `stop_signal` and waits until the process has finished its work."""
    code = (
        "import os, signal, sys, time\n"
        "def end(number, frame):\n"
        "    time.sleep(0.3)\n"
        "    open('ended', 'w').write(signal.Signals(number).name)\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGINT, end)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('at work', flush=True)\n"
        "time.sleep(600)\n"
    )
    project.allow_files("ended")
    configure(project, {"worker": script(code, ready={"log": "at work"}, stop_signal="SIGINT")})
    project.up()
    project.run("down", check=True)
    assert (project.root / "ended").read_text() == "SIGINT"
    project.assert_nothing_left()


def test_a_crash_is_told_and_healed(project: Project) -> None:
    """After a crash `status` says that the process is gone, and `up` starts it alone again, on its port."""
    configure(project, {"redis": {}, "api": server()})
    port, before = project.up()["variables"]["API_PORT"], project.instances()
    project.kill("api")
    status = project.run("status", "--format", "json")
    assert status.code == 80, status
    states = {name: service["state"] for name, service in status.json["services"].items()}
    assert states == {"redis": "ready", "api": "exited"}
    report, after = project.up(), project.instances()
    assert report["variables"]["API_PORT"] == port == ask(report)["environment"]["PORT"]
    assert (after["redis"] == before["redis"], after["api"] == before["api"]) == (True, False)


def test_it_makes_files_as_its_caller_would(project: Project) -> None:
    """Files that it makes in the working tree have the permissions that they have when it is started by hand."""
    project.allow_files("made")
    configure(project, {"worker": script("import time; open('made', 'w').close(); time.sleep(600)")})
    project.up()
    made: Path = project.root / "made"
    assert eventually(made.exists)
    by_hand = project.folder / "by-hand"
    by_hand.touch()
    assert made.stat().st_mode == by_hand.stat().st_mode
