"""The Compose document as YAML: with and without its secrets."""

from __future__ import annotations

import copy
from typing import Any

import yaml

from envctl.conductor.rendering import as_yaml
from envctl.plan.steps import Plan

DOCUMENT: dict[str, Any] = {
    "name": "envctl-shop",
    "services": {
        "redis": {"image": "redis:8", "secrets": ["redis_password"], "configs": [{"source": "c", "target": "/c"}]},
        "web": {"image": "web", "environment": {"REDIS": "redis://:${ENVCTL_SECRET_REDIS_PASSWORD}@redis:6379"}},
    },
    "secrets": {"redis_password": {"environment": "ENVCTL_SECRET_REDIS_PASSWORD"}},
    "configs": {"c": {"content": "line\n"}},
}
PLAN = Plan("shop", "compose", (), DOCUMENT)
PASSWORD = "s3cret"
CREDENTIALS = {"redis": {"password": PASSWORD}}


def test_without_secrets_none_is_in_the_text() -> None:
    """By default the document names the variables it needs, in a comment, and holds no secret."""
    text = as_yaml(PLAN, CREDENTIALS, inline=False)
    assert PASSWORD not in text
    assert "ENVCTL_SECRET_REDIS_PASSWORD" in text.split("\nname:")[0]
    assert yaml.safe_load(text) == DOCUMENT


def test_with_secrets_nothing_else_is_needed() -> None:
    """With its secrets the document refers to no variable: they are files as before, and values where named."""
    text = as_yaml(PLAN, CREDENTIALS, inline=True)
    document = yaml.safe_load(text)
    assert "${" not in text
    assert "secrets" not in document
    assert document["configs"]["redis_password"] == {"content": PASSWORD}
    assert {"source": "redis_password", "target": "/run/secrets/redis_password"} in document["services"]["redis"][
        "configs"
    ]
    assert document["services"]["web"]["environment"]["REDIS"] == f"redis://:{PASSWORD}@redis:6379"
    assert document["configs"]["c"] == {"content": "line\n"}


def test_the_document_itself_is_not_changed() -> None:
    """Rendering is looking."""
    before = copy.deepcopy(DOCUMENT)
    as_yaml(PLAN, CREDENTIALS, inline=True)
    assert before == DOCUMENT


def test_processes_are_named_and_left_out() -> None:
    """Who runs the file by hand learns which services are not in it, and is asked for none of their secrets."""
    plan = Plan("shop", "compose", (), DOCUMENT, processes={"api": {}})
    head = as_yaml(plan, CREDENTIALS | {"api": {"token": "t0ken"}}, inline=False).split("\nname:")[0]
    assert "api" in head
    assert "ENVCTL_SECRET_API_TOKEN" not in head
