"""envctl gives a repository the services its tests need."""

from __future__ import annotations

TYPE_CHECKING = False  # as `typing.TYPE_CHECKING`, whose import takes 10 ms
if TYPE_CHECKING:
    from envctl.api import Environment, up
    from envctl.errors import EnvctlError
    from envctl.kinds.postgres.transaction import rolled_back
    from envctl.kinds.websocket.data import Channels
    from envctl.model import Connection
del TYPE_CHECKING

__all__ = ["Channels", "Connection", "EnvctlError", "Environment", "__version__", "rolled_back", "up"]

__version__ = "0.1.0"

_HOMES = {
    "Channels": "kinds.websocket.data",
    "Connection": "model",
    "EnvctlError": "errors",
    "Environment": "api",
    "rolled_back": "kinds.postgres.transaction",
    "up": "api",
}


def __getattr__(name: str) -> object:
    """The public names are imported when they are first used: most who import the package want only its version."""
    if name not in _HOMES:
        raise AttributeError(f"module 'envctl' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"envctl.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
