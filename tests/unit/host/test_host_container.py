"""Whether we are in a container, and what it may be known as. The files are as engines write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from envctl.host import container

ID, OTHER = "65db6c05c575" + "a" * 52, "b" * 64
# docker 26.1.5, cgroup v1
MOUNTS = f"""
587 586 0:53 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/X,workdir=/w
600 587 254:0 /var/lib/docker/containers/{OTHER}/log /var/log/other rw,relatime - ext4 /dev/vda rw
652 587 254:0 /var/lib/docker/containers/{ID}/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/vda rw
653 587 254:0 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw,relatime - ext4 /dev/vda rw
"""
CGROUPS = f"9:name=systemd:/docker/{ID}\n0::/\n"
# documented: Podman
PODMAN = f"80 70 0:40 /containers/overlay-containers/{ID}/userdata/hostname /etc/hostname rw - tmpfs tmpfs rw\n"


def _root(folder: Path, *, mark: str = ".dockerenv", mounts: str = "", cgroups: str = "0::/\n") -> Path:
    (folder / "proc/self").mkdir(parents=True)
    (folder / "run").mkdir()
    (folder / "proc/self/mountinfo").write_text(mounts)
    (folder / "proc/self/cgroup").write_text(cgroups)
    if mark:
        (folder / mark).touch()
    return folder


def test_an_ordinary_machine_is_no_container(tmp_path: Path) -> None:
    """Without an engine's mark nothing else is looked at, not even a host name that looks like an id."""
    root = _root(tmp_path, mark="", mounts=MOUNTS)
    assert not container.is_inside(root)
    assert container.ids(root, ID[:12]) == ()


@pytest.mark.parametrize(
    ("mark", "mounts", "cgroups"),
    [
        (".dockerenv", MOUNTS, "0::/\n"),
        (".dockerenv", "", CGROUPS),
        ("run/.containerenv", PODMAN, "0::/\n"),
    ],
)
def test_the_id_is_where_engines_put_it(tmp_path: Path, mark: str, mounts: str, cgroups: str) -> None:
    """In the folder of the files an engine gives, not of others that are mounted; or in the cgroup's name."""
    root = _root(tmp_path, mark=mark, mounts=mounts, cgroups=cgroups)
    assert container.is_inside(root)
    assert container.ids(root, "a-name-of-its-own") == (ID,)
    assert container.ids(root, ID[:12]) == (ID, ID[:12])


def test_a_machine_that_only_looks_like_a_container_has_no_id(tmp_path: Path) -> None:
    """A name that somebody chose is none."""
    assert container.ids(_root(tmp_path), "buildhost") == ()
    assert container.ids(tmp_path / "nothing") == ()
