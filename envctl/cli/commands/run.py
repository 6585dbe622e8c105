"""Run a command with this branch's environment around it.

The environment is brought up, the command runs with its variables, and what was made for it is removed: also if it
fails, is interrupted, or envctl itself is killed. An environment that was up already is used and stays up. The exit
code is the command's; 125 where envctl failed, 126 and 127 where the command could not be run. If it fails, the
services' logs of that time are kept. `--` may be left out where the command begins with no option.

With `--workers N` the command runs N times at once, with ENVCTL_WORKER from 1 to N and variables that lead each one to
data of its own: a database, a number in Redis, and a prefix of channels, ENVCTL_CHANNEL_PREFIX. Its lines begin with
"[1] ", and the exit code is that of the first worker that failed.

Examples:
  envctl run -- pytest -n 4
  envctl run --keep-failed --artifacts logs -- npx vitest run
  envctl run --workers 4 -- sh -c './tests.sh --part $ENVCTL_WORKER/$ENVCTL_WORKERS'
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from envctl.cli import output, progress, up_options
from envctl.cli.command import command
from envctl.cli.services import secrets
from envctl.cli.settings import Settings
from envctl.errors import EnvctlError, Interrupted, UsageError
from envctl.host.log import keep_secret
from envctl.report import EnvironmentReport
from envctl.running import Run, RunWishes

if TYPE_CHECKING:
    from envctl.model import PullPolicy

_FORMATS = ("text", "json")
_MOST = 100


@command(__doc__, formats=_FORMATS, stops=True, timeout=True, fails_as=125)
@click.argument("words", metavar="[--] COMMAND [ARGS]...", nargs=-1, type=click.UNPROCESSED)
@click.option("--keep", is_flag=True, help="Leave the environment up afterwards.")
@click.option("--keep-failed", is_flag=True, help="Leave it up if the command fails, to look at it.")
@up_options.fresh
@up_options.ttl
@up_options.pull
@click.option("--workers", type=click.IntRange(1, _MOST), metavar="N", help="Run it N times at once; see above.")
@click.option("--artifacts", type=click.Path(path_type=Path, file_okay=False), help="Where logs go if it fails.")
def command_line(
    settings: Settings,
    words: tuple[str, ...],
    *,
    keep: bool,
    keep_failed: bool,
    fresh: bool,
    ttl_s: float | None,
    pull: PullPolicy | None,
    workers: int | None,
    artifacts: Path | None,
) -> int:
    """Run it."""
    settings.choose_format(_FORMATS)
    if not any(words):
        fix = ["envctl run -- pytest", "envctl run -- sh -c 'npm run migrate && npm test'"]
        raise UsageError("there is no command to run", fix=fix)
    folder = artifacts.absolute() if artifacts else None
    wishes = RunWishes(keep, keep_failed, fresh, ttl_s, settings.timeout_s, folder)
    selection = replace(settings.selection(), pull=pull)
    if workers is None:
        return _run(settings, Run(selection, wishes), words)
    from envctl.running_workers import WorkersRun

    return _run(settings, WorkersRun(selection, wishes, workers), words)


def _run(settings: Settings, run: Run, words: tuple[str, ...]) -> int:
    with progress.start(settings, "envctl up") as teller:
        report = run.up(teller)
    try:
        _tell_ready(report)
        code = run.execute(words)
        if code:
            _keep_artifacts(run)
    except BaseException:
        _end(settings, run)
        raise
    _end(settings, run)
    return run.code if run.code is not None else code


def _tell_ready(report: EnvironmentReport) -> None:
    keep_secret(secrets(report))
    if output.ci_system():
        from envctl.cli import ci_output

        ci_output.mask(secrets(report))
        ci_output.summary(report)


def _keep_artifacts(run: Run) -> None:
    """The command has failed; that its services' logs cannot be kept is told, and must not hide how it failed."""
    try:
        kept = run.keep_artifacts()
    except Interrupted:
        raise
    except EnvctlError as error:
        output.say(f"the services' logs could not be kept: {error.message}{f' ({error.cause})' if error.cause else ''}")
        return
    if kept is None:
        return
    if output.ci_system():
        from envctl.cli import ci_output

        ci_output.service_logs(kept.folder, kept.last_lines)
    else:
        output.say(f"the services' logs of this run: {kept.folder}")


def _end(settings: Settings, run: Run) -> None:
    with progress.start(settings, "envctl down") as teller:
        run.end(teller)
    if run.keeps_failed:
        output.say("the environment stays up (--keep-failed); to remove it: envctl down")
