"""What Docker's words mean: one table from the text of a failure to the error envctl raises.

Classifying by words is the last choice, but Docker gives nothing better on its command line. Each row names the
versions whose real text it was taken from; `tests/unit/engines` holds those texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from envctl import errors
from envctl.engines.docker.reaching import denied, unreachable
from envctl.errors import EnvctlError, PortTaken, SubnetTaken

_LINES = 6
_FROM_ENGINE = "error response from daemon"


@dataclass(frozen=True, slots=True)
class _Row:
    pattern: re.Pattern[str]
    make: Callable[[str, Sequence[str]], EnvctlError]
    about_reaching: bool = False  # that the engine cannot be reached, which is not so when these are its own words


def _row(pattern: str, error: type[EnvctlError], message: str, *fix: str) -> _Row:
    def make(words: str, evidence: Sequence[str]) -> EnvctlError:
        return error(message, cause=words, evidence=evidence, fix=fix)

    return _Row(re.compile(pattern, re.IGNORECASE), make)


_TABLE = (
    _Row(
        re.compile(
            r"permission denied while trying to connect|dial unix .*: connect: permission denied", re.IGNORECASE
        ),
        denied,
        about_reaching=True,
    ),
    _Row(
        re.compile(
            r"cannot connect to the docker daemon|is the docker daemon running|error during connect|"
            r"dial (tcp|unix).*(connection refused|no such file|no route|i/o timeout|lookup )|"
            r"failed to connect to the docker api|context .* not found|unable to resolve docker endpoint",
            re.IGNORECASE,
        ),
        unreachable,
        about_reaching=True,
    ),
    _row(
        r"'compose' is not a docker command|unknown command: docker compose|unknown (shorthand )?flag.*|"
        r"docker-compose.*not found",
        errors.EngineNotInstalled,
        "Docker's Compose plugin is not installed",
        "install the Compose plugin (package docker-compose-plugin or docker-compose-v2); "
        "`docker compose version` must answer",
    ),
    _row(
        r"additional propert\w+ .*content|client version .* is too old|requires? (docker engine|api version)|"
        r"can't set healthcheck.start_interval|unsupported .*docker compose",
        errors.EngineTooOld,
        "Docker Engine or Compose is too old",
        "upgrade Docker Engine (23 or newer) and the Compose plugin (2.23.1 or newer)",
    ),
    _row(
        r"toomanyrequests|too many requests|rate limit|status(?: code)?:? 429",
        errors.ImageRateLimited,
        "the image's registry refused: too many pulls",
        "docker login, which raises the limit",
        "wait, or load the image by other means (docker load)",
    ),
    _row(
        r"pull access denied|unauthorized|authentication required|no basic auth credentials|denied: ",
        errors.ImageDenied,
        "the image's registry denied access",
        "check the image's name",
        "docker login REGISTRY, if it is private",
    ),
    _row(
        r"no matching manifest|does not match the (specified|detected) platform|exec format error",
        errors.ImagePlatform,
        "the image does not exist for this machine's architecture",
        "choose a tag that has this architecture",
    ),
    _row(
        r"manifest (for .* )?(not found|unknown)|repository .* not found|no such image|name unknown|"
        r"invalid reference format",
        errors.ImageAbsent,
        "the image does not exist",
        "check the image's name and tag",
    ),
    _row(
        r"first record does not look like a tls handshake|server gave http response to https client",
        errors.RegistryUnreachable,
        "the image's registry speaks plain HTTP, which the engine does not accept of it",
        "give the registry a certificate, or list it as insecure-registries in the engine's daemon.json",
    ),
    _row(
        r"failed to resolve|no such host|tls handshake timeout|net/http: request canceled|i/o timeout|"
        r"proxyconnect|server misbehaving|failed to do request|connection refused|connection reset|"
        r"temporary failure|unexpected eof|\b50[0234]\b|context deadline exceeded|"
        r"forbidden|x509|eof$",
        errors.RegistryUnreachable,
        "the image's registry could not be reached",
        "check the engine's network and proxy settings",
        "or load the image by hand: docker load < image.tar",
    ),
    _row(
        r"cannot assign requested address|can't assign requested address",
        errors.EngineFailed,
        "the engine's machine does not have the address that ports are to be published on",
        "name one that it has: publish_address in envctl.yaml; 0.0.0.0 is all of them, for whoever reaches the machine",
        "or reach the engine directly: DOCKER_HOST also says where its ports are looked for",
        "if the environment was brought up from elsewhere: envctl down, then envctl up",
    ),
    _row(
        r"no space left on device",
        errors.DiskFull,
        "the engine's disk is full",
        "free space: docker system df shows what uses it",
    ),
    _row(
        r"too many open files|resource temporarily unavailable|cannot allocate memory",
        errors.OsLimit,
        "a limit of the operating system was reached",
        "raise the limit named in the cause, or remove environments: envctl ls, envctl down",
    ),
    _row(
        r"all predefined address pools have been fully subnetted|non-overlapping ipv4 address pool",
        errors.SubnetsExhausted,
        "the Docker engine has no free subnet left",
        "remove unused networks: docker network prune",
        "remove environments: envctl ls, envctl down",
    ),
)

_PORT_TAKEN = re.compile(
    r"port is already allocated|address already in use|ports are not available|"
    r"failed to (bind|listen).*port|already in use by service",
    re.IGNORECASE,
)
_PORT = re.compile(r"(?:\d+\.\d+\.\d+\.\d+|\[[0-9a-f:]*\]|::|\s):(?P<port>\d{2,5})\b")  # ADDRESS:PORT, ":PORT"
_SUBNET_TAKEN = re.compile(r"pool overlaps|overlaps with (other|existing)|conflicts with network", re.IGNORECASE)


def classify(text: str, *, doing: str, answered: bool = False) -> Exception:
    """The error for a failed call.

    Args:
        text: What the program printed, raw.
        doing: What was tried, for the message where nothing better is known ("start the services").
        answered: Whether the engine itself said this: then what could not be reached is something else.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    words = _words(lines)
    if _PORT_TAKEN.search(text):
        found = _PORT.search(words)
        return PortTaken(int(found["port"]) if found else None, words)
    if _SUBNET_TAKEN.search(text):
        return SubnetTaken(words)
    answered = answered or _FROM_ENGINE in text.lower()
    for row in _TABLE:
        if row.pattern.search(text) and not (answered and row.about_reaching):
            return row.make(words, _evidence(lines))
    return errors.EngineFailed(
        f"Docker could not {doing}",
        cause=words or "it said nothing",
        evidence=_evidence(lines),
        fix=["act on Docker's message; envctl doctor checks the engine"],
    )


def image_failure(text: str, image: str) -> EnvctlError:
    """The error for an image that the engine could not have, naming it."""
    error = classify(text, doing=f"pull {image}", answered=True)
    if not isinstance(error, EnvctlError):
        error = errors.EngineFailed(f"Docker could not pull {image}", cause=str(error))
    error.message = f"{error.message}: {image}"
    error.args = (error.message,)
    error.subject["image"] = image
    return error


def _evidence(lines: Sequence[str]) -> Sequence[str]:
    """The last lines; a single line is the cause already."""
    return lines[-_LINES:] if len(lines) > 1 else ()


def _words(lines: Sequence[str]) -> str:
    """The line that says why: the last that looks like an error, without Docker's prefixes."""
    telling = [line for line in lines if re.search(r"error|denied|cannot|fail|refused|not ", line, re.IGNORECASE)]
    line = (telling or list(lines) or [""])[-1]
    return re.sub(r"^(error response from daemon|error|docker|failed to solve): *", "", line, flags=re.IGNORECASE)
