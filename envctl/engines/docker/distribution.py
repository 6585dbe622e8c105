"""Whether a registry gives an image: the engine is asked, not the network, because it knows its mirrors and proxies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from envctl.engines.docker import endpoint
from envctl.engines.docker.direct import Question
from envctl.engines.docker.endpoint import Endpoint
from envctl.engines.docker.failures import image_failure
from envctl.errors import EngineTimeout, ImageDenied, ImageError, ImageRateLimited
from envctl.host import clock

LIMIT_S = 3.0
_LOGINS = ("auths", "credsStore", "credHelpers")


def refusals(where: Endpoint, images: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The images that cannot be had now, each with the reason in a few words ("registry unreachable").

    The question goes without a login. So where the user has one, a refusal for want of it says nothing. Whatever is not
    plainly refused counts as obtainable: the pull will tell. All images share one limit of 3 s.
    """
    meaningless = (ImageDenied, ImageRateLimited) if _has_login(environ) else ()
    deadline_s = clock.monotonic_s() + LIMIT_S
    questions = {image: Question(where, f"/distribution/{image}/json") for image in images}
    found: dict[str, str] = {}
    try:
        for image, question in questions.items():
            try:
                there, said = question.answer(deadline_s)
            except EngineTimeout:
                found[image] = "its registry does not answer"
                continue
            refusal = None if there else image_failure(said, image)
            if isinstance(refusal, ImageError) and not isinstance(refusal, meaningless):
                found[image] = refusal.code.lower().replace("_", " ")
    finally:
        for question in questions.values():
            question.end()
    return found


def _has_login(environ: Mapping[str, str]) -> bool:
    settings = endpoint.read_json(endpoint.config_folder(environ) / "config.json")
    return any(settings.get(name) for name in _LOGINS)
