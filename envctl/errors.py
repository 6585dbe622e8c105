"""The error tree. Each leaf is one situation with one stable code; its class gives the exit code of the program.

    EnvctlError                                  1   a bug unless a subclass says otherwise
      Bug                   BUG                  1
      InstallationBroken    INSTALLATION_BROKEN
      UsageError            USAGE                2
      ConfigInvalid         CONFIG_INVALID      65
      NotFound                                  66
        EnvironmentNotFound NO_ENVIRONMENT
        ServiceNotFound     NO_SERVICE
        ConfigNotFound      NO_CONFIG
        CodeNotFound        NO_CODE
        ProcessNotFound     NO_PROCESS
        SnapshotNotFound    NO_SNAPSHOT
      EngineUnavailable                         69
        EngineNotInstalled  ENGINE_NOT_INSTALLED
        EngineUnreachable   ENGINE_UNREACHABLE
        EngineTimeout       ENGINE_TIMEOUT
        EngineFailed        ENGINE_FAILED
      OsLimit               OS_LIMIT            71
      CannotWrite           CANNOT_WRITE        73
      StateDamaged          STATE_DAMAGED       74
      Busy                  ENVIRONMENT_BUSY    75
      EnvironmentInUse      ENVIRONMENT_IN_USE  75
      Incompatible                              76
        EngineTooOld        ENGINE_TOO_OLD
        RegistryNewer       REGISTRY_NEWER
      Denied                                    77
        EngineDenied        ENGINE_DENIED
        StateDenied         STATE_DENIED
      Refused                                   78
        NotOurs             NOT_OURS
        ForeignServer       FOREIGN_SERVER
        OtherEngine         OTHER_ENGINE
        UnsafeSetting       UNSAFE_SETTING
        Unsupported         UNSUPPORTED
        WouldOverwrite      WOULD_OVERWRITE
      NotReady                                  80
        ServiceExited       SERVICE_EXITED
        ServiceNotReady     SERVICE_NOT_READY
      PortError                                 81
        PortInUse           PORT_IN_USE
        PortsExhausted      PORTS_EXHAUSTED
      NetworkError                              82
        SubnetsExhausted    SUBNETS_EXHAUSTED
        AddressUnreachable  ADDRESS_UNREACHABLE
      ImageError                                83
        ImageAbsent         IMAGE_ABSENT
        ImageDenied         IMAGE_DENIED
        ImageRateLimited    IMAGE_RATE_LIMITED
        ImagePlatform       IMAGE_PLATFORM
        RegistryUnreachable REGISTRY_UNREACHABLE
        BuildFailed         BUILD_FAILED
      ResourceError                             84
        OutOfMemory         OUT_OF_MEMORY
        DiskFull            DISK_FULL
      Leftovers             LEFTOVERS           85
      DataError                                 86
        DataFailed          DATA_FAILED
        SeedFailed          SEED_FAILED
        MigrationFailed     MIGRATION_FAILED
        NoBaseline          NO_BASELINE
        ResetBlocked        RESET_BLOCKED
        DataDirty           DATA_DIRTY
        SnapshotInvalid     SNAPSHOT_INVALID
      CommandNotExecutable  COMMAND_NOT_EXECUTABLE  126
      CommandNotFound       COMMAND_NOT_FOUND   127
      Interrupted           INTERRUPTED         128 + signal

The docstring of each leaf is what `envctl explain CODE` prints: the situation, then how to get out of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar


class EnvctlError(Exception):
    """Something envctl expected might fail.

    Args:
        message: What failed, in one sentence without a final stop, naming the object.
        cause: The cause found, or None where the message says it.
        evidence: Lines that prove it (log lines, answers), raw: they are escaped where they are printed.
        fix: What to do, most likely first.
        subject: The things it is about: {"service": "postgres", "port": 20431}.
        state: What state things are in now ("nothing was created"); set by whoever knows, often the conductor.
        leftovers: What could not be removed.
    """

    code: ClassVar[str] = "FAILED"
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        cause: str | None = None,
        evidence: Sequence[str] = (),
        fix: Sequence[str] = (),
        subject: Mapping[str, object] | None = None,
        state: str | None = None,
        leftovers: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.evidence = tuple(evidence)
        self.fix = tuple(fix)
        self.subject: dict[str, object] = dict(subject or {})
        self.state = state
        self.leftovers = tuple(leftovers)
        self.exit_as: int | None = None

    @property
    def exit(self) -> int:
        """The program's exit code for this error: `exit_as` where a command has codes of its own, as `envctl run`."""
        return self.exit_code if self.exit_as is None else self.exit_as

    def as_dict(self) -> dict[str, Any]:
        """The error as `--format json` prints it, under the key "error"."""
        return {
            "error": {
                "code": self.code,
                "exit": self.exit,
                "message": self.message,
                "cause": self.cause,
                "evidence": list(self.evidence),
                "fix": list(self.fix),
                "subject": self.subject,
                "retryable": self.retryable,
                "state": self.state,
                "leftovers": list(self.leftovers),
            }
        }


class InstallationBroken(EnvctlError):
    """A file that belongs to envctl itself is missing or damaged.

    Fix: install envctl again; a checkout must hold compose/ and healthchecks/ beside the package.
    """

    code = "INSTALLATION_BROKEN"


class Bug(EnvctlError):
    """Something happened that envctl did not expect. What is known about it was saved to the file that is named.

    Fix: run the command again with `-v`; if it fails again, report it with that file, which holds no passwords.
    """

    code = "BUG"
    exit_code = 1


class UsageError(EnvctlError):
    """The command line is wrong: an unknown option, a bad name or value.

    Fix: `envctl COMMAND --help` shows what is accepted.
    """

    code = "USAGE"
    exit_code = 2


class ConfigInvalid(EnvctlError):
    """The configuration file has errors; all of them are listed, each with file:line:column.

    Fix: correct each line. `envctl schema` prints the JSON Schema that editors use to complete and check the file.
    """

    code = "CONFIG_INVALID"
    exit_code = 65


class NotFound(EnvctlError):
    """Something named does not exist."""

    exit_code = 66


class EnvironmentNotFound(NotFound):
    """There is no environment for this branch and checkout (or of the given name).

    Fix: `envctl up` creates it; `envctl ls` shows those that exist.
    """

    code = "NO_ENVIRONMENT"


class ServiceNotFound(NotFound):
    """The environment has no service of that name.

    Fix: `envctl status` lists its services.
    """

    code = "NO_SERVICE"


class ConfigNotFound(NotFound):
    """The configuration file given with `--file` does not exist or cannot be read.

    Fix: check the path; without `--file` the nearest envctl.yaml up to the repository's root is used, else the default.
    """

    code = "NO_CONFIG"


class CodeNotFound(NotFound):
    """There is no error code of that name.

    Fix: `envctl explain` lists all codes.
    """

    code = "NO_CODE"


class ProcessNotFound(NotFound):
    """The process that `--while-pid` names is not there, so nothing can be made for it.

    Fix: give the number of a process that runs, such as `$$` in a shell.
    """

    code = "NO_PROCESS"


class SnapshotNotFound(NotFound):
    """There is no snapshot of this name for this project.

    Fix: `envctl snapshot ls` shows those there are; `envctl snapshot save NAME` makes one.
    """

    code = "NO_SNAPSHOT"


class EngineUnavailable(EnvctlError):
    """No container engine can be used."""

    exit_code = 69
    retryable = True


class EngineNotInstalled(EngineUnavailable):
    """The `docker` program, or its Compose plugin, is not installed.

    Fix: install Docker Engine with the Compose plugin; `docker compose version` must answer.
    """

    code = "ENGINE_NOT_INSTALLED"
    retryable = False


class EngineUnreachable(EngineUnavailable):
    """Docker is installed but its engine does not answer: stopped, or DOCKER_HOST or the context points elsewhere.

    Fix: start the engine, or correct DOCKER_HOST / `docker context use`; `envctl doctor` shows the endpoint and which
    setting chose it.
    """

    code = "ENGINE_UNREACHABLE"


class EngineTimeout(EngineUnavailable):
    """The engine accepted a request and did not answer within the limit.

    Fix: look at the engine's log; restarting it usually helps. Anything half made is removed by the next command.
    """

    code = "ENGINE_TIMEOUT"


class EngineFailed(EngineUnavailable):
    """The engine refused or failed an operation for a reason envctl has no better name for; its words are shown.

    Fix: act on the engine's message; `envctl -v …` shows each call that was made.
    """

    code = "ENGINE_FAILED"


class OsLimit(EnvctlError):
    """A limit of the operating system was reached: open files, processes, inotify watches.

    Fix: raise the named limit or remove other environments (`envctl ls`, `envctl down`).
    """

    code = "OS_LIMIT"
    exit_code = 71


class CannotWrite(EnvctlError):
    """A file could not be written: the disk is full or read-only, or there is no home directory.

    Fix: free space, or point ENVCTL_STATE_DIR to a directory that can be written.
    """

    code = "CANNOT_WRITE"
    exit_code = 73


class StateDamaged(EnvctlError):
    """The registry is damaged and could not be rebuilt from the labels of what runs.

    Fix: move the named file away; running environments are found again by their labels once the engine answers.
    """

    code = "STATE_DAMAGED"
    exit_code = 74


class Busy(EnvctlError):
    """Another envctl process works on the same environment and did not finish within the time limit.

    Fix: wait for the named process or raise `--timeout`; an environment of another name is not affected.
    """

    code = "ENVIRONMENT_BUSY"
    exit_code = 75
    retryable = True


class EnvironmentInUse(EnvctlError):
    """A test run, or another process that asked for the environment, still uses it; it is not taken away from it.

    Fix: wait until the named process ends, or end it; `envctl down --force` removes the environment all the same.
    """

    code = "ENVIRONMENT_IN_USE"
    exit_code = 75
    retryable = True


class Incompatible(EnvctlError):
    """Two versions do not fit together."""

    exit_code = 76


class EngineTooOld(Incompatible):
    """Docker Engine or Compose is older than envctl needs (Compose 2.23.1, Engine 23).

    Fix: upgrade Docker Engine and the Compose plugin.
    """

    code = "ENGINE_TOO_OLD"


class RegistryNewer(Incompatible):
    """The registry was written by a newer envctl. Nothing was changed.

    Fix: upgrade envctl, or use another state directory with ENVCTL_STATE_DIR.
    """

    code = "REGISTRY_NEWER"


class Denied(EnvctlError):
    """The operating system denied access."""

    exit_code = 77


class EngineDenied(Denied):
    """This user may not use the engine's socket.

    Fix: add the user to the group that owns the socket (usually `docker`) and log in again, or use a rootless engine.
    """

    code = "ENGINE_DENIED"


class StateDenied(Denied):
    """The state directory belongs to another user or is open to others; it holds passwords, so it is not used.

    Fix: correct its owner and mode as shown, or choose another directory with ENVCTL_STATE_DIR.
    """

    code = "STATE_DENIED"


class Refused(EnvctlError):
    """Refused for safety."""

    exit_code = 78


class NotOurs(Refused):
    """A container, network or volume has the name envctl needs but was not made by this envctl; it is not touched.

    Fix: rename or remove it yourself, or use another environment name (`--name`).
    """

    code = "NOT_OURS"


class ForeignServer(Refused):
    """The server at a service's address does not prove to be this environment's, so its data is not touched.

    Fix: `envctl status` shows what is up; `envctl up` brings this environment's own server back.
    """

    code = "FOREIGN_SERVER"


class OtherEngine(Refused):
    """The environment runs on another engine than the one that is asked for now; its data would be lost on the way.

    Fix: `envctl down` first, or make a second environment beside it with `--name`.
    """

    code = "OTHER_ENGINE"


class UnsafeSetting(Refused):
    """The configuration asks for something that breaks isolation, such as mounting `/` or the Docker socket.

    Fix: remove the setting; named volumes and read-only files of the project are accepted.
    """

    code = "UNSAFE_SETTING"


class Unsupported(Refused):
    """The chosen engine cannot do what the configuration asks for.

    Fix: choose another engine with `--engine`, or change the named service.
    """

    code = "UNSUPPORTED"


class WouldOverwrite(Refused):
    """A file that may hold somebody's work is in the way of one that envctl was asked to write.

    Fix: repeat the command with `--force`, or move the file away.
    """

    code = "WOULD_OVERWRITE"


class NotReady(EnvctlError):
    """Started, but not usable."""

    exit_code = 80


class ServiceExited(NotReady):
    """A service ended while its readiness was waited for; its exit code and last lines are shown.

    Fix: read the lines; usual causes are a wrong command, a missing setting or a damaged data volume.
    """

    code = "SERVICE_EXITED"


class ServiceNotReady(NotReady):
    """A service runs but did not become ready before the deadline; the probe's last answers are shown.

    Fix: read its log; raise `ready_timeout` or `--timeout` if it only needs longer.
    """

    code = "SERVICE_NOT_READY"


class PortError(EnvctlError):
    """No port."""

    exit_code = 81


class PortInUse(PortError):
    """A port fixed in the configuration is taken; the holder is named where it can be known.

    Fix: stop the holder, or delete the fixed port so that a free one is leased.
    """

    code = "PORT_IN_USE"


class PortsExhausted(PortError):
    """No free port could be found in the range.

    Fix: remove environments that are no longer needed (`envctl ls`, `envctl down`).
    """

    code = "PORTS_EXHAUSTED"


class NetworkError(EnvctlError):
    """No network."""

    exit_code = 82


class SubnetsExhausted(NetworkError):
    """No free subnet could be found for the environment's network.

    Fix: remove environments or unused networks (`docker network prune`); a VPN may route the whole range.
    """

    code = "SUBNETS_EXHAUSTED"


class AddressUnreachable(NetworkError):
    """We run in a container of the Docker engine, and no address of its machine can be reached from inside.

    Fix: run the job with `--network host` or in a bridge network; or set `publish_address` to an address it reaches.
    """

    code = "ADDRESS_UNREACHABLE"


class ImageError(EnvctlError):
    """No image."""

    exit_code = 83


class ImageAbsent(ImageError):
    """The image does not exist in its registry.

    Fix: check its name and tag.
    """

    code = "IMAGE_ABSENT"


class ImageDenied(ImageError):
    """The registry wants a login for this image, or the image does not exist there (registries do not tell which).

    Fix: `docker login REGISTRY`, or check the name.
    """

    code = "IMAGE_DENIED"


class ImageRateLimited(ImageError):
    """The registry refused: too many pulls.

    Fix: `docker login` raises the limit; a mirror or an image pulled earlier avoids it.
    """

    code = "IMAGE_RATE_LIMITED"
    retryable = True


class ImagePlatform(ImageError):
    """The image does not exist for this machine's architecture.

    Fix: choose another tag, or an engine with emulation.
    """

    code = "IMAGE_PLATFORM"


class RegistryUnreachable(ImageError):
    """The image is not on the engine and its registry could not be reached.

    Fix: check the network and proxy of the engine; or load the image by hand (`docker load`).
    """

    code = "REGISTRY_UNREACHABLE"
    retryable = True


class BuildFailed(ImageError):
    """Building the service's image failed; the last lines of the build are shown.

    Fix: run the shown `docker build` by hand and correct the Dockerfile.
    """

    code = "BUILD_FAILED"


class ResourceError(EnvctlError):
    """Not enough of something."""

    exit_code = 84


class OutOfMemory(ResourceError):
    """The kernel killed a service at its memory limit.

    Fix: raise `memory` of that service.
    """

    code = "OUT_OF_MEMORY"


class DiskFull(ResourceError):
    """The engine's disk is full.

    Fix: free space; `docker system df` shows what uses it.
    """

    code = "DISK_FULL"


class Leftovers(EnvctlError):
    """The environment was removed except for what is listed.

    Fix: remove the cause shown for each and run `envctl down` again.
    """

    code = "LEFTOVERS"
    exit_code = 85
    retryable = True


class DataError(EnvctlError):
    """What was to be done with the data of a service was not done."""

    exit_code = 86


class DataFailed(DataError):
    """What was to be done with the data of a service failed: a copy, a clearing; the server's words are shown.

    Fix: act on the server's words; `envctl status` shows whether it is ready, `envctl logs SERVICE` what it said.
    """

    code = "DATA_FAILED"


class SeedFailed(DataError):
    """A file or command of `seed` failed; the place in it and the server's words are shown. Nothing of the file stays.

    Fix: mend the file at the line shown, or the command, and run `envctl up` (or `envctl seed`) again.
    """

    code = "SEED_FAILED"


class MigrationFailed(DataError):
    """The command of `migrate` failed; what it said last is shown. What it did is not used for any environment.

    Fix: mend the migration and run `envctl up` again; `envctl up --keep-failed` keeps the database it failed in.
    """

    code = "MIGRATION_FAILED"


class NoBaseline(DataError):
    """There is nothing a reset could go back to: the service has neither `seed` nor `migrate`, and no baseline was set.

    Fix: give the service `seed` or `migrate`, or take what it holds now: `envctl reset --new-baseline`.
    """

    code = "NO_BASELINE"


class ResetBlocked(DataError):
    """A reset could not get at the data, because other sessions hold locks on it and were not to be ended.

    Fix: end their transactions; the sessions and what they ran last are shown.
    """

    code = "RESET_BLOCKED"
    retryable = True


class DataDirty(DataError):
    """Something that changes the environment's data was begun and not ended (killed, or failed half-way).

    Fix: `envctl reset` or `envctl snapshot restore NAME` puts the data right; `envctl up --fresh` begins anew.
    """

    code = "DATA_DIRTY"


class SnapshotInvalid(DataError):
    """A snapshot's file is damaged, holds what none may hold, or fits no service of this environment.

    Fix: export it again; a snapshot fits environments with a service of the same name and kind.
    """

    code = "SNAPSHOT_INVALID"


class CommandNotExecutable(EnvctlError):
    """The command that was to be run is there, but the system cannot run it.

    Fix: make it executable (`chmod +x`), give a script a first line such as `#!/bin/sh`, or install the program that is
    meant for this machine.
    """

    code = "COMMAND_NOT_EXECUTABLE"
    exit_code = 126


class CommandNotFound(EnvctlError):
    """The command that was to be run does not exist.

    Fix: check its spelling; a program that is not in PATH needs its path. Shell syntax needs a shell: `sh -c "…"`.
    """

    code = "COMMAND_NOT_FOUND"
    exit_code = 127


class Interrupted(EnvctlError):
    """A signal ended the command; what it had begun was rolled back.

    Fix: none needed; run the command again when you like.
    """

    code = "INTERRUPTED"
    exit_code = 130
    retryable = True

    def __init__(self, signal_number: int, *, state: str | None = None, leftovers: Sequence[str] = ()) -> None:
        super().__init__("interrupted", subject={"signal": signal_number}, state=state, leftovers=leftovers)
        self.signal_number = signal_number

    @property
    def exit(self) -> int:
        """128 plus the signal's number, as shells have it."""
        return 128 + self.signal_number


def leaves() -> Iterator[type[EnvctlError]]:
    """Every error class that carries a code, in the order of this file."""

    def below(cls: type[EnvctlError]) -> Iterator[type[EnvctlError]]:
        for sub in cls.__subclasses__():
            if "code" in vars(sub):
                yield sub
            yield from below(sub)

    yield from below(EnvctlError)


# -- between an engine and the conductor; nobody else sees them ------------------------------------------------------


class PortTaken(Exception):
    """The engine says that a host port is in use. The conductor answers with another port, or with PortInUse.

    Attributes:
        port: The port, or None where the text does not tell.
    """

    def __init__(self, port: int | None, text: str) -> None:
        super().__init__(text)
        self.port = port
        self.text = text


class SubnetTaken(Exception):
    """The engine says that a subnet overlaps another network. The conductor answers with another subnet."""
