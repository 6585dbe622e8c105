"""Several streams of lines as one, in the order they arrive."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from queue import SimpleQueue


def merged(streams: Mapping[str, Iterator[str]]) -> Iterator[tuple[str, str]]:
    """The lines of all streams as (name, line), until every stream has ended.

    An error of a stream is raised here once the lines before it are out.
    """
    if len(streams) == 1:
        ((name, lines),) = streams.items()
        yield from ((name, line) for line in lines)
        return
    queue: SimpleQueue[tuple[str, str | BaseException | None]] = SimpleQueue()
    for name, lines in streams.items():
        threading.Thread(target=_feed, args=(queue, name, lines), daemon=True).start()
    open_streams = len(streams)
    while open_streams:
        name, line = queue.get()
        if line is None:
            open_streams -= 1
        elif isinstance(line, BaseException):
            raise line
        else:
            yield name, line


def _feed(queue: SimpleQueue[tuple[str, str | BaseException | None]], name: str, lines: Iterator[str]) -> None:
    try:
        for line in lines:
            queue.put((name, line))
    except BaseException as error:  # noqa: BLE001 - it is raised again where the lines are read
        queue.put((name, error))
    queue.put((name, None))
