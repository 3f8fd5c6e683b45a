"""Compressed objects in zspages: how sizes are rounded, how many pages that takes, and when the memory comes back."""

import pytest

from fakecg.abi.errors import NoSpace
from fakecg.mm.zsmalloc import ZsPool


@pytest.fixture
def pool():
    pool = ZsPool(max_pages=8192)
    yield pool
    pool.close()


def use_of(pool, length):
    """The class an object of this length is in."""
    (handle,) = pool.store([bytes(length)])
    (use,) = pool.class_use()
    pool.free([handle])
    return use


@pytest.mark.parametrize(
    ("length", "object_bytes", "nr_pages", "nr_room"),
    [
        # Length + 8 bytes of handle, rounded up to 32, 48, 64, ...; pages a zspage; objects in them. Powers of two take one page.
        (1, 32, 1, 128),
        (24, 32, 1, 128),
        (25, 48, 3, 256),
        (56, 64, 1, 64),
        (2040, 2048, 1, 2),
        # 8 pages hold 15 objects of up to 2176 bytes, whatever smaller size was asked for: those classes are one.
        (2082, 2176, 8, 15),
        # 9 objects in 8 pages is the last that is better than a page each.
        (3624, 3632, 8, 9),
        (3625, 4096, 1, 1),
        (4096, 4096, 1, 1),
    ],
)
def test_sizes_are_rounded_up_to_merged_classes(pool, length, object_bytes, nr_pages, nr_room):
    use = use_of(pool, length)
    assert (use.object_bytes, use.nr_pages, use.nr_room) == (object_bytes, nr_pages, nr_room)


def test_every_length_fits_its_class_with_the_least_waste(pool):
    for length in range(1, 4097, 13):
        use = use_of(pool, length)
        needed = min(length + 8, 4096)
        assert use.object_bytes >= needed
        assert use.nr_pages <= 8
        rounded = max(32, -(-needed // 16) * 16)
        if rounded & (rounded - 1):
            # The chain with the least waste of a class of just this size; merging changes neither pages nor objects.
            waste = {chain: chain * 4096 % rounded for chain in range(1, 9)}
            assert waste[use.nr_pages] == min(waste.values())
        assert use.nr_room == use.nr_pages * 4096 // rounded


def test_objects_are_kept_apart(pool):
    data = [bytes([number % 251]) * (number * 29 % 4096 + 1) for number in range(700)]
    handles = pool.store(data)
    assert len(set(handles)) == len(handles)
    pool.free(handles[::3])
    more = [bytes([255]) * (number * 31 % 4096 + 1) for number in range(300)]
    handles_of_more = pool.store(more)
    kept = list(zip(handles, data, strict=True))[1::3]
    for handle, item in [*kept, *zip(handles_of_more, more, strict=True)]:
        assert bytes(pool.view[handle : handle + len(item)]) == item


def test_a_pool_takes_whole_zspages(pool):
    pool.store([bytes(2082)])
    assert pool.nr_pages == 8
    pool.store([bytes(2082)] * 14)
    assert pool.nr_pages == 8
    pool.store([bytes(2082)])
    assert pool.nr_pages == 16


def test_half_compressible_pages_take_as_many_pool_pages_as_recorded(pool):
    # 8192 pages took 4411 on a real kernel, where some other entries shared the pool.
    pool.store([bytes(2082)] * 8192)
    assert 4360 <= pool.nr_pages <= 4411


def test_holes_are_filled_before_new_zspages_are_made(pool):
    handles = pool.store([bytes(2082)] * 60)
    assert pool.nr_pages == 32
    pool.free(handles[3:33:3])
    pool.store([bytes(2082)] * 10)
    assert pool.nr_pages == 32


def test_fragmentation_stays_until_a_zspage_is_empty(pool):
    handles = pool.store([bytes(2082)] * 60)
    kept = handles[::15]
    pool.free([handle for handle in handles if handle not in kept])
    assert pool.nr_pages == 32, "each zspage still has one object"
    (use,) = pool.class_use()
    assert (use.nr_zspages, use.nr_room, use.nr_free) == (4, 60, 56)
    pool.free(kept[:2])
    assert pool.nr_pages == 16
    pool.free(kept[2:])
    assert pool.nr_pages == 0
    assert pool.class_use() == []
    assert pool.nr_objects == 0


def test_memory_of_an_emptied_zspage_is_given_back(pool):
    # What was given back reads as zeroes again.
    first, second = pool.store([b"\xaa" * 4096, b"\xbb" * 4096])
    pool.free([first])
    pool.trim()
    assert bytes(pool.view[first : first + 4096]) == bytes(4096)
    assert bytes(pool.view[second : second + 4096]) == b"\xbb" * 4096


def test_a_zspage_in_use_again_is_not_given_back(pool):
    handles = pool.store([b"\xaa" * 3000] * 40)
    pool.free(handles)
    data = [bytes([number + 1]) * 3000 for number in range(40)]
    again = pool.store(data)
    pool.trim()
    assert [bytes(pool.view[handle : handle + 3000]) for handle in again] == data


def test_a_full_arena_takes_nothing_of_a_batch():
    pool = ZsPool(max_pages=16)
    handles = pool.store([bytes(4096)] * 12)
    with pytest.raises(NoSpace):
        pool.store([bytes(4096)] * 5)
    assert pool.nr_objects == 12
    assert pool.nr_pages == 12
    pool.free(handles)
    assert len(pool.store([bytes(4096)] * 16)) == 16
    pool.close()
