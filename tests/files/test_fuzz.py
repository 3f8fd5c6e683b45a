"""Anything at all written to any file: refused with an errno a kernel knows, or taken; the model stays sound either way."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest
from backends import Backend
from directory_backend import DirectoryBackend
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakecg.abi.errors import ControlError
from fakecg.cgroup.cftype import Caller
from fakecg.host import Host
from fakecg.observe.check import check

#: Errnos that writes are documented to end with. EIO is none of them: it means a bug.
KNOWN = {
    getattr(errno, name)
    for name in [
        *("EINVAL", "ERANGE", "EOVERFLOW", "E2BIG", "EAGAIN", "EINTR", "ENODEV", "ENOENT", "ESRCH", "EBUSY", "EEXIST", "EOPNOTSUPP"),
        *("EACCES", "ENOSPC"),
    ]
}
#: Writes that would end what the test stands on.
NOT_ON_A_MOUNT = {"cgroup.kill", "cgroup.freeze", "cgroup.procs", "cgroup.threads"}
WORDS = (
    *("max", "0", "1", "-1", "+1", "2", "010", "0x10", "08", "4096", "1M", "64K", "1G", "16E", "18446744073709551615", "4194304"),
    *("+memory", "-memory", "+cpu", "-io", "+pids", "+perf_event", "threaded", "domain", "member", "root", "default"),
    *("swappiness=60", "swappiness=max", "source=zswap", "max=1M", "some", "full", "150000", "1000000", "2000000"),
    *("254:0", "rbps=1M", "wiops=max", "100000", "0-1,3", "N", "all", "age=1", "3600"),
)
BLANKS = (" ", "\n", "\t", "\0", "\xa0", "", "=", ",", ":")

texts = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(BLANKS)), max_size=5).map(
    lambda pairs: "".join(word + blank for word, blank in pairs).encode("latin-1")
)
data = st.one_of(texts, st.binary(max_size=40), st.binary(min_size=4090, max_size=4100), st.integers().map(lambda n: str(n).encode()))
places = st.sampled_from(["/", "/a", "/a/b", "/c"])


@pytest.fixture(scope="module")
def file_names() -> list[str]:
    with Host(ram="64M", swap="64M", proactive="v1,v5") as host:
        return sorted({row.name for path in ("", "a") for row in (host.hierarchy.root if not path else host.mkdir(path).cgroup).files()})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.data())
def test_writes_through_the_api(steps: st.DataObject, file_names: list[str]) -> None:
    with Host(ram="64M", swap="64M", proactive="v1,v5") as host:
        for path in ("/a", "/a/b", "/c"):
            host.mkdir(path)
        host.spawn("/a/b", size="1M", content="text")
        host.spawn("/c", size="256K", content="random")
        for place, name, written in steps.draw(st.lists(st.tuples(places, st.sampled_from(file_names), data), min_size=1, max_size=8)):
            try:
                open_file = host.open_file(host.lookup(place), name.encode(), Caller(tid=0))
            except ControlError as error:
                assert error.errno == errno.ENOENT  # noqa: PT017
                continue
            try:
                assert host.write(open_file, written) == len(written)
            except ControlError as error:
                assert error.errno in KNOWN, (place, name, written)  # noqa: PT017
            if open_file.row.show is not None and open_file.css.online:
                try:
                    host.show(open_file)
                except ControlError as error:
                    assert error.errno in (errno.ENODEV, errno.EOPNOTSUPP), (place, name)  # noqa: PT017
            host.release(open_file)
        host.advance("10s")
        check(host)
        assert host.internal_errors == 0


@pytest.fixture
def directory(backend: Backend) -> Iterator[str]:
    """A fresh cgroup of a mounted tree; empty for the API."""
    if not isinstance(backend, DirectoryBackend):
        yield ""
        return
    with backend.parent() as parent:
        backend.mkdir(f"{parent}/s")
        yield backend.path(f"{parent}/s")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.data())
def test_writes_through_the_mount(steps: st.DataObject, backend: Backend, directory: str, file_names: list[str]) -> None:
    if not directory or backend.host is None:
        return
    for name, written in steps.draw(st.lists(st.tuples(st.sampled_from(file_names), data), min_size=1, max_size=8)):
        if name in NOT_ON_A_MOUNT or not os.path.exists(f"{directory}/{name}"):
            continue
        try:
            fd = os.open(f"{directory}/{name}", os.O_WRONLY)
        except FileNotFoundError:
            continue
        try:
            assert os.write(fd, written) == len(written)
        except OSError as error:
            assert error.errno in KNOWN, (name, written)  # noqa: PT017
        finally:
            os.close(fd)
    check(backend.host)
    assert backend.host.internal_errors == 0
