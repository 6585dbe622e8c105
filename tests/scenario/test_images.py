"""Getting images: pulled from a registry that behaves in every way, or built."""

from __future__ import annotations

from collections.abc import Iterator

import fake_registry
import pytest
from fake_registry import FakeRegistry, with_file
from harness import Project


@pytest.fixture(scope="session")
def file_system() -> bytes:
    """A small file system that runs `sleep`: that of the busybox image, as a tar."""
    return fake_registry.file_system("busybox")


@pytest.fixture
def pulled(project: Project) -> Iterator[list[str]]:
    """Image references to remove from the engine at the end: `down` keeps what was pulled."""
    references: list[str] = []
    yield references
    project.run("down")
    for reference in references:
        project.docker("image", "rm", "--force", reference, check=False)


def _config(image: str) -> str:
    return f"services: {{one: {{image: '{image}', command: [sleep, '600']}}}}\n"


def test_an_image_is_pulled(project: Project, registry: FakeRegistry, file_system: bytes, pulled: list[str]) -> None:
    """An image the engine lacks is pulled, with its progress told, and the service runs from it."""
    image = registry.add("tiny", with_file(file_system, "mark", project.mark.encode()))
    pulled.append(image)
    project.config(_config(image))
    up = project.run("up", "--format", "none", check=True)
    assert "pull" in up.err
    assert project.run("exec", "one", "--", "cat", "/mark", check=True).out == project.mark
    project.run("down", check=True)
    assert project.docker("image", "ls", "--quiet", image), "what was pulled is kept for the next time"


def test_no_call_to_the_registry_where_the_image_is_there(
    project: Project, registry: FakeRegistry, pulled: list[str]
) -> None:
    """With its images present an `up` asks no registry, so it works offline."""
    image = f"{registry.address}/present:1"
    pulled.append(image)
    project.docker("tag", "busybox", image)
    project.config(_config(image))
    project.up()
    assert registry.calls == []


@pytest.mark.provokes("IMAGE_ABSENT", "IMAGE_DENIED")
@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "IMAGE_ABSENT"), (401, "IMAGE_DENIED")],
)
def test_an_image_that_cannot_be_had(project: Project, registry: FakeRegistry, status: int, code: str) -> None:
    """An absent or forbidden image is told at once with its name, once, and nothing is left."""
    image = f"{registry.address}/tiny:1"
    registry.failures["tiny"] = [status]
    registry.forever.add("tiny")
    project.config(_config(image))
    result = project.run("up", "--format", "json")
    assert (result.code, result.error["code"]) == (83, code)
    assert result.error["subject"]["image"] == image
    assert image in result.error["message"]
    assert result.error["fix"]
    assert result.seconds < 20
    project.assert_nothing_left()


@pytest.mark.provokes("REGISTRY_UNREACHABLE")
def test_a_registry_out_of_reach(project: Project) -> None:
    """Without the image and without its registry the reason is told quickly, and nothing is left."""
    project.config(_config("127.0.0.1:1/tiny:1"))
    result = project.run("up", "--format", "json")
    assert (result.code, result.error["code"]) == (83, "REGISTRY_UNREACHABLE")
    assert result.seconds < 20
    project.assert_nothing_left()


@pytest.mark.provokes("IMAGE_RATE_LIMITED")
def test_a_rate_limit_is_waited_for(project: Project, registry: FakeRegistry) -> None:
    """A registry that says "too many requests" is asked again with pauses, and then the reason is told."""
    registry.failures["tiny"] = [429]
    registry.forever.add("tiny")
    project.config(_config(f"{registry.address}/tiny:1"))
    result = project.run("up", "--format", "json")
    assert (result.code, result.error["code"]) == (83, "IMAGE_RATE_LIMITED")
    assert result.error["retryable"] is True
    assert len([call for call in registry.calls if "manifests" in call]) >= 4
    assert 12 <= result.seconds < 40
    project.assert_nothing_left()


def test_a_passing_fault_is_survived(
    project: Project, registry: FakeRegistry, file_system: bytes, pulled: list[str]
) -> None:
    """A registry that fails once with 500 is asked again, and the `up` succeeds."""
    image = registry.add("tiny", with_file(file_system, "mark", project.mark.encode()))
    pulled.append(image)
    registry.failures["tiny"] = [500]
    project.config(_config(image))
    project.up()
    assert project.run("exec", "one", "--", "cat", "/mark", check=True).out == project.mark


@pytest.mark.provokes("IMAGE_PLATFORM")
def test_another_architecture(project: Project, registry: FakeRegistry, file_system: bytes) -> None:
    """An image that does not exist for this machine is told as that."""
    project.config(_config(registry.add("tiny", file_system, architecture="s390x")))
    error = project.error("up")
    assert (error["code"], error["exit"]) == ("IMAGE_PLATFORM", 83)
    project.assert_nothing_left()


def test_a_build(project: Project) -> None:
    """A service is built from the repository, again only when a file of it changes; `down` removes its image."""
    project.write("server/Dockerfile", 'FROM busybox\nCOPY said /said\nCMD ["sleep", "600"]\n')
    project.write("server/said", "first\n")
    project.config("services: {redis: {}, server: {build: ./server}}")
    project.up()
    assert project.run("exec", "server", "--", "cat", "/said", check=True).out == "first\n"
    before = project.containers()
    project.up()
    assert project.containers() == before
    project.write("server/said", "second\n")
    project.up()
    assert project.run("exec", "server", "--", "cat", "/said", check=True).out == "second\n"
    assert project.containers()["redis"] == before["redis"]
    project.run("down", check=True)
    project.assert_nothing_left()


@pytest.mark.provokes("BUILD_FAILED")
def test_a_build_that_fails(project: Project) -> None:
    """A build that fails is told with its last lines, and nothing is left."""
    project.write("server/Dockerfile", "FROM busybox\nRUN echo what went wrong && exit 3\n")
    project.config("services: {server: {build: ./server}}")
    error = project.error("up")
    assert (error["code"], error["exit"], error["subject"]["service"]) == ("BUILD_FAILED", 83, "server")
    assert "what went wrong" in "\n".join(error["evidence"])
    project.assert_nothing_left()


def test_a_mirror_of_docker_hub(
    project: Project, registry: FakeRegistry, file_system: bytes, pulled: list[str]
) -> None:
    """An image comes from the mirror and is known by its own name alone; one it lacks is told with both names."""
    name = f"tiny-{project.mark}"
    source = f"{registry.address}/hub/library/{name}:1"
    pulled += [f"{name}:1", source]
    project.environ["MIRROR"] = f"{registry.address}/hub"
    project.config("registry_mirror: '${MIRROR:-}'\n" + _config(f"{name}:1"))
    error = project.error("up")
    assert (error["code"], error["subject"]) == ("IMAGE_ABSENT", {"image": f"{name}:1", "source": source})
    assert source in error["message"]
    assert source in error["fix"][0]
    project.assert_nothing_left()
    registry.add(f"hub/library/{name}", with_file(file_system, "mark", project.mark.encode()))
    project.up()
    assert project.inspect("one")["Config"]["Image"] == f"{name}:1"
    tags = project.docker("image", "inspect", "--format", "{{json .RepoTags}} {{json .RepoDigests}}", f"{name}:1")
    assert tags == f'["{name}:1"] []'
    asked, before = len(registry.calls), project.instances()
    project.environ["MIRROR"] = ""
    project.up()
    project.environ["MIRROR"] = "127.0.0.1:1"
    project.up()
    assert (len(registry.calls), project.instances()) == (asked, before), "what is there is not asked for"


def test_pull_policies(project: Project, registry: FakeRegistry, file_system: bytes, pulled: list[str]) -> None:
    """`always` takes the registry's newest whenever the service is started, and only then; `never` asks for nothing."""
    image = registry.add("tiny", with_file(file_system, "mark", project.mark.encode()))
    pulled.append(image)
    project.config(_config(image))
    error = project.error("up", "--pull", "never")
    assert (error["code"], error["subject"]) == ("IMAGE_ABSENT", {"service": "one", "image": image})
    assert registry.calls == []
    project.up()
    pulled.append(project.inspect("one")["Image"])  # soon without a name
    registry.add("tiny", with_file(file_system, "mark", b"newer"))
    asked, before = len(registry.calls), project.instances()
    project.up("--pull", "always")
    assert (len(registry.calls), project.instances()) == (asked, before), "nothing was to be started"
    project.kill("one")
    project.up("--pull", "always")
    assert len(registry.calls) > asked
    assert project.run("exec", "one", "--", "cat", "/mark", check=True).out == "newer"
    registry.failures["tiny"], registry.forever = [404], {"tiny"}
    project.kill("one")
    error = project.error("up", "--pull", "always")
    assert "envctl up --pull missing" in error["fix"][-1]
