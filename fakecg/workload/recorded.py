"""Page contents of the program that was recorded on real kernels, word for word.

A page is 512 words of 64 bits from xorshift64 (13 left, 7 right, 17 left), seeded by the page's index and mapping, four outputs dropped.
The generator is linear, so a block of pages is made at once: one long integer holds the state of each page in a lane of 64 bits, and a
step of all of them is six operations on it.

lz4 lengths: half 2082, quarter 1055, eighth 541, same 26 in every implementation; text 1989 on average with the kernel's, which hashes
four bytes where the stream functions of liblz4 hash five (1810).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

from fakecg.abi.units import PAGE_SIZE

_WORDS_PER_PAGE = PAGE_SIZE // 8
_RANDOM_WORDS = {"half": 256, "quarter": 128, "eighth": 64, "rand": 512}
RECORDED_KINDS = (*_RANDOM_WORDS, "same", "text", "zero")

_VOCABULARY = (
    b"the ", b"quick ", b"brown ", b"fox ", b"jumps ", b"over ", b"lazy ", b"dog ",
    b"memory ", b"control ", b"group ", b"swap ", b"page ", b"kernel ", b"reclaim ", b"pressure ",
)  # fmt: skip
#: The word for each value of a number's top byte.
_WORD_OF_TOP_BYTE = tuple(_VOCABULARY[top >> 4] for top in range(256))

_U64 = (1 << 64) - 1
_SEED_FACTOR = 0x9E3779B97F4A7C15
_MAPPING_STRIDE = 1000003
_NR_DROPPED = 4
#: Pages made at once, and draws made for a page of text; more are drawn singly if the words are short.
_LANES = 256
_TEXT_DRAWS = 768


def _lanes(value: int) -> int:
    return int.from_bytes(value.to_bytes(8, "little") * _LANES, "little")


_MASK_13 = _lanes(_U64 << 13 & _U64)
_MASK_7 = _lanes(_U64 >> 7)
_MASK_17 = _lanes(_U64 << 17 & _U64)


def seed_of(mapping: int, index: int) -> int:
    """First state of a page's generator."""
    return (index + _MAPPING_STRIDE * mapping + 1) * _SEED_FACTOR & _U64


def xorshift64(state: int) -> Iterator[int]:
    """The outputs after ``state``, forever."""
    while True:
        state ^= state << 13 & _U64
        state ^= state >> 7
        state ^= state << 17 & _U64
        yield state


@lru_cache(maxsize=16)
def _draws(mapping: int, block: int, nr_draws: int) -> array[int]:
    # Outputs of _LANES pages: draw d of page p stands at d * _LANES + p.
    first = block * _LANES
    state = int.from_bytes(array("Q", (seed_of(mapping, first + lane) for lane in range(_LANES))).tobytes(), "little")
    rows: list[bytes] = []
    for step in range(_NR_DROPPED + nr_draws):
        state ^= state << 13 & _MASK_13
        state ^= state >> 7 & _MASK_7
        state ^= state << 17 & _MASK_17
        if step >= _NR_DROPPED:
            rows.append(state.to_bytes(_LANES * 8, "little"))
    return array("Q", b"".join(rows))


def recorded_page(kind: str, mapping: int, index: int) -> bytes:
    """The 4096 bytes of page ``index`` of a mapping; ``kind`` is one of RECORDED_KINDS."""
    if kind == "zero":
        return bytes(PAGE_SIZE)
    if kind == "same":
        return b"\x5a" * PAGE_SIZE
    block, lane = divmod(index, _LANES)
    if kind == "text":
        draws = _draws(mapping, block, _TEXT_DRAWS)[lane::_LANES]
        page = b"".join([_WORD_OF_TOP_BYTE[top] for top in draws.tobytes()[7::8]])
        if len(page) < PAGE_SIZE:
            more = islice(xorshift64(draws[-1]), _WORDS_PER_PAGE)
            page += b"".join(_VOCABULARY[draw >> 60] for draw in more)
        return page[:PAGE_SIZE]
    return _draws(mapping, block, _RANDOM_WORDS[kind])[lane::_LANES].tobytes().ljust(PAGE_SIZE, b"\0")
