"""Usage counted up a tree, limits that refuse all or nothing, and how protection is shared out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakecg.mm.page_counter import PageCounter

MANY = settings(max_examples=150, derandomize=True, deadline=None, database=None)


def chain(*limits):
    """Counters from the top down, each with a limit (None: no limit)."""
    counters, parent = [], None
    for limit in limits:
        counter = PageCounter(parent)
        if limit is not None:
            counter.max = limit
        counters.append(counter)
        parent = counter
    return counters


def test_a_charge_counts_in_every_ancestor():
    top, middle, leaf = chain(None, None, None)
    assert leaf.try_charge(10) is None
    assert middle.try_charge(5) is None
    leaf.uncharge(4)
    assert (top.usage, middle.usage, leaf.usage) == (11, 11, 6)


def test_the_nearest_limit_in_the_way_refuses_and_nothing_is_charged():
    top, middle, leaf = chain(100, 50, None)
    assert leaf.try_charge(50) is None, "up to the limit"
    assert leaf.try_charge(1) is middle
    assert top.try_charge(51) is top
    assert (top.usage, middle.usage, leaf.usage) == (50, 50, 50)


def test_a_forced_charge_passes_limits():
    top, leaf = chain(10, 10)
    leaf.charge(30)
    assert (top.usage, leaf.usage) == (30, 30)


def test_watermarks_remember_the_highest_usage():
    top, leaf = chain(None, None)
    leaf.try_charge(20)
    leaf.uncharge(15)
    top.try_charge(3)
    assert (leaf.watermark, top.watermark) == (20, 20)
    leaf.try_charge(30)
    assert (leaf.watermark, top.watermark) == (35, 38)


@MANY
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40), st.booleans()), max_size=60))
def test_usage_is_the_sum_of_what_was_charged_below(steps):
    # top (max 300) - middle (max 150) - left, right
    top, middle = chain(300, 150)
    left, right = PageCounter(middle), PageCounter(middle)
    counters = [top, middle, left, right]
    own = [0, 0, 0, 0]
    highest = [0, 0, 0, 0]
    for which, amount, gives_back in steps:
        counter = counters[which]
        if gives_back:
            amount = min(amount, own[which])
            counter.uncharge(amount)
            own[which] -= amount
        elif counter.try_charge(amount) is None:
            own[which] += amount
        totals = [sum(own), sum(own[1:]), own[2], own[3]]
        assert [each.usage for each in counters] == totals
        assert totals[0] <= 300
        assert totals[1] <= 150
        highest = [max(pair) for pair in zip(highest, totals, strict=True)]
        assert [each.watermark for each in counters] == highest


# -- protection ---------------------------------------------------------------------------------------------------------------------------


def family(parent_min, *children, recursive=False):
    """A target, a parent with a min below it, and children (usage, min); returns the children's effective min."""
    (target,) = chain(None)
    parent = PageCounter(target)
    parent.set_protection(min_pages=parent_min)
    members = []
    for usage, minimum in children:
        child = PageCounter(parent)
        child.charge(usage)
        child.set_protection(min_pages=minimum)
        members.append(child)
    target.calculate_protection(target, recursive)
    parent.calculate_protection(target, recursive)
    for child in members:
        child.calculate_protection(target, recursive)
    return [child.emin for child in members]


def test_the_target_is_not_protected_against_itself():
    (target,) = chain(None)
    target.charge(100)
    target.set_protection(min_pages=100, low_pages=100)
    target.calculate_protection(target, False)
    assert (target.emin, target.elow) == (0, 0)


def test_a_direct_child_has_its_own_settings():
    target, child = chain(None, None)
    child.charge(10)
    child.set_protection(min_pages=60, low_pages=90)
    child.calculate_protection(target, False)
    assert (child.emin, child.elow) == (60, 90)


@pytest.mark.parametrize(
    ("parent_min", "children", "expected"),
    [
        # Enough for all: each has its own, up to its usage.
        (100, [(50, 30), (50, 40)], [30, 40]),
        (100, [(20, 30), (50, 40)], [20, 40]),
        # Too little: shares in proportion to what is used of each setting.
        (50, [(100, 60), (100, 40)], [30, 20]),
        (50, [(100, 100), (100, 0)], [50, 0]),
        (30, [(20, 60), (100, 40)], [10, 20]),
        # Nothing above: worth nothing.
        (0, [(50, 50), (50, 0)], [0, 0]),
    ],
)
def test_grandchildren_share_their_parents_protection(parent_min, children, expected):
    assert family(parent_min, *children) == expected


@pytest.mark.parametrize(
    ("parent_min", "children", "expected"),
    [
        # 100 - 20 unclaimed, spread over 180 - 20 pages beyond the settings: half a page for each.
        (100, [(100, 20), (80, 0)], [60, 40]),
        # All claimed: as without.
        (50, [(100, 60), (100, 40)], [30, 20]),
        (60, [(100, 0), (20, 0)], [50, 10]),
    ],
)
def test_with_recursive_protection_the_unclaimed_rest_goes_by_usage(parent_min, children, expected):
    assert family(parent_min, *children, recursive=True) == expected


@MANY
@given(st.integers(0, 500), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=5), st.booleans())
def test_shares_never_exceed_the_parents_protection_or_the_usage(parent_min, children, recursive):
    effective = family(parent_min, *children, recursive=recursive)
    # Rounded down each, so never more in sum.
    assert sum(effective) <= parent_min
    parent_usage = sum(usage for usage, _ in children)
    for (usage, minimum), share in zip(children, effective, strict=True):
        # A protection larger than all usage is handed down as it is.
        assert share <= usage or (recursive and parent_min > parent_usage)
        if not recursive:
            assert share <= minimum
    claimed = sum(min(usage, minimum) for usage, minimum in children)
    if claimed <= parent_min:
        assert all(share >= min(usage, minimum) for (usage, minimum), share in zip(children, effective, strict=True))


@MANY
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(-60, 60), st.sampled_from(("charge", "min", "low")), st.integers(0, 80)), max_size=40)
)
def test_what_children_use_of_their_protection_is_known_at_any_time(steps):
    (parent,) = chain(None)
    children = [PageCounter(parent) for _ in range(3)]
    for which, amount, what, setting in steps:
        child = children[which]
        if what == "min":
            child.set_protection(min_pages=setting)
        elif what == "low":
            child.set_protection(low_pages=setting)
        elif amount > 0:
            child.charge(amount)
        else:
            child.uncharge(min(-amount, child.usage))
        assert parent.children_min == sum(min(each.usage, each.min) for each in children)
        assert parent.children_low == sum(min(each.usage, each.low) for each in children)
