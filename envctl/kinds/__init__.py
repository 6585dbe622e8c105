"""What each service is: one folder per kind, found by its name. There is no list to edit.

`kind.py` describes (pure), `probe.py` makes one try from the client's side, `native.py` (where there is one) finds and
prepares the programs that serve the kind without a container. What it does with data is told in `contents.py`.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envctl.kinds.base import Kind, ProbeFunction
    from envctl.kinds.contents import Baselines, Dumps, Proof, Seeding, Settling
    from envctl.kinds.native import Leftovers, NativeRunner

GENERIC = "generic"


@cache
def names() -> tuple[str, ...]:
    """Every kind's name, sorted; the folders of this package."""
    return tuple(sorted(file.parent.name for file in Path(__file__).parent.glob("*/kind.py")))


@cache
def get(name: str) -> Kind:
    """The kind called `name`. Raises KeyError where there is none."""
    if name not in names():
        raise KeyError(name)
    kind: Kind = importlib.import_module(f"envctl.kinds.{name}.kind").KIND
    return kind


def probe(name: str) -> ProbeFunction | None:
    """The kind's own handshake, or None for a kind without one (generic)."""
    if name == GENERIC:
        return None
    attempt: ProbeFunction = importlib.import_module(f"envctl.kinds.{name}.probe").attempt
    return attempt


def native(name: str) -> NativeRunner | None:
    """What runs the kind without a container, or None for a kind that needs one."""
    if name not in _with("native"):
        return None
    runner: NativeRunner = importlib.import_module(f"envctl.kinds.{name}.native")
    return runner


def leftovers(name: str) -> Leftovers | None:
    """What clears up after a killed server of the kind, or None where there is nothing to clear."""
    if name not in _with("leftovers"):
        return None
    found: Leftovers = importlib.import_module(f"envctl.kinds.{name}.leftovers")
    return found


def seeding(name: str) -> Seeding | None:
    """What puts files into a service of the kind, or None for a kind that takes none."""
    found: Seeding | None = _part(name, "seeding")
    return found


def baselines(name: str) -> Baselines | None:
    """What remembers and puts back the data of the kind, or None for a kind without."""
    found: Baselines | None = _part(name, "baseline")
    return found


def dumps(name: str) -> Dumps | None:
    """What makes one stream of all data of a service of the kind, or None for a kind without."""
    found: Dumps | None = _part(name, "dump")
    return found


def settling(name: str) -> Settling | None:
    """What has the kind's data written to its folder, or None where a stop does that."""
    found: Settling | None = _part(name, "settling")
    return found


def proof(name: str) -> Proof | None:
    """What proves that a server of the kind is the environment's, or None for a kind that cannot."""
    found: Proof | None = _part(name, "proof")
    return found


def _part(name: str, module: str) -> Any:
    return importlib.import_module(f"envctl.kinds.{name}.{module}") if name in _with(module) else None


@cache
def _with(module: str) -> frozenset[str]:
    """The kinds whose folder holds this module."""
    folder = Path(__file__).parent
    return frozenset(name for name in names() if (folder / name / f"{module}.py").is_file())
