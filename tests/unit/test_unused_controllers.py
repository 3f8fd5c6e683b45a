from __future__ import annotations

import errno

import pytest
from cgroup_tree import FakeMemory, Tree, refuses

from fakecg.abi.errors import ControlError
from fakecg.abi.profile import Features
from fakecg.cgroup.controllers import standard_controllers
from fakecg.cgroup.cpuset_files import format_list, parse_list
from fakecg.cgroup.hierarchy import Hierarchy


@pytest.fixture
def tree() -> Tree:
    tree = Tree()
    controllers = (*standard_controllers(nr_cpus=4, nr_nodes=2), FakeMemory())
    tree.hierarchy = Hierarchy(tree.clock, tree.timers, Features.select(), controllers)
    tree.write("/cgroup.subtree_control", "+cpuset +hugetlb +rdma +misc")
    tree.mkdir("a")
    return tree


def test_the_root_offers_what_a_distribution_kernel_offers(tree: Tree) -> None:
    assert tree.read("/cgroup.controllers") == "cpuset cpu io memory hugetlb pids rdma misc\n"
    assert "nr_subsys_cpuset 2\n" in tree.read("/cgroup.stat")


def test_masks_are_granted_by_the_parent(tree: Tree) -> None:
    tree.write("/a/cgroup.subtree_control", "+cpuset")
    tree.mkdir("a/b")
    tree.write("/a/cpuset.cpus", "1-2")
    tree.write("/a/b/cpuset.cpus", "2,3")
    assert tree.read("/a/b/cpuset.cpus") == "2-3\n"
    assert tree.read("/a/b/cpuset.cpus.effective") == "2\n"
    tree.write("/a/b/cpuset.cpus", "0")
    assert tree.read("/a/b/cpuset.cpus.effective") == "1-2\n"
    assert tree.read("/a/b/cpuset.mems.effective") == "0-1\n"
    tree.write("/a/cpuset.cpus", "\n")
    assert tree.read("/a/cpuset.cpus") == "\n"


@pytest.mark.parametrize(
    ("text", "bits"), [(b"0-2,5", {0, 1, 2, 5}), (b"N", {7}), (b"all", set(range(8))), (b"0-7:1/4", {0, 4}), (b"", set())]
)
def test_lists(text: bytes, bits: set[int]) -> None:
    assert parse_list(text, 8) == bits
    assert parse_list(format_list(frozenset(bits)).strip().encode(), 8) == bits


@pytest.mark.parametrize(
    ("text", "code"), [(b"8", errno.ERANGE), (b"2-1", errno.EINVAL), (b"x", errno.EINVAL), (b"-1", errno.EINVAL), (b"0:1", errno.EINVAL)]
)
def test_lists_that_are_refused(text: bytes, code: int) -> None:
    with pytest.raises(ControlError) as caught:
        parse_list(text, 8)
    assert caught.value.errno == code


def test_partitions_are_refused(tree: Tree) -> None:
    tree.write("/a/cpuset.cpus.partition", "member\n")
    for word, code in (("root", errno.EOPNOTSUPP), ("isolated", errno.EOPNOTSUPP), ("x", errno.EINVAL)):
        with refuses(code):
            tree.write("/a/cpuset.cpus.partition", word)


def test_hugetlb_limits_are_whole_huge_pages(tree: Tree) -> None:
    assert tree.read("/a/hugetlb.2MB.max") == "max\n"
    tree.write("/a/hugetlb.2MB.max", "5M")
    assert tree.read("/a/hugetlb.2MB.max") == "4194304\n"
    tree.write("/a/hugetlb.2MB.max", "max")
    assert tree.read("/a/hugetlb.2MB.max") == "max\n"
    assert tree.read("/a/hugetlb.1GB.numa_stat") == "total=0 N0=0 N1=0\n"


def test_resources_that_do_not_exist_cannot_be_limited(tree: Tree) -> None:
    for name, text, code in (
        ("misc.max", "sev 1", errno.EINVAL),
        ("rdma.max", "mlx4_0", errno.EINVAL),
        ("rdma.max", "mlx4_0 hca_handle=x", errno.EINVAL),
        ("rdma.max", "mlx4_0 hca_handle=2 hca_object=max", errno.ENODEV),
    ):
        with refuses(code):
            tree.write(f"/a/{name}", text)
