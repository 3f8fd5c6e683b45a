"""The age index answers as a walk over all entries would."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fakecg.mm.age_index import AgeIndex

#: Moments close together and far apart, so that borders fall into spans of every width.
MOMENTS = st.one_of(st.integers(0, 1 << 10), st.integers(0, 1 << 34), st.integers(0, 1 << 50))
BATCHES = st.lists(st.tuples(MOMENTS, st.lists(st.integers(1, 4096), min_size=1, max_size=5)), max_size=30)


@given(batches=BATCHES, cutoffs=st.lists(MOMENTS, max_size=10), removals=st.randoms(use_true_random=False))
def test_sums_are_those_of_a_walk(batches, cutoffs, removals):
    index = AgeIndex()
    entries: Counter[tuple[int, int]] = Counter()

    def compare():
        left = list(entries.elements())
        assert (index.nr_entries, index.nr_bytes) == (len(left), sum(length for _, length in left))
        assert index.oldest_ns == min((when for when, _ in left), default=None)
        for cutoff in (*cutoffs, *(when for when, _ in batches[:3])):
            old = [length for when, length in left if when <= cutoff]
            assert index.stored_until(cutoff) == (len(old), sum(old))

    for when, lengths in batches:
        index.add(when, len(lengths), sum(lengths))
        entries.update((when, length) for length in lengths)
    compare()
    while entries:
        left = list(entries.elements())
        removed = removals.sample(left, removals.randint(1, len(left)))
        index.remove([when for when, _ in removed], [length for _, length in removed])
        entries -= Counter(removed)
        compare()
