"""Compressed lengths are the kernel's, whichever way the library is reached."""

from __future__ import annotations

import lz4.block
import pytest

from fakecg.mm.lz4_kernel import PAGE_SIZE, compress_by_frames, new_compressor
from fakecg.workload.recorded import RECORDED_KINDS, recorded_page

WAYS = pytest.mark.parametrize("compress", [new_compressor(), compress_by_frames], ids=["library", "frames"])


def pages_of(kind: str) -> list[bytes]:
    return [recorded_page(kind, 0, index) for index in range(64)]


@WAYS
@pytest.mark.parametrize(("kind", "length"), [("half", 2082), ("quarter", 1055), ("eighth", 541), ("same", 26), ("rand", PAGE_SIZE)])
def test_recorded_pages_have_the_recorded_lengths(compress, kind, length):
    assert {len(block) for block in compress(pages_of(kind))} == {length}


@WAYS
def test_text_is_hashed_four_bytes_at_a_time(compress):
    pages = pages_of("text")
    blocks = compress(pages)
    assert 1980 <= sum(map(len, blocks)) / len(blocks) <= 2000
    assert sum(map(len, blocks)) > sum(len(lz4.block.compress(page, store_size=False)) for page in pages)


@WAYS
@pytest.mark.parametrize("kind", RECORDED_KINDS)
def test_blocks_hold_the_pages(compress, kind):
    pages = pages_of(kind)
    for page, block in zip(pages, map(bytes, compress(pages)), strict=True):
        assert (block if len(block) == PAGE_SIZE else lz4.block.decompress(block, PAGE_SIZE)) == page


def test_both_ways_give_the_same_blocks():
    compress = new_compressor()
    for kind in RECORDED_KINDS:
        assert list(map(bytes, compress(pages_of(kind)))) == list(map(bytes, compress_by_frames(pages_of(kind)))), kind


def test_machines_of_one_process_do_not_overwrite_each_other():
    one, other = new_compressor(), new_compressor()
    blocks = one(pages_of("half"))
    other(pages_of("text"))
    assert [lz4.block.decompress(block, PAGE_SIZE) for block in blocks] == pages_of("half")
