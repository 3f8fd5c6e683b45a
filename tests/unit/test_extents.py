"""Free runs against a plain set of free numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fakecg.mm.extents import Extents

SIZE = 40


def first_run(free: set[int], number: int) -> tuple[int, int]:
    """Start and length of the run that stands at a number."""
    end = number
    while end in free:
        end += 1
    return number, end - number


def runs_of(free: set[int]) -> list[tuple[int, int]]:
    """All runs, in order."""
    return [first_run(free, number) for number in sorted(free) if number - 1 not in free]


@given(st.lists(st.tuples(st.sampled_from(["free", "from", "fit"]), st.integers(0, SIZE - 1), st.integers(1, 6)), max_size=60))
def test_runs_are_those_of_the_set_of_free_numbers(steps: list[tuple[str, int, int]]) -> None:
    extents, free = Extents(), set()
    for step, number, length in steps:
        if step == "free":
            span = range(number, number + length)
            if free.isdisjoint(span):
                extents.add(number, length)
                free.update(span)
        elif step == "from" and free:
            after = [run for run in runs_of(free) if run[0] >= number]
            expected = after[0] if after else runs_of(free)[0]
            assert extents.take_from(number) == expected
            free.difference_update(range(expected[0], sum(expected)))
        elif step == "fit":
            fitting = [start for start, found in runs_of(free) if found >= length]
            assert extents.take_first_fit(length) == (fitting[0] if fitting else None)
            free.difference_update(range(fitting[0], fitting[0] + length) if fitting else ())
        assert bool(extents) == bool(free)
