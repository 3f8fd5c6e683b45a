"""Columns of numbers, and what makes batches cheap: neighbours are a range, and a range is a slice of every column."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

#: Numbers from 0 on, to be sliced: a slice costs a copy of memory instead of an object for each number.
_numbers = array("i")
_GROWTH = 1 << 16


def consecutive(start: int, stop: int) -> array[int]:
    """The numbers start..stop-1 as a column."""
    if stop > len(_numbers):
        _numbers.extend(range(len(_numbers), stop + _GROWTH))
    return _numbers[start:stop]


def column(values: array[int], indices: Sequence[int]) -> Sequence[int]:
    """The values at some indices."""
    if isinstance(indices, range):
        return values[indices.start : indices.stop]
    return [values[index] for index in indices]


def as_run(numbers: Sequence[int]) -> Sequence[int]:
    """The same numbers, as a range if they are neighbours in ascending order, else as a list."""
    if isinstance(numbers, range):
        return numbers
    nr_numbers = len(numbers)
    if nr_numbers:
        first = numbers[0]
        if numbers[-1] - first == nr_numbers - 1:
            run = range(first, first + nr_numbers)
            if (consecutive(first, run.stop) == numbers) if isinstance(numbers, array) else (list(run) == numbers):
                return run
    return list(numbers)
