"""Metrics: counters, gauges and histograms, rendered in Prometheus' text format 0.0.4."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metric(Protocol):
    """Something that can be rendered."""

    name: str
    kind: str
    help: str

    def samples(self) -> Iterable[str]:
        """Its sample lines."""
        ...


class Counter:
    """A number that only grows, for each value of one label or without any."""

    kind = "counter"

    def __init__(self, name: str, help_text: str, label: str | None = None, known: Iterable[str] = ()) -> None:
        self.name, self.help, self._label = name, help_text, label
        # Known label values start at zero: a series that appears with its first event has no rate for it.
        self._values: dict[str, float] = dict.fromkeys(known if label else ("",), 0.0)

    def add(self, amount: float = 1.0, *, label: str = "") -> None:
        """Count."""
        self._values[label] = self._values.get(label, 0.0) + amount

    def samples(self) -> Iterable[str]:
        """One line for each label value."""
        return [_sample(self.name, {self._label: value} if self._label else {}, n) for value, n in self._values.items()]


class Gauge:
    """A number looked up when it is asked for: one, or one for each value of a label."""

    kind = "gauge"

    def __init__(self, name: str, help_text: str, read: Callable[[], Mapping[str, float]], label: str = "") -> None:
        self.name, self.help, self._read, self._label = name, help_text, read, label

    def samples(self) -> Iterable[str]:
        """One line for each label value."""
        return [_sample(self.name, {self._label: key} if self._label else {}, n) for key, n in self._read().items()]


class Histogram:
    """How often durations fell below each of several limits."""

    kind = "histogram"

    def __init__(self, name: str, help_text: str, limits_s: tuple[float, ...]) -> None:
        self.name, self.help, self._limits_s = name, help_text, limits_s
        self._counts = [0] * (len(limits_s) + 1)
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Note one duration."""
        self._counts[bisect_left(self._limits_s, seconds)] += 1
        self._sum_s += seconds

    def samples(self) -> Iterable[str]:
        """The cumulative buckets, the sum and the count."""
        total = 0
        for limit_s, count in zip((*self._limits_s, float("inf")), self._counts, strict=True):
            total += count
            yield _sample(f"{self.name}_bucket", {"le": _number(limit_s)}, total)
        yield _sample(f"{self.name}_sum", {}, self._sum_s)
        yield _sample(f"{self.name}_count", {}, total)


def render(metrics: Iterable[Metric]) -> str:
    """All metrics as one page."""
    lines: list[str] = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}", *metric.samples()]
    return "\n".join(lines) + "\n"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    pairs = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
    return f"{name}{{{pairs}}} {_number(value)}" if pairs else f"{name} {_number(value)}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if value == int(value) else repr(float(value))
