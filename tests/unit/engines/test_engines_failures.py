"""Docker's words and what envctl makes of them. Each text was printed by a real program, named beside it."""

# ruff: noqa: E501 - texts are quoted as they were printed

from __future__ import annotations

import pytest

from envctl import errors
from envctl.engines.docker.failures import classify, image_failure
from envctl.errors import PortTaken, SubnetTaken

# Texts marked with a version were captured from it. Those marked "documented" are quoted from Docker's documentation or
# source, because that situation cannot be had on a test machine.
CALLS = [
    # docker 28.2.2 and 26.1.5, no socket
    (
        "Cannot connect to the Docker daemon at unix:///nowhere.sock. Is the docker daemon running?",
        errors.EngineUnreachable,
    ),
    # docker 28.2.2, DOCKER_HOST to a closed port
    (
        "Cannot connect to the Docker daemon at tcp://127.0.0.1:9. Is the docker daemon running?",
        errors.EngineUnreachable,
    ),
    # docker 28.2.2, unknown context
    (
        (
            'Failed to initialize: unable to resolve docker endpoint: context "nope": context not found: open '
            "/home/u/.docker/contexts/meta/ca37/meta.json: no such file or directory"
        ),
        errors.EngineUnreachable,
    ),
    # docker 28.2.2, ssh:// to a host that refuses
    (
        (
            'error during connect: Get "http://docker.example.com/v1.50/version": command [ssh -o ConnectTimeout=30 -T -- '
            "h docker system dial-stdio] has exited with exit status 255, make sure the URL is valid, and Docker 18.09 or "
            "later is installed on the remote host: stderr=ssh: connect to host h port 22: Connection refused"
        ),
        errors.EngineUnreachable,
    ),
    # docker 28.2.2, socket of another user
    (
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get "
            '"http://%2Fvar%2Frun%2Fdocker.sock/v1.50/containers/json": dial unix /var/run/docker.sock: connect: permission '
            "denied"
        ),
        errors.EngineDenied,
    ),
    # docker 28.2.2 without Compose plugin, as envctl calls it
    (
        (
            "unknown flag: --project-name\n\nUsage:  docker [OPTIONS] COMMAND [ARG...]\n\n"
            "Run 'docker --help' for more information"
        ),
        errors.EngineNotInstalled,
    ),
    # docker 26.1.5 without Compose plugin
    ("docker: 'compose' is not a docker command.\nSee 'docker --help'", errors.EngineNotInstalled),
    # docker 28.2.2 without Compose plugin
    (
        "docker: unknown command: docker compose\n\nRun 'docker --help' for more information",
        errors.EngineNotInstalled,
    ),
    # Compose 2.20.3, inline config
    (
        "validating /s/compose.yaml: configs.redis_healthcheck Additional property content is not allowed",
        errors.EngineTooOld,
    ),
    # documented: an engine whose API is too old
    (
        (
            "Error response from daemon: client version 1.24 is too old. Minimum supported API version is 1.44, please "
            "upgrade your client to a newer version"
        ),
        errors.EngineTooOld,
    ),
    # docker 26.1.5, name of somebody else's container
    (
        (
            'Error response from daemon: Conflict. The container name "/shop-redis-1" is already in use by container '
            '"3b94b66af7c96dbb". You have to remove (or rename) that container to be able to reuse that name.'
        ),
        errors.EngineFailed,
    ),
    # documented, moby libnetwork/ipamapi/contract.go: engines from 27 on, and before
    (
        "Error response from daemon: all predefined address pools have been fully subnetted",
        errors.SubnetsExhausted,
    ),
    (
        (
            "Error response from daemon: could not find an available, non-overlapping IPv4 address pool among the defaults "
            "to assign to the network"
        ),
        errors.SubnetsExhausted,
    ),
    # documented
    (
        (
            "Error response from daemon: failed to create task for container: write /var/lib/docker/tmp/x: no space left on "
            "device"
        ),
        errors.DiskFull,
    ),
    ("fork/exec /usr/bin/docker: resource temporarily unavailable", errors.OsLimit),
    ("accept unix /var/run/docker.sock: accept4: too many open files", errors.OsLimit),
    # docker 26.1.5, published on an address that is another machine's
    (
        (
            "Error response from daemon: driver failed programming external connectivity on endpoint a (1a6c0624b289): "
            "Error starting userland proxy: listen tcp4 10.99.99.99:12345: bind: cannot assign requested address"
        ),
        errors.EngineFailed,
    ),
    # nobody knows
    ("something nobody has ever seen", errors.EngineFailed),
    ("", errors.EngineFailed),
]


@pytest.mark.parametrize(("text", "expected"), CALLS)
def test_calls_are_classified(text: str, expected: type[errors.EnvctlError]) -> None:
    """Each text of a failed call becomes its error, with a cause in Docker's words and a way out."""
    error = classify(text, doing="start the services")
    assert type(error) is expected
    assert isinstance(error, errors.EnvctlError)
    assert error.fix
    assert error.cause
    assert error.message


PULLS = [
    # docker 26.1.5, a host that does not exist
    (
        'Get "https://nowhere.invalid/v2/": dial tcp: lookup nowhere.invalid on 10.0.0.53:53: no such host',
        errors.RegistryUnreachable,
    ),
    # docker 26.1.5, a closed port
    ('Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused', errors.RegistryUnreachable),
    # docker 26.1.5, and documented for others: a registry without TLS
    (
        'Get "https://172.17.0.1:38799/v2/": tls: first record does not look like a TLS handshake',
        errors.RegistryUnreachable,
    ),
    (
        'Get "https://10.0.0.7:5000/v2/": http: server gave HTTP response to HTTPS client',
        errors.RegistryUnreachable,
    ),
    # documented, moby registry/ and Docker Hub
    (
        (
            'Get "https://registry.example/v2/": net/http: request canceled while waiting for connection '
            "(Client.Timeout exceeded while awaiting headers)"
        ),
        errors.RegistryUnreachable,
    ),
    ('Get "https://registry.example/v2/": net/http: TLS handshake timeout', errors.RegistryUnreachable),
    ("received unexpected HTTP status: 503 Service Unavailable", errors.RegistryUnreachable),
    ("unexpected EOF", errors.RegistryUnreachable),
    (
        (
            "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and "
            "upgrading: https://www.docker.com/increase-rate-limit"
        ),
        errors.ImageRateLimited,
    ),
    (
        (
            "pull access denied for shop/secret, repository does not exist or may require 'docker login': denied: requested "
            "access to the resource is denied"
        ),
        errors.ImageDenied,
    ),
    ('Head "https://r.example.com/v2/x/manifests/1": no basic auth credentials', errors.ImageDenied),
    ("manifest for redis:999 not found: manifest unknown: manifest unknown", errors.ImageAbsent),
    ("no matching manifest for linux/riscv64 in the manifest list entries", errors.ImagePlatform),
    # docker 26.1.5
    ("invalid reference format: repository name (library/Bad Ref) must be lowercase", errors.ImageAbsent),
]


@pytest.mark.parametrize("prefix", ["", "Error response from daemon: "])
@pytest.mark.parametrize(("text", "expected"), PULLS)
def test_pulls_are_classified(prefix: str, text: str, expected: type[errors.EnvctlError]) -> None:
    """A failed pull becomes the error of its cause and names the image; that the registry is away is not the engine."""
    error = image_failure(prefix + text, "shop/api:1")
    assert type(error) is expected
    assert "shop/api:1" in str(error)
    assert error.subject["image"] == "shop/api:1"
    assert error.fix


def test_the_engines_own_words_never_mean_that_it_is_away() -> None:
    """What the engine itself says about a connection is about somebody else's."""
    text = "Error response from daemon: dial tcp 10.0.0.1:443: connect: connection refused"
    assert not isinstance(classify(text, doing="x"), errors.EngineUnreachable)


PORTS = [
    # docker 26.1.5: a port of another container
    (
        (
            "Error response from daemon: driver failed programming external connectivity on endpoint capc-a-1 "
            "(3eeab342b0e95cb8e48756d6ae06cf77): Bind for 127.0.0.1:29999 failed: port is already allocated"
        ),
        29999,
    ),
    # docker 26.1.5: a port of another program
    (
        (
            "Error response from daemon: driver failed programming external connectivity on endpoint b (ffd983175d7c89): "
            "Error starting userland proxy: listen tcp4 127.0.0.1:29998: bind: address already in use"
        ),
        29998,
    ),
    # documented, engines from 28 on
    (
        (
            "Error response from daemon: failed to set up container networking: driver failed programming external "
            "connectivity on endpoint x (61ab): failed to bind host port for 127.0.0.1:20431:172.18.0.2:5432/tcp: address "
            "already in use"
        ),
        20431,
    ),
    # documented, Docker Desktop
    (
        (
            "Error response from daemon: Ports are not available: exposing port TCP 127.0.0.1:20500 -> 127.0.0.1:0: listen "
            "tcp4 127.0.0.1:20500: bind: address already in use"
        ),
        20500,
    ),
    # docker 26.1.5, published on all addresses
    ("Error response from daemon: driver failed: Bind for 0.0.0.0:8080 failed: port is already allocated", 8080),
    ("Error response from daemon: driver failed: Bind for :::8080 failed: port is already allocated", 8080),
    ("Error starting userland proxy: listen tcp6 [::1]:8081: bind: address already in use", 8081),
    ("Error starting userland proxy: listen tcp :8082: bind: address already in use", 8082),
    # a text that tells no port
    ("Error response from daemon: port is already allocated", None),
]


@pytest.mark.parametrize(("text", "port"), PORTS)
def test_taken_ports_are_found_in_the_text(text: str, port: int | None) -> None:
    """A port that is in use is named, whatever program has it, with Compose's progress lines before it."""
    progress = " Network shop  Created\n Container shop-redis-1  Starting\n"
    taken = classify(progress + text, doing="start the services")
    assert isinstance(taken, PortTaken)
    assert taken.port == port


@pytest.mark.parametrize(
    "text",
    [
        # docker 26.1.5
        "Error response from daemon: Pool overlaps with other one on this address space",
        # documented, engines from 28 on
        "Error response from daemon: invalid pool request: Pool overlaps with other one on this address space",
        (
            "failed to create network shop: Error response from daemon: cannot create network 1 (br-1): conflicts with "
            "network 2 (br-2): networks have overlapping IPv4"
        ),
    ],
)
def test_taken_subnets_are_recognized(text: str) -> None:
    """A subnet that overlaps another network's is a reason to choose another one."""
    assert isinstance(classify(text, doing="start the services"), SubnetTaken)


def test_cause_is_the_line_that_says_why() -> None:
    """Compose's progress lines are evidence; the cause is the error itself, without Docker's prefix."""
    text = " Container shop-redis-1  Creating\nError response from daemon: something failed here\n"
    error = classify(text, doing="start the services")
    assert isinstance(error, errors.EnvctlError)
    assert error.cause == "something failed here"
    assert "Container shop-redis-1  Creating" in error.evidence
