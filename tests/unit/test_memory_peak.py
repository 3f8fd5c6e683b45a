"""memory.peak and memory.swap.peak: one mark for ever, and marks that open files start anew."""

import pytest
from mm_bench import PAGE, memory_of, reclaim

from fakecg.cgroup.hierarchy import ROOT_CALLER


@pytest.fixture
def job(boot):
    return boot().mkdir("job")


class Open:
    """An open file."""

    def __init__(self, group, name="memory.peak"):
        self.host = group.host
        self.file = self.host.open_file(group.cgroup, name.encode(), ROOT_CALLER)

    @property
    def pages(self):
        return int(self.host.show(self.file)) // PAGE

    def write(self, data=b"x"):
        return self.host.write(self.file, data)

    def close(self):
        self.host.release(self.file)


def grow(job, nr_pages):
    """A task of so many pages, a multiple of the charge batch; returns it."""
    assert nr_pages % 64 == 0
    return memory_of(job, nr_pages)


def end(memory):
    memory.host.kill(memory.task.pid)


def test_the_mark_is_the_highest_usage_since_creation(job):
    assert job["memory.peak"] == "0"
    end(grow(job, 256))
    grow(job, 64)
    assert int(job["memory.current"]) == 64 * PAGE
    assert int(job["memory.peak"]) == 256 * PAGE


def test_descendants_count(boot):
    top = boot().mkdir("top")
    end(grow(top.mkdir("child"), 128))
    assert int(top["memory.peak"]) == 128 * PAGE


def test_any_text_starts_the_files_own_mark(job):
    first, never = Open(job), Open(job)
    end(grow(job, 256))
    grow(job, 64)
    assert first.write(b"\n") == 1
    assert (first.pages, never.pages, int(job["memory.peak"]) // PAGE) == (64, 256, 256)
    end(grow(job, 64))
    assert (first.pages, never.pages) == (128, 256)
    first.write(b"anything at all")
    assert first.pages == 64


def test_an_empty_write_does_nothing(job):
    file = Open(job)
    end(grow(job, 128))
    assert file.write(b"") == 0
    assert file.pages == 128


def test_a_second_file_forgets_what_the_first_had_seen(job):
    # Both share one mark; each only remembers the usage at its own start.
    first, second = Open(job), Open(job)
    base = grow(job, 64)
    first.write()
    end(grow(job, 256))
    assert first.pages == 320
    second.write()
    assert (first.pages, second.pages) == (64, 64)
    assert int(job["memory.peak"]) == 320 * PAGE, "the mark since creation stays"
    end(base)


def test_a_second_start_raises_the_firsts_own_value_to_the_usage_of_then(job):
    first, second, third = Open(job), Open(job), Open(job)
    first.write()
    more = grow(job, 128)
    second.write()
    end(more)
    assert (first.pages, second.pages) == (128, 128)
    third.write()
    # The shared mark is at 0 again; what remains is each one's own value.
    assert (first.pages, second.pages, third.pages) == (128, 128, 0)


def test_a_closed_file_leaves_no_mark(job):
    file = Open(job)
    file.write()
    file.close()
    again = Open(job)
    end(grow(job, 128))
    assert again.pages == 128


def test_swap_has_a_mark_of_its_own(job):
    memory = memory_of(job, 100)
    memory.pageout()
    memory.touch(write=True)
    assert int(job["memory.swap.current"]) == 0
    assert int(job["memory.swap.peak"]) == 100 * PAGE
    file = Open(job, "memory.swap.peak")
    file.write()
    assert file.pages == 0
    memory.pageout(0, 30)
    assert file.pages == 30
    assert int(job["memory.swap.peak"]) == 100 * PAGE


def test_reclaim_lowers_usage_and_not_the_mark(job):
    grow(job, 512)
    peak = int(job["memory.peak"])
    reclaim(job, "1M")
    assert int(job["memory.current"]) < peak
    assert int(job["memory.peak"]) >= peak
