"""What an engine tells of all stacks at once, and what is read from it. Answers as Docker Engine 26.1.5 gives them."""

from __future__ import annotations

from typing import Any

import pytest
from fake_docker import FakeDocker

from envctl.engines.docker.endpoint import Endpoint
from envctl.engines.docker.overview import Weighing, running
from envctl.errors import EngineFailed
from envctl.host import clock
from envctl.model import ServiceState

REGISTRY = "c" * 32


def _labels(stack: str, service: str = "") -> dict[str, str]:
    return {"dev.envctl.registry": REGISTRY, "dev.envctl.stack": stack, "dev.envctl.service": service}


def _container(stack: str, service: str, state: str = "running", *, mounts: tuple[str, ...] = (), **more: Any) -> Any:
    volumes = [{"Type": "volume", "Name": name} for name in mounts]
    return {"Labels": _labels(stack, service), "State": state, "Mounts": [{"Type": "tmpfs"}, *volumes], **more}


def _volume(name: str, size: int, labels: dict[str, str] | None = None) -> Any:
    return {"Name": name, "Labels": labels, "UsageData": {"RefCount": 1, "Size": size}}


class Engine(FakeDocker):
    """An engine with these containers and volumes."""

    containers: object = ()
    volumes: object = None
    status = 200

    def _answer(self, path: str) -> tuple[int, object]:
        return self.status, self.containers if path.startswith("/containers") else {"Volumes": self.volumes}

    @property
    def endpoint(self) -> Endpoint:
        """Where it is."""
        return Endpoint(f"unix://{self.socket}")


def _weighed(where: Endpoint, limit_s: float = 10.0) -> object:
    return Weighing(where, REGISTRY).result(clock.monotonic_s() + limit_s)


def test_states_are_told_by_stack_and_service() -> None:
    """Only our containers are asked for, stopped ones among them."""
    with Engine() as engine:
        engine.containers = [_container("s1", "redis"), _container("s1", "db", "dead"), _container("s2", "x", "paused")]
        assert running(engine.endpoint, REGISTRY) == {
            "s1": {"redis": ServiceState.RUNNING, "db": ServiceState.EXITED},
            "s2": {"x": ServiceState.PAUSED},
        }
        assert engine.asked == [
            f"/containers/json?all=1&filters=%7B%22label%22%3A+%5B%22dev.envctl.registry%3D{REGISTRY}%22%5D%7D"
        ]
        engine.status = 500
        with pytest.raises(EngineFailed):
            running(engine.endpoint, REGISTRY)


def test_a_stack_weighs_what_its_containers_wrote_and_its_volumes() -> None:
    """Volumes without labels are those of the container that mounts them; other people's count for nobody."""
    with Engine() as engine:
        engine.containers = [
            _container("s1", "db", SizeRw=10, mounts=("f00d", "s1_data")),
            _container("s1", "redis", SizeRw=5),
            _container("s2", "x"),
        ]
        engine.volumes = [
            _volume("s1_data", 100, _labels("s1")),
            _volume("f00d", 1000),
            _volume("foreign", 7),
            _volume("kept", 3, _labels("s3")),
            _volume("odd", -1, _labels("s2")),
        ]
        assert _weighed(engine.endpoint) == {"s1": 1115, "s2": 0, "s3": 3}
        engine.volumes = None
        assert _weighed(engine.endpoint) == {"s1": 15, "s2": 0}


def test_what_is_not_known_in_time_is_not_known() -> None:
    """An engine that is slow, that fails, or that is not of this machine; nothing is raised and nothing waited for."""
    with Engine() as engine:
        engine.status = 500
        assert _weighed(engine.endpoint) is None
        engine.delay_s = 60
        assert _weighed(engine.endpoint, 0.02) is None
    assert _weighed(Endpoint("ssh://somebody@nowhere.invalid")) is None
