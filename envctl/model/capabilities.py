"""What an engine can do."""

from __future__ import annotations

from dataclasses import dataclass

from envctl.model.address import LOOPBACK


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do; the planner and the document read it instead of asking which engine it is.

    Attributes:
        engine: Its name.
        version: The engine's version, ("26", "1", "5") as "26.1.5", "" where unknown.
        containers: Whether services run in containers, so that any image can.
        builds: Whether it can build images.
        inline_configs: Whether `configs: content:` works (Compose ≥ 2.23.1).
        start_interval: Whether a healthcheck's `start_interval` is honoured (Engine ≥ 25).
        local: Whether its ports are opened on this machine, so that they can be checked and guarded here.
        host: The address clients use.
        publish_address: The address of the engine's machine on which ports are published for them.
        vantage: Where we stand, in a sentence for people, where that decided those two addresses; else "".
        obstacle: Why no address can be found that clients here would reach, "" where there is one.
    """

    engine: str
    version: str = ""
    containers: bool = True
    builds: bool = True
    inline_configs: bool = True
    start_interval: bool = True
    local: bool = True
    host: str = LOOPBACK
    publish_address: str = LOOPBACK
    vantage: str = ""
    obstacle: str = ""
