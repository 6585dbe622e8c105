"""The state `dirty`, against a real registry: what a change of data leaves behind that did not end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from local_server import closed_port

from envctl.conductor.data import dirty, marker
from envctl.conductor.place import Place, Selection
from envctl.errors import DataDirty, DataFailed
from envctl.host.registry import EnvironmentRecord, Registry
from envctl.model import EnvironmentState
from envctl.plan import naming


@pytest.fixture
def place(registry: Registry, environ: dict[str, str], tmp_path: Path) -> Place:
    """A place with an environment of two services that is ready."""
    environ |= {"PATH": os.environ["PATH"]}
    made = Place(Selection(tmp_path, environ), Path(environ["ENVCTL_STATE_DIR"]), registry)
    identity = naming.identify(made.checkout, None)
    registry.claim(identity, engine="compose", endpoint="unix:///x")
    registry.set_state(identity.name, EnvironmentState.READY, details={"services": {"postgres": {}, "redis": {}}})
    return made


def found(place: Place) -> EnvironmentRecord:
    now = place.find()
    assert now is not None
    return now


def refused(change: dirty.Change) -> None:
    change.nothing_changed()
    raise DataFailed("refused")


def leave_dirty(place: Place, *services: str) -> None:
    with pytest.raises(DataFailed), dirty.while_changing(place, found(place), "envctl seed", services):
        raise DataFailed("half of it")


def test_dirty_while_it_lasts_and_ready_again(place: Place) -> None:
    """While data is changed the environment is dirty and says who is at it; afterwards nothing of that is left."""
    before = found(place)
    with dirty.while_changing(place, before, "envctl seed"):
        now = found(place)
        assert (now.state, dirty.is_under_way(now)) == (EnvironmentState.DIRTY, True)
        with pytest.raises(DataDirty, match="is being changed"):
            dirty.refuse(now)
    assert (found(place).state, found(place).details) == (EnvironmentState.READY, before.details)
    dirty.refuse(found(place))


@pytest.mark.provokes("DATA_DIRTY")
def test_what_failed_half_way_is_refused(place: Place) -> None:
    """A change that failed leaves an environment that nobody may use until another change has put it right."""
    leave_dirty(place)
    with pytest.raises(DataDirty) as refused:
        dirty.refuse(found(place))
    assert "envctl seed" in (refused.value.cause or "")
    assert refused.value.subject["services"] == ["postgres", "redis"]
    with dirty.while_changing(place, found(place), "envctl reset"):
        pass
    assert found(place).state is EnvironmentState.READY


def marked(place: Place) -> list[str]:
    """Whose data the file beside the registry says is dirty."""
    now = found(place)
    known = marker.read(place.state, now.identity.name, now.stack.id) or {"dirty": {"services": []}}
    return list(known["dirty"]["services"])


def test_a_file_says_the_same(place: Place) -> None:
    """Beside the registry it is known that data is dirty, as long as it is, and of which stack."""
    with dirty.while_changing(place, found(place), "envctl reset"):
        assert marked(place) == ["postgres", "redis"]
    assert marked(place) == []
    leave_dirty(place)
    with pytest.raises(DataFailed), dirty.while_changing(place, found(place), "envctl reset", ["redis"]) as change:
        refused(change)
    assert marked(place) == ["postgres", "redis"]
    with dirty.while_changing(place, found(place), "envctl reset redis", ["redis"]):
        pass
    assert marked(place) == ["postgres"]
    assert marker.read(place.state, found(place).identity.name, "another") is None
    (place.folder(found(place).identity.name) / marker.NAME).write_text("")
    assert marker.read(place.state, found(place).identity.name, found(place).stack.id) == {"dirty": {}}


def test_nothing_changed(place: Place) -> None:
    """A change that failed before its first step leaves the environment as it was, ready or dirty."""
    for state in (EnvironmentState.READY, EnvironmentState.DIRTY):
        before = found(place)
        assert before.state is state
        with pytest.raises(DataFailed), dirty.while_changing(place, before, "envctl reset") as change:
            refused(change)
        assert (found(place).state, found(place).details) == (before.state, before.details)
        leave_dirty(place)


def test_a_server_that_is_gone(place: Place) -> None:
    """Dirty data whose server does not answer cannot be put right; the error tells the way that is left."""
    connection = {"service": "redis", "kind": "redis", "host": "127.0.0.1", "port": closed_port(), "database": "0"}
    entry = {"connection": connection}
    place.registry.set_state(found(place).identity.name, EnvironmentState.DIRTY, details={"services": {"redis": entry}})
    with pytest.raises(DataFailed) as caught:
        dirty.recover(found(place))
    assert "envctl up --fresh begins anew, without what is there" in caught.value.fix


def test_each_service_has_to_be_put_right(place: Place) -> None:
    """Where two services are dirty, putting one right leaves the environment dirty, for the other alone."""
    leave_dirty(place)
    with dirty.while_changing(place, found(place), "envctl reset redis", ["redis"]):
        pass
    with pytest.raises(DataDirty) as refused:
        dirty.refuse(found(place))
    assert refused.value.subject["services"] == ["postgres"]
    with dirty.while_changing(place, found(place), "envctl reset postgres", ["postgres"]):
        pass
    assert found(place).state is EnvironmentState.READY
