"""What pytest does with envctl's own modules."""

from __future__ import annotations

import importlib

from _pytest.assertion.rewrite import AssertionRewritingHook


def test_own_modules_are_imported_as_usual() -> None:
    """No module of envctl but the plugin itself has its assertions rewritten: threads import some of them at once."""
    for name in ("envctl.api", "envctl.fixtures.session", "envctl.kinds.postgres.clusters.store"):
        spec = importlib.import_module(name).__spec__
        assert spec is not None
        assert not isinstance(spec.loader, AssertionRewritingHook), name
