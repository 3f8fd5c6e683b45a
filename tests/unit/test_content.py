"""Page contents: deterministic, different from page to page, as compressible as they say."""

import struct
from collections import Counter

import lz4.block
import lz4.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakecg.abi.errors import UsageError
from fakecg.workload.content import KINDS, ZERO_PAGE, ContentSpec, mix64
from fakecg.workload.recorded import RECORDED_KINDS, seed_of, xorshift64

MAPPED = "/proc/self/exe"
SPECS = [
    "zero",
    "text",
    "random",
    "half",
    "ratio=3.0",
    f"file:{MAPPED}",
    "mix:text=0.6,zero=0.2,random=0.2",
    *(f"rec:{kind}" for kind in RECORDED_KINDS),
]
DISTINCT = ["text", "random", "half", "ratio=1", "ratio=3.0", "ratio=40", "rec:half", "rec:quarter", "rec:eighth", "rec:rand", "rec:text"]


def lz4_length(page):
    return len(lz4.block.compress(page, store_size=False))


def kernel_lz4_length(page):
    """As crypto/lz4.c compresses a page: a frame holds the same raw block between 11 bytes and 4."""
    return len(lz4.frame.compress(page, store_size=False, block_linked=False)) - 15


def test_every_kind_is_in_the_table_of_these_tests():
    assert set(KINDS) == {spec[: spec.index(mark) + 1] if (mark := next((m for m in ":=" if m in spec), "")) else spec for spec in SPECS}


@pytest.mark.parametrize("spec", SPECS)
def test_a_page_has_4096_bytes_and_is_the_same_each_time(spec):
    for arguments in ((0, 0), (7, 3), (7, 3, 1), ((1 << 64) - 1, (1 << 31) - 1, 99)):
        page = ContentSpec.parse(spec).page(*arguments)
        assert len(page) == 4096
        assert isinstance(page, bytes)
        assert page == ContentSpec.parse(spec).page(*arguments)


@pytest.mark.parametrize("spec", DISTINCT)
def test_pages_differ_by_seed_index_and_generation(spec):
    content = ContentSpec.parse(spec)
    arguments = [(seed, index, generation) for seed in (1, 2, 3) for index in range(300) for generation in (0, 1)]
    assert len({content.page(*each) for each in arguments}) == len(arguments)


@given(
    st.tuples(st.integers(0, 1 << 40), st.integers(0, 1 << 31), st.integers(0, 1 << 20)),
    st.tuples(st.integers(0, 1 << 40), st.integers(0, 1 << 31), st.integers(0, 1 << 20)),
)
def test_numbers_of_different_pages_differ(one, other):
    assert (mix64(*one) == mix64(*other)) == (one == other)


def test_zero_stays_zero():
    assert ContentSpec.parse("zero").page(1, 2, 3) == ZERO_PAGE == bytes(4096)


def test_random_does_not_compress():
    content = ContentSpec.parse("random")
    assert all(lz4_length(content.page(5, index)) >= 4096 for index in range(50))


def test_half_is_half_random_and_half_zero():
    page = ContentSpec.parse("half").page(5, 6)
    assert page[2048:] == bytes(2048)
    assert {lz4_length(ContentSpec.parse("half").page(5, index)) for index in range(50)} <= set(range(2075, 2090))


def test_text_compresses_to_about_half():
    content = ContentSpec.parse("text")
    mean = sum(kernel_lz4_length(content.page(5, index)) for index in range(200)) / 200
    assert mean == pytest.approx(2200, abs=100)
    assert content.page(5, 6).isascii()


@pytest.mark.parametrize("ratio", [1, 1.1, 1.5, 2, 3.0, 4.7, 10, 50])
def test_ratio_is_met(ratio):
    content = ContentSpec.parse(f"ratio={ratio}")
    for index in range(20):
        assert 4096 / lz4_length(content.page(5, index)) == pytest.approx(ratio, rel=0.03)


def test_file_gives_the_file_s_bytes_and_starts_over(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(bytes(range(256)) * 40)
    content = ContentSpec.parse(f"file:{path}")
    assert content.page(1, 0) == bytes(range(256)) * 16
    assert content.page(1, 2) == bytes(range(256)) * 8 + bytes(2048)
    assert content.page(1, 3) == content.page(2, 0)
    assert content.page(1, 0, 1) == content.page(1, 7919 % 3)


def test_mix_has_the_shares_it_says_and_a_page_keeps_its_kind():
    content = ContentSpec.parse("mix:text=3,zero=1,random=1")

    def kind(index, generation):
        page = content.page(9, index, generation)
        return "zero" if page == ZERO_PAGE else "text" if page.isascii() else "random"

    kinds = [kind(index, 0) for index in range(4000)]
    assert kinds == [kind(index, 5) for index in range(4000)]
    counts = Counter(kinds)
    for name, share in (("text", 0.6), ("zero", 0.2), ("random", 0.2)):
        assert counts[name] / 4000 == pytest.approx(share, abs=0.03)


def test_mix_takes_kinds_with_values():
    content = ContentSpec.parse("mix:ratio=4=1,zero=0")
    assert lz4_length(content.page(1, 1)) == pytest.approx(1024, abs=30)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("txt", "did you mean 'text'"),
        ("", "known: file:…, half"),
        ("ratios=3", "did you mean 'ratio'"),
        ("ratio=x", "not a number"),
        ("ratio=0.5", "not in 1..100"),
        ("ratio=nan", "not in 1..100"),
        ("file:/does/not/exist", "No such file"),
        ("file:/dev/null", "Invalid argument"),
        ("mix:text", "not KIND=SHARE"),
        ("mix:text=0", "all shares are 0"),
        ("mix:text=-1", "must not be negative"),
        ("mix:txt=1", "unknown content 'txt'"),
        ("mix:mix:text=1=1", "a mix in a mix"),
        ("rec:third", "unknown content 'rec:third'"),
    ],
)
def test_a_mistake_is_named(spec, message):
    with pytest.raises(UsageError, match=message):
        ContentSpec.parse(spec)


# Recorded kinds


def words(mapping, index, count):
    draws = xorshift64(seed_of(mapping, index))
    for _ in range(4):
        next(draws)
    return [next(draws) for _ in range(count)]


@pytest.mark.parametrize(("kind", "count"), [("eighth", 64), ("quarter", 128), ("half", 256), ("rand", 512)])
@pytest.mark.parametrize("index", [0, 1, 255, 256, 100_000])
def test_recorded_pages_are_words_of_xorshift64(kind, count, index):
    expected = struct.pack(f"<{count}Q", *words(3, index, count)).ljust(4096, b"\0")
    assert ContentSpec.parse(f"rec:{kind}").page(3, index) == expected


def test_recorded_text_draws_words_by_the_top_four_bits():
    text = "the quick brown fox jumps over lazy dog memory control group swap page kernel reclaim pressure"
    vocabulary = text.split()
    expected = "".join(vocabulary[draw >> 60] + " " for draw in words(3, 300, 1024))[:4096]
    assert ContentSpec.parse("rec:text").page(3, 300) == expected.encode()


@pytest.mark.parametrize(("kind", "length"), [("half", 2082), ("quarter", 1055), ("eighth", 541), ("same", 26)])
def test_recorded_pages_have_the_recorded_lengths(kind, length):
    content = ContentSpec.parse(f"rec:{kind}")
    for index in range(0, 4096, 97):
        assert lz4_length(content.page(1, index)) == length == kernel_lz4_length(content.page(1, index))


def test_recorded_text_has_the_recorded_mean_length():
    # 2037 pages of text took 4057819 bytes together with 17 pages of the program, which took 7525.
    content = ContentSpec.parse("rec:text")
    mean = sum(kernel_lz4_length(content.page(1, index)) for index in range(2037)) / 2037
    assert mean == pytest.approx((4057819 - 7525) / 2037, abs=2)
