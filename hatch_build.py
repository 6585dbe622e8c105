"""Puts the two asset rooms, compose/ and healthchecks/, into the wheel under envctl/_data/.

An editable install keeps reading them from the checkout, so edits are live; `envctl.host.assets` knows both places.
A static force-include would also apply to editable installs and leave a stale copy behind.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOMS = ("compose", "healthchecks")


class AssetRooms(BuildHookInterface[Any]):
    """Adds the asset rooms to every build that is not editable."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        for room in ROOMS:
            build_data["force_include"][room] = f"envctl/_data/{room}"
