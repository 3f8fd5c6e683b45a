from __future__ import annotations

import errno

import pytest
from cgroup_tree import FakeMemory, Tree, refuses

from fakecg.abi.bitmap import format_list, parse_list
from fakecg.abi.errors import ControlError
from fakecg.abi.profile import Features
from fakecg.cgroup.controllers import standard_controllers
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
    ("text", "bits"),
    [
        (b"0-2,5", {0, 1, 2, 5}),
        (b"N", {7}),
        (b"5-N", {5, 6, 7}),
        (b"all", set(range(8))),
        (b"ALL:1/3", {0, 3, 6}),
        (b"0-7:1/4", {0, 4}),
        (b"0-7:0/4", set()),
        (b"0-3:1/2N", {0, 2, 7}),
        (b"", set()),
        (b" ,,\t1\x0b,\xa03", {1, 3}),
        (b"0-7:4/4294967295", {0, 1, 2, 3}),
        (b"1\n3", {1}),
        (b"1 \n3", {1, 3}),
        (b"1\x003", {1}),
    ],
)
def test_lists(text: bytes, bits: set[int]) -> None:
    assert parse_list(text, 8) == bits
    assert parse_list(format_list(frozenset(bits)).strip().encode(), 8) == bits


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"8", errno.ERANGE),
        (b"0-8", errno.ERANGE),
        (b"4294967295", errno.ERANGE),
        (b"4294967296", errno.EOVERFLOW),
        (b"99999999999999999999999", errno.EOVERFLOW),
        (b"2-1", errno.EINVAL),
        (b"x", errno.EINVAL),
        (b"-1", errno.EINVAL),
        (b"1-", errno.EINVAL),
        (b"n", errno.EINVAL),
        (b"0:1", errno.EINVAL),
        (b"0:1/2", errno.EINVAL),
        (b"0-3:1", errno.EINVAL),
        (b"0-3:1/0", errno.EINVAL),
        (b"0-3:3/2", errno.EINVAL),
        (b"all-3", errno.EINVAL),
        (b"1;2", errno.EINVAL),
        (b"0x1", errno.EINVAL),
    ],
)
def test_lists_that_are_refused(text: bytes, code: int) -> None:
    with pytest.raises(ControlError) as caught:
        parse_list(text, 8)
    assert caught.value.errno == code


def test_a_node_that_is_not_there_is_invalid_and_one_past_the_mask_out_of_range(tree: Tree) -> None:
    for text, code in (("2", errno.EINVAL), ("N", errno.EINVAL), ("all", errno.EINVAL), ("1023", errno.EINVAL), ("1024", errno.ERANGE)):
        with refuses(code):
            tree.write("/a/cpuset.mems", text)
    with refuses(errno.ERANGE):
        tree.write("/a/cpuset.cpus", "4")
    assert (tree.read("/a/cpuset.mems"), tree.read("/a/cpuset.cpus")) == ("\n", "\n")


def test_masks_of_a_populated_cpuset_cannot_be_emptied(tree: Tree) -> None:
    task = tree.spawn("a")
    for name in ("cpuset.cpus", "cpuset.mems"):
        tree.write(f"/a/{name}", "\n")
        tree.write(f"/a/{name}", "0-1")
        with refuses(errno.ENOSPC):
            tree.write(f"/a/{name}", "\n")
        assert tree.read(f"/a/{name}") == "0-1\n"
    task.kill()
    tree.write("/a/cpuset.cpus", "\n")
    assert tree.read("/a/cpuset.cpus") == "\n"


def test_exclusive_cpus_cannot_be_a_siblings(tree: Tree) -> None:
    tree.mkdir("b")
    tree.write("/a/cpuset.cpus.exclusive", "0-1")
    with refuses(errno.EINVAL):
        tree.write("/b/cpuset.cpus.exclusive", "1-2")
    tree.write("/b/cpuset.cpus.exclusive", "2")
    tree.write("/b/cpuset.cpus.exclusive", "\n")
    tree.write("/b/cpuset.cpus", "3")
    with refuses(errno.EINVAL):
        tree.write("/a/cpuset.cpus.exclusive", "2-3")
    tree.write("/b/cpuset.cpus", "0")
    assert (tree.read("/a/cpuset.cpus.exclusive"), tree.read("/b/cpuset.cpus")) == ("0-1\n", "0\n")


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
        ("misc.max", "sev max", errno.EINVAL),
        ("misc.max", "sev", errno.EINVAL),
        ("misc.max", "sev 18446744073709551616", errno.ERANGE),
        ("misc.max", "tdx 18446744073709551616", errno.EINVAL),
        ("rdma.max", "mlx4_0", errno.ENODEV),
        ("rdma.max", "\n", errno.ENODEV),
        ("rdma.max", "mlx4_0 hca_handle=x", errno.EINVAL),
        ("rdma.max", "mlx4_0 hca_handle=2 hca_object=max", errno.ENODEV),
        ("rdma.max", "mlx4_0 hca_handle=2x hca_object=m", errno.ENODEV),
        ("rdma.max", "mlx4_0 hca_handle=", errno.ENODEV),
        ("rdma.max", "mlx4_0 hca_handle", errno.EINVAL),
        ("rdma.max", "mlx4_0 hca_handle=1  hca_object=1", errno.EINVAL),
        ("rdma.max", "mlx4_0 hca_handle=-", errno.ENODEV),
        ("rdma.max", "mlx4_0 hca_handle=-1", errno.EINVAL),
        ("rdma.max", "mlx4_0 hca_handle=2147483648", errno.EINVAL),
        ("rdma.max", "mlx4_0 hca_handle=0x10", errno.ENODEV),
    ):
        with refuses(code):
            tree.write(f"/a/{name}", text)
