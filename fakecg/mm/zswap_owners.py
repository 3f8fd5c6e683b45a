"""Whom zswap entries are charged to. Mirrors obj_cgroup of mm/memcontrol.c: an owner outlives its cgroup and belongs to the parent then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakecg.mm.age_index import AgeIndex

if TYPE_CHECKING:
    from fakecg.mm.memcontrol import MemCgroup


class ZswapOwners:
    """Owner numbers; 0 is nobody.

    Attributes:
        ages: by owner number, how old its entries are.
    """

    def __init__(self) -> None:
        self._memcgs: list[MemCgroup | None] = [None]
        self.ages: dict[int, AgeIndex] = {}

    def number_of(self, memcg: MemCgroup) -> int:
        """A cgroup's own number, new at its first entry."""
        if not memcg.objcg:
            self._memcgs.append(memcg)
            memcg.objcg = len(self._memcgs) - 1
            memcg.objcgs.append(memcg.objcg)
            self.ages[memcg.objcg] = AgeIndex()
        return memcg.objcg

    def memcg_of(self, number: int) -> MemCgroup:
        """The cgroup that pays for an owner's entries."""
        memcg = self._memcgs[number]
        assert memcg is not None
        return memcg

    def reparent(self, memcg: MemCgroup, parent: MemCgroup) -> None:
        """All of a removed cgroup's owners are the parent's now. Source: memcg_reparent_objcgs."""
        for number in memcg.objcgs:
            self._memcgs[number] = parent
        parent.objcgs += memcg.objcgs
        memcg.objcgs = []
