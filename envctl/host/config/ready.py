"""`ready`: the user's own check of a service."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

from envctl.host.config.nodes import MapNode, Node, ScalarNode
from envctl.host.config.problems import did_you_mean, shown
from envctl.host.config.values import Context, Fields, integer, mapping, matching, text, words
from envctl.model import ExecReady, HttpReady, LogReady, Ready, TcpReady

FORM = 'one of {http: /healthz}, {tcp: true}, {log: "regular expression"}, {exec: "command"}'

http_path = matching(r"/[^\s#]*", 'a path that begins with "/"')


def ready(node: Node, path: str, context: Context) -> Ready | None:
    """The one check that is given."""
    found = mapping(node, path, context, FORM)
    if found is None:
        return None
    known = [key for key in found.items if key in _CHECKS]
    for key, (key_node, _) in found.items.items():
        if key not in _CHECKS:
            context.report.add(key_node, path, f"unknown key {shown(key)}", did_you_mean(key, _CHECKS) or FORM)
    if len(known) != 1:
        if len(known) == len(found.items):
            context.report.add(node, path, "must hold exactly one check", FORM)
        return None
    return _CHECKS[known[0]](found.items[known[0]][1], f"{path}.{known[0]}", context)


def _http(node: Node, path: str, context: Context) -> HttpReady | None:
    if not isinstance(node, MapNode):
        url_path = http_path(node, path, context)
        return HttpReady(url_path) if url_path else None
    fields = _fields(node, path, context, ("path", "port", "status"), "{path: /healthz, port: http, status: 200}")
    url_path, port = fields.read("path", http_path), fields.read("port", text)
    status = fields.read("status", integer)
    if not fields.has("path"):
        context.report.add(node, path, "has no path", "{path: /healthz}")
    if status is not None and not 100 <= status <= 599:
        context.report.add(node, f"{path}.status", f"{status} is not an HTTP status", "100 to 599")
    return HttpReady(url_path, port, status) if url_path else None


def _tcp(node: Node, path: str, context: Context) -> TcpReady | None:
    form = "true, the name of a port, or {port: smtp, send: …, expect: …}"
    if isinstance(node, MapNode):
        fields = _fields(node, path, context, ("port", "send", "expect"), form)
        send, expect = fields.read("send", text), fields.read("expect", text)
        if fields.has("send") and not fields.has("expect"):
            context.report.add(node, path, "sends something but expects no answer", form)
        return TcpReady(fields.read("port", text), send, expect)
    if isinstance(node, ScalarNode) and node.type == "boolean" and node.text.lower() == "true":
        return TcpReady()
    if isinstance(node, ScalarNode) and node.type == "text":
        port = text(node, path, context)
        return TcpReady(port) if port else None
    context.report.add(node, path, "says no port", form)
    return None


def _log(node: Node, path: str, context: Context) -> LogReady | None:
    form = '"regular expression" or {pattern: "…", count: 2}'
    if not isinstance(node, MapNode):
        pattern = _pattern(node, path, context)
        return LogReady(pattern) if pattern else None
    fields = _fields(node, path, context, ("pattern", "count"), form)
    pattern, count = fields.read("pattern", _pattern), fields.read("count", integer)
    if not fields.has("pattern"):
        context.report.add(node, path, "has no pattern", form)
    if count is not None and not 1 <= count <= 1000:
        context.report.add(node, f"{path}.count", f"{count} is out of range", "1 to 1000")
    return LogReady(pattern, count if count is not None else 1) if pattern else None


def _exec(node: Node, path: str, context: Context) -> ExecReady | None:
    command = words(node, path, context)
    return ExecReady(command) if command else None


def _pattern(node: Node, path: str, context: Context) -> str | None:
    value = text(node, path, context)
    if value is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a pattern that Python would only warn about is accepted
            re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        context.report.add(node, path, f"{shown(value)} is not a regular expression: {error}")
        return None
    return value


def _fields(node: MapNode, path: str, context: Context, keys: tuple[str, ...], form: str) -> Fields:
    for key, (key_node, _) in node.items.items():
        if key not in keys:
            context.report.add(key_node, path, f"unknown key {shown(key)}", did_you_mean(key, keys) or form)
    return Fields(node, path, context)


_CHECKS: dict[str, Callable[[Node, str, Context], Ready | None]] = {
    "http": _http,
    "tcp": _tcp,
    "log": _log,
    "exec": _exec,
}
