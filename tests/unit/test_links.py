"""Linked lists in columns against plain lists."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fakecg.mm.links import LinkedList, Links

NR_ITEMS = 24

#: A step: what is done, with a start, a length and a choice of items.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add_oldest", "take", "remove", "splice", "run"]), st.integers(0, NR_ITEMS), st.integers(0, NR_ITEMS)
    ),
    max_size=40,
)


def contents(links: Links, of: LinkedList) -> tuple[list[int], list[int]]:
    """The items by both columns, oldest first."""
    forwards, backwards = [], []
    item = of.oldest
    while item:
        forwards.append(item)
        item = links.newer[item]
    item = of.newest
    while item:
        backwards.append(item)
        item = links.older[item]
    return forwards, backwards[::-1]


@given(STEPS)
def test_lists_hold_what_plain_lists_hold(steps: list[tuple[str, int, int]]) -> None:
    links = Links()
    links.extend(NR_ITEMS)
    lists, models = (LinkedList(), LinkedList()), ([], [])
    for step, first, second in steps:
        which = first % 2
        of, model = lists[which], models[which]
        free = [item for item in range(1, NR_ITEMS + 1) if item not in models[0] and item not in models[1]]
        chosen = free[: second + 1]
        if step == "run" and chosen:
            # Neighbours come as a range.
            end = chosen[0]
            while end + 1 in chosen:
                end += 1
            links.add(of, range(chosen[0], end + 1))
            model.extend(range(chosen[0], end + 1))
        elif step == "add":
            links.add(of, chosen[::-1])
            model.extend(chosen[::-1])
        elif step == "add_oldest" and chosen:
            items = range(chosen[0], chosen[-1] + 1) if chosen == list(range(chosen[0], chosen[-1] + 1)) else chosen
            links.add_oldest(of, items)
            for item in chosen:
                model.insert(0, item)
        elif step == "take":
            assert list(links.take_oldest(of, second)) == model[:second]
            del model[:second]
        elif step == "remove" and model:
            items = model[first % len(model) : first % len(model) + second + 1]
            links.remove(of, items)
            models[which][:] = [item for item in model if item not in items]
        elif step == "splice":
            links.splice_oldest(lists[0], lists[1])
            models[0][:0] = models[1]
            models[1].clear()
        for linked, expected in zip(lists, models, strict=True):
            assert contents(links, linked) == (expected, expected)
            assert linked.size == len(expected)
            assert list(links.oldest(linked, 5)) == expected[:5]
