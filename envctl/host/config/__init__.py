"""The configuration file: `load` reads `envctl.yaml`, `schema` describes it, `starter` writes a first one."""

from envctl.host.config.loading import default_spec, load
from envctl.host.config.source import find

__all__ = ["default_spec", "find", "load"]
