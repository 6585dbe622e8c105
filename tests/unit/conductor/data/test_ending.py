"""The end of a maker beside the start of the environment that its data is for."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import pytest

from envctl.conductor.data.ending import Ending
from envctl.errors import Leftovers, ServiceNotReady


def test_goes_on_beside_once_it_is_marked() -> None:
    """What follows begins when nobody can use the maker any more, not when it is gone; the wait is for that."""
    ending, gate, done = Ending(), Event(), []

    def end(on_mark: Callable[[], None]) -> None:
        on_mark()
        gate.wait()
        done.append("gone")

    with ending.awaited():
        ending.begin("maker", end)
        assert not done
        gate.set()
    assert done == ["gone"]


def test_what_fails_meanwhile_is_told_after_the_maker_is_gone() -> None:
    """An error of the environment is the one that is told, even if the maker could not be removed either."""
    ending, done = Ending(), []

    def end(_: Callable[[], None]) -> None:
        done.append("tried")
        raise Leftovers("maker")

    def bring_up() -> None:
        with ending.awaited():
            ending.begin("maker", end)
            raise ServiceNotReady("environment")

    with pytest.raises(ServiceNotReady):
        bring_up()
    assert done == ["tried"]


def test_a_maker_that_stays_is_told_once() -> None:
    """The command says what is left of the maker, and that the environment is ready; later waits know of nothing."""
    ending = Ending()

    def end(_: Callable[[], None]) -> None:
        raise Leftovers("maker", leftovers=["network x"])

    with pytest.raises(Leftovers) as caught, ending.awaited():
        ending.begin("maker", end)
    assert caught.value.leftovers
    assert "ready" in str(caught.value.state)
    ending.wait()
