"""Access patterns: which pages, how many touches, how many writes."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakecg.abi.errors import UsageError
from fakecg.sched.clock import NSEC_PER_SEC
from fakecg.workload.pattern import PATTERNS, AccessSpec, parse_rate

SPECS = ["once", "none", "uniform:20k/s", "zipf:1.1,20k/s", "hotcold:0.1,20k/s", "seq:20k/s"]
RATED = SPECS[2:]


def pages_of(batches):
    return [page for pages, _ in batches for page in pages]


def run(spec, nr_pages=1000, seconds=10.0, steps=100, seed=1):
    pattern = AccessSpec.parse(spec).start(nr_pages, Random(seed))
    return [touches for _ in range(steps) for touches in pattern.batch(round(seconds / steps * NSEC_PER_SEC))]


def test_every_pattern_is_in_the_table_of_these_tests():
    assert set(PATTERNS) == {spec.partition(":")[0] for spec in SPECS}


@pytest.mark.parametrize(
    ("text", "rate"), [("20k/s", 20_000), ("500", 500), ("1.5M/s", 1_500_000), ("30/m", 0.5), ("3600/h", 1), ("2K", 2000), ("1/ms", 1000)]
)
def test_rates(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "0", "-1", "fast", "20k/d", "20 k", "1e3", "2G/ms", "k/s"])
def test_what_is_not_a_rate(text):
    with pytest.raises(UsageError, match="not a rate"):
        parse_rate(text)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("nr_pages", [0, 1, 7, 1000])
def test_touches_stay_within_the_pages(spec, nr_pages):
    assert set(pages_of(run(spec, nr_pages))) <= set(range(nr_pages))


@pytest.mark.parametrize("spec", RATED)
@given(steps=st.lists(st.integers(0, 3 * NSEC_PER_SEC), max_size=30))
def test_any_division_of_time_gives_the_same_number_of_touches(spec, steps):
    pattern = AccessSpec.parse(spec.replace("20k", "1k")).start(100, Random(1))
    nr_touches = sum(len(pages) for step_ns in steps for pages, _ in pattern.batch(step_ns))
    assert nr_touches == pytest.approx(1000 * sum(steps) / NSEC_PER_SEC, abs=1.01)


@pytest.mark.parametrize("spec", SPECS)
def test_a_seed_gives_the_same_touches(spec):
    assert [list(pages) for pages, _ in run(spec, seed=5)] == [list(pages) for pages, _ in run(spec, seed=5)]


def test_once_touches_every_page_once():
    assert pages_of(run("once")) == list(range(1000))
    assert AccessSpec.parse("once").populates


def test_none_touches_nothing():
    assert run("none") == []
    assert not AccessSpec.parse("none").populates


def test_uniform_touches_all_pages_alike():
    counts = Counter(pages_of(run("uniform:50k/s")))
    assert len(counts) == 1000
    assert max(counts.values()) < 1.25 * 500
    assert min(counts.values()) > 0.75 * 500


@pytest.mark.parametrize("exponent", [0.5, 0.9, 1.0, 1.1, 1.5])
def test_zipf_follows_the_power_law(exponent):
    counts = Counter(pages_of(run(f"zipf:{exponent},20k/s")))
    total = sum(rank**-exponent for rank in range(1, 1001))
    for rank, (_, count) in enumerate(counts.most_common(20), start=1):
        expected = rank**-exponent / total * 200_000
        assert count == pytest.approx(expected, rel=0.25 if rank == 1 else 0.12)


def test_zipf_scatters_the_hot_pages():
    hot = sorted(page for page, _ in Counter(pages_of(run("zipf:1.1,10k/s"))).most_common(10))
    assert hot[-1] - hot[0] > 100


def test_zipf_reaches_every_page():
    assert len(set(pages_of(run("zipf:1,50k/s")))) == 1000


def test_hotcold_gives_nine_tenths_to_the_hot_part():
    counts = Counter(pages_of(run("hotcold:0.1,100k/s")))
    assert sum(count for page, count in counts.items() if page < 100) == pytest.approx(900_000, rel=0.001)
    assert len(counts) == 1000


def test_hotcold_heat_can_be_set():
    spec = AccessSpec.of("hotcold", hot="0.5", rate="100k/s", heat="0.75")
    pattern = spec.start(1000, Random(1))
    pages = pages_of(pattern.batch(NSEC_PER_SEC))
    assert sum(page < 500 for page in pages) == 75_000


@pytest.mark.parametrize("hot", ["0", "1"])
def test_hotcold_with_one_part_only_is_uniform(hot):
    assert len(set(pages_of(run(f"hotcold:{hot},100k/s")))) == 1000


def test_seq_goes_round_and_round_in_ranges():
    batches = run("seq:1050/s", seconds=2, steps=2)
    assert all(isinstance(pages, range) for pages, _ in batches)
    assert pages_of(batches) == [*range(1000), *range(1000), *range(100)]


@pytest.mark.parametrize("spec", RATED)
def test_the_share_of_writes_is_met(spec):
    batches = run(f"{spec},write=0.3")
    nr_writes = sum(len(pages) for pages, write in batches if write)
    assert nr_writes == pytest.approx(0.3 * 200_000, abs=2)
    assert all(len(pages) for pages, _ in batches)
    assert not any(write for _, write in run(spec))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("zip:1,1k/s", "unknown pattern 'zip' .did you mean 'zipf'"),
        ("", "unknown pattern ''"),
        ("uniform", "expected uniform:RATE"),
        ("uniform:1k/s,2", "expected uniform:RATE"),
        ("zipf:1k/s", "expected zipf:EXPONENT,RATE"),
        ("zipf:0,1k/s", "exponent '0': not above 0"),
        ("zipf:x,1k/s", "exponent 'x': not a number"),
        ("hotcold:2,1k/s", "hot '2': not in 0..1"),
        ("seq:fast", "not a rate"),
        ("once:1", "expected once"),
        ("seq:1k/s,write=1.5", "write '1.5': not in 0..1"),
        ("seq:1k/s,write=x", "write 'x': not a number"),
    ],
)
def test_a_mistake_is_named(spec, message):
    with pytest.raises(UsageError, match=message):
        AccessSpec.parse(spec)


def test_named_values_are_checked_against_the_pattern():
    with pytest.raises(UsageError, match="uniform takes no exponent"):
        AccessSpec.of("uniform", rate="1k", exponent="1")
    with pytest.raises(UsageError, match="zipf needs exponent"):
        AccessSpec.of("zipf", rate="1k")
