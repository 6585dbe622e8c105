"""Which Docker engine: the same rules as the `docker` program, without starting it.

Order: `DOCKER_HOST`, `DOCKER_CONTEXT`, the configured current context, the platform's default socket. Source: "docker
context" in Docker's command-line reference.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from envctl.model import LOOPBACK

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
_LOCAL_SCHEMES = ("unix", "npipe", "fd")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An engine's address.

    Attributes:
        address: "unix:///var/run/docker.sock", "tcp://10.0.0.5:2376", "ssh://user@host".
        context: Name of the Docker context it was taken from, or "".
        source: Which setting chose it, for people.
    """

    address: str
    context: str = ""
    source: str = "default"

    @property
    def arguments(self) -> list[str]:
        """Options that make the `docker` program use this endpoint, whatever is configured when it is called."""
        return ["--context", self.context] if self.context else ["--host", self.address]

    @property
    def is_local(self) -> bool:
        """Whether its ports are opened on this machine, so that they can be checked and guarded here."""
        return urlsplit(self.address).scheme in _LOCAL_SCHEMES or self.host.startswith("127.")

    @property
    def host(self) -> str:
        """The address at which clients reach published ports."""
        parts = urlsplit(self.address)
        if parts.scheme in _LOCAL_SCHEMES:
            return LOOPBACK
        return _address(parts.hostname or LOOPBACK)

    def __str__(self) -> str:
        """As stored in the registry; `parse` reads it back."""
        return f"{self.address} {self.context}".strip()


def _address(host: str) -> str:
    """A host's IP address: ports are published on an address, and a name could mean another one to a client."""
    try:
        return str(socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
    except OSError:
        return host  # what is wrong with it shows when the engine is called


def parse(text: str) -> Endpoint:
    """The endpoint that `str(endpoint)` gave."""
    address, _, context = text.partition(" ")
    return Endpoint(address, context, "recorded")


def resolve(environ: Mapping[str, str]) -> Endpoint:
    """The endpoint the `docker` program would use. Never raises: what is broken shows when the engine is called."""
    if address := environ.get("DOCKER_HOST"):
        return Endpoint(address, source="DOCKER_HOST")
    folder = config_folder(environ)
    chosen, source = environ.get("DOCKER_CONTEXT", ""), "DOCKER_CONTEXT"
    if not chosen:
        chosen, source = str(read_json(folder / "config.json").get("currentContext", "")), "current docker context"
    if chosen in ("", "default"):
        return Endpoint(DEFAULT_ADDRESS)
    import hashlib  # here, because OpenSSL takes 3 ms to load

    meta = folder / "contexts" / "meta" / hashlib.sha256(chosen.encode()).hexdigest() / "meta.json"
    endpoints = read_json(meta).get("Endpoints")
    docker = endpoints.get("docker") if isinstance(endpoints, dict) else None
    address = docker.get("Host") if isinstance(docker, dict) else None
    return Endpoint(str(address or DEFAULT_ADDRESS), chosen, f"{source} {chosen!r}")


def config_folder(environ: Mapping[str, str]) -> Path:
    """Where Docker's programs keep their settings."""
    return Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME", "/")) / ".docker")


def read_json(path: Path) -> Mapping[str, object]:
    """The JSON object in a file; empty where there is none."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
