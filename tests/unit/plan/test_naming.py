"""Names are readable, unique and safe, whatever git accepts as a branch."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from envctl.errors import UsageError
from envctl.model import BranchSource, Checkout, Identity
from envctl.plan.naming import NAME_LENGTH, check_label, identify, slug

NAME = re.compile(r"[a-z](?:[a-z0-9]|-(?!-))*-[0-9a-f]{8}")
COMPOSE_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]*")
DNS_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")

ANY_TEXT = st.text() | st.text(alphabet=st.characters(categories=["Cs", "L", "N", "P"]))
LABELS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", fullmatch=True)


def at(root: str = "/src/shop", branch: str = "main", folder: str = "shop") -> Checkout:
    """A checkout on a branch."""
    return Checkout(root, folder, branch, BranchSource.GIT)


def name_of(branch: str, project: str | None = "shop", label: str = "") -> str:
    """The name on that branch, without the digits."""
    return identify(at(branch=branch), project, label).name[:-9]


@given(project=st.none() | ANY_TEXT, branch=ANY_TEXT, folder=ANY_TEXT, label=st.just("") | LABELS)
@example(project="0", branch="", folder="", label="")
@example(project="a" * 99, branch="b-" * 99, folder="", label="c." * 20)
def test_any_text_gives_a_safe_name(project: str | None, branch: str, folder: str, label: str) -> None:
    """The name fits wherever names go: Compose project, DNS label, label value, file name."""
    name = identify(at(branch=branch, folder=folder), project, label).name
    assert NAME.fullmatch(name)
    assert len(name) <= NAME_LENGTH
    assert COMPOSE_PROJECT.fullmatch(name)
    assert DNS_LABEL.fullmatch(name)


@given(root=ANY_TEXT, branch=ANY_TEXT)
def test_an_identity_can_be_stored_as_text(root: str, branch: str) -> None:
    """Everything in it is valid UTF-8, as JSON files and SQLite want it."""
    identity = identify(at(root=root, branch=branch), None)
    for value in (identity.project, identity.branch, identity.checkout, identity.key, identity.name):
        value.encode()


@pytest.mark.parametrize(
    ("branch", "name"),
    [
        ("main", "shop-main"),
        ("feature/Add-Login", "shop-feature-add-login"),
        ("dependabot/npm_and_yarn/x-1.2", "shop-dependabot-npm-and-yarn-x-1-2"),
        ("--a__b--", "shop-a-b"),
        ("größe/été", "shop-grosse-ete"),
        ("漢字", "shop"),
        ("@", "shop"),
        ("", "shop"),
        ("$(id)", "shop-id"),
        ("0123456789ab", "shop-0123456789ab"),
    ],
)
def test_a_name_is_readable(branch: str, name: str) -> None:
    """People recognise project and branch; what has no letters is left out."""
    assert name_of(branch) == name


@pytest.mark.parametrize(
    ("project", "name"), [("2048", "env-2048-main"), ("漢字", "main"), ("---", "main"), ("My Shop!", "my-shop-main")]
)
def test_a_name_starts_with_a_letter(project: str, name: str) -> None:
    """A word stands before a project that starts with a digit."""
    assert name_of("main", project) == name


def test_nothing_readable_still_gives_a_name() -> None:
    """Where no letter is left, a word stands for project and branch."""
    assert name_of("", "漢字") == "env"


def test_a_long_branch_leaves_the_project_whole() -> None:
    """Only the longest parts are cut, so the short ones stay readable."""
    name = identify(at(branch="feature/" + "very-long-" * 20), "shop", "e2e").name
    assert re.fullmatch(r"shop-feature-very-long[a-z-]*-e2e-[0-9a-f]{8}", name)
    assert NAME_LENGTH - 2 <= len(name) <= NAME_LENGTH


def test_long_parts_share_the_room() -> None:
    """A long project does not push the branch out."""
    assert name_of("b" * 99, "a" * 99) == "a" * 19 + "-" + "b" * 19


def test_the_folder_is_the_default_project() -> None:
    """Without a configured name the project is called as its folder."""
    assert identify(at(folder="My.Shop"), None).project == "My.Shop"
    assert identify(at(folder="My.Shop"), None).name.startswith("my-shop-main-")


def test_the_root_folder_has_a_project_too() -> None:
    """`/` has no name of its own."""
    assert identify(at(root="/", folder="", branch=""), None).project == "env"


SAME_SLUG = ["feature/x", "feature-x", "feature_x", "Feature/X", "feature/x.", "féature/x"]


def test_names_that_read_the_same_are_told_apart() -> None:
    """Case and punctuation are lost in the readable part, not in the digits."""
    identities = [identify(at(branch=branch), "shop") for branch in SAME_SLUG]
    assert len({i.name[:-9] for i in identities}) == 1
    assert len({i.name for i in identities}) == len({i.key for i in identities}) == len(SAME_SLUG)


def test_two_checkouts_of_one_branch_are_two_environments() -> None:
    """A second clone or worktree never shares an environment by accident."""
    assert identify(at(root="/a"), "shop").key != identify(at(root="/b"), "shop").key


def test_the_label_makes_a_second_environment() -> None:
    """`--name` stands beside the branch's environment."""
    assert identify(at(), "shop", "e2e").key != identify(at(), "shop").key
    assert name_of("main", label="e2e") == "shop-main-e2e"


def test_a_renamed_project_keeps_its_environment() -> None:
    """The key is that of checkout, branch and label; the project's name is only shown."""
    assert identify(at(), "shop").key == identify(at(), "store").key


@given(ANY_TEXT)
def test_composed_and_decomposed_spelling_are_one_branch(branch: str) -> None:
    """Some file systems change how an accent is written; it stays the same branch."""
    spellings = [identify(at(branch=unicodedata.normalize(form, branch)), "shop") for form in ("NFC", "NFD")]
    assert spellings[0] == spellings[1]
    assert unicodedata.is_normalized("NFC", spellings[0].branch)


TRIPLES = st.tuples(ANY_TEXT, ANY_TEXT, LABELS | st.just(""))


@given(TRIPLES, TRIPLES)
@example(("/a", "b", "c"), ("/ab", "", "c"))
@example(("/a2:b", "c", ""), ("/a", "2:bc", ""))
@example(("/\udcff", "", ""), ("/\\udcff", "", ""))
def test_different_facts_give_different_keys(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    """No way of cutting the three texts makes two environments one."""

    def identity(triple: tuple[str, str, str]) -> Identity:
        return identify(at(root=triple[0], branch=triple[1]), "shop", triple[2])

    same = (one[0], identity(one).branch, one[2]) == (other[0], identity(other).branch, other[2])
    assert (identity(one).key == identity(other).key) == same


def test_the_key_is_the_same_for_ever() -> None:
    """Registries remember keys: changing how they are made would orphan every environment."""
    identity = identify(at(branch="feature/x"), "shop", "e2e")
    assert identity.key == "ecad9d3b3b08a88944eda449dcea4a9992d4c7e0c9beca74c3ca42656a1f5785"
    assert identity.name == "shop-feature-x-e2e-" + identity.key[:8]


@given(LABELS)
def test_a_valid_label_is_left_alone(label: str) -> None:
    """What is allowed comes back unchanged."""
    assert check_label(label) == label


@pytest.mark.parametrize("label", ["", "-a", ".a", "a b", "a/b", "é", "a\n", "a" * 41, "$(id)", "\u0661"])
def test_an_invalid_label_is_refused_with_the_allowed_form(label: str) -> None:
    """It is never changed silently, and the message shows what is allowed."""
    with pytest.raises(UsageError) as caught:
        check_label(label)
    assert "[A-Za-z0-9][A-Za-z0-9._-]{0,39}" in (caught.value.cause or "")


@given(ANY_TEXT)
def test_a_slug_of_a_slug_is_itself(text: str) -> None:
    """Making it safe twice changes nothing more."""
    assert slug(slug(text)) == slug(text)
