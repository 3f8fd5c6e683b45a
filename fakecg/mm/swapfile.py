"""Swap devices and their slots.

Mirrors mm/swapfile.c. A slot number (swp_entry) is unique over all devices and never 0. The device is a real file: each slot is 4 KiB of
it, read with pread and written with pwrite. Free slots are kept as extents, so that a batch gets neighbours.

Simplified: freed slots are free at once (6.12 keeps up to 64 per CPU in a cache).
"""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Iterable, Sequence
from itertools import groupby

from fakecg.abi.errors import DataLost
from fakecg.abi.units import PAGE_SIZE
from fakecg.mm.columns import consecutive
from fakecg.mm.extents import Extents
from fakecg.mm.swap_backing import open_backing
from fakecg.sched.cost import CostModel

#: A number of failures that is never used up.
NO_END = 1 << 62


class SwapDevice:
    """One swap file.

    Attributes:
        name: as in /proc/swaps.
        first_slot: number of its first slot.
        nr_slots: size.
        priority: devices with the highest number are used first.
        nr_used: slots in use.
        cost: its latencies.
        fail_reads, fail_writes: how many of the next I/Os fail with EIO, NO_END for all of them (fault injection).
        refuses: hands out no slots, as if it were full (fault injection).
        is_leaving: hands out no slots, because it is being taken out of use.
    """

    def __init__(
        self, path: str | None, nr_slots: int, *, priority: int = -2, first_slot: int = 1, cost: CostModel | None = None, number: int = 0
    ) -> None:
        """``path``: None for a temporary file without a name.

        Raises:
            UsageError: as open_backing.
        """
        self.name = os.path.abspath(path) if path else f"/fakecg-swap{number or ''}"
        self.cost = cost or CostModel()
        self.refuses = False
        self.is_leaving = False
        self.first_slot = first_slot
        self.nr_slots = nr_slots
        self.priority = priority
        self.nr_used = 0
        self.fail_reads = 0
        self.fail_writes = 0
        self.fd = open_backing(path, nr_slots * PAGE_SIZE)
        self._extents = Extents()
        self._next = first_slot
        self._cluster_end = first_slot + nr_slots
        self._freed: list[int] = []

    @property
    def nr_free(self) -> int:
        """Slots not in use."""
        return self.nr_slots - self.nr_used

    def alloc(self, nr_slots: int) -> Sequence[int]:
        """Take up to nr_slots slots, neighbours where there are any: then a range."""
        if self.refuses or self.is_leaving:
            return ()
        first = self._next
        if first + nr_slots <= self._cluster_end:
            self._next += nr_slots
            self.nr_used += nr_slots
            return range(first, first + nr_slots)
        slots: list[int] = []
        while len(slots) < nr_slots:
            if self._next == self._cluster_end and not self._next_cluster():
                break
            end = min(self._cluster_end, self._next + nr_slots - len(slots))
            slots.extend(range(self._next, end))
            self._next = end
        self.nr_used += len(slots)
        return slots

    def _next_cluster(self) -> bool:
        """Go on with the next free extent after the current one, wrapping around."""
        self._merge_freed()
        if not self._extents:
            return False
        start, length = self._extents.take_from(self._next)
        self._next, self._cluster_end = start, start + length
        return True

    def free(self, slots: Sequence[int]) -> None:
        """Give slots back."""
        self._freed.extend(slots)
        self.nr_used -= len(slots)

    def _merge_freed(self) -> None:
        freed = sorted(self._freed)
        self._freed.clear()
        for _, group in groupby(enumerate(freed), key=lambda item: item[1] - item[0]):
            run = [slot for _, slot in group]
            self._extents.add(run[0], len(run))

    def write(self, slot: int, pages: Sequence[bytes | memoryview]) -> None:
        """Write neighbouring slots.

        Raises:
            OSError: EIO from the device or by injection; ENOSPC when the host's disk is full.
        """
        if self.fail_writes:
            self.fail_writes -= 1
            raise OSError(errno.EIO, f"swap device {self.name}: injected write error at slot {slot}")
        offset = (slot - self.first_slot) * PAGE_SIZE
        written = os.pwritev(self.fd, pages, offset) if len(pages) > 1 else os.pwrite(self.fd, pages[0], offset)
        if written != len(pages) * PAGE_SIZE:
            raise OSError(errno.EIO, f"swap device {self.name}: short write at slot {slot}")

    def read(self, slot: int) -> bytes:
        """Read one slot.

        Raises:
            DataLost: the device failed or is too short.
        """
        if self.fail_reads:
            self.fail_reads -= 1
            raise DataLost(f"swap device {self.name}: injected read error at slot {slot}")
        try:
            data = os.pread(self.fd, PAGE_SIZE, (slot - self.first_slot) * PAGE_SIZE)
        except OSError as error:
            raise DataLost(f"swap device {self.name}: {error.strerror} at slot {slot}") from error
        if len(data) != PAGE_SIZE:
            raise DataLost(f"swap device {self.name}: slot {slot} is beyond its end")
        return data

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)


class SwapSpace:
    """All devices, and what is known of each slot.

    Attributes:
        nr_slots, nr_free: of all devices.
        page: the page whose contents a slot holds, by slot; 0 for a free slot.
        memcg: id of the memcg the slot is charged to, by slot.
        zeromap: 1 where the page was all zeroes and is nowhere stored (swap_info_struct.zeromap).
        on_disk: 1 where the device holds the bytes.
    """

    def __init__(self, devices: Iterable[SwapDevice]) -> None:
        self.devices = sorted(devices, key=lambda device: -device.priority)
        self.nr_slots = sum(device.nr_slots for device in self.devices)
        self.nr_free = self.nr_slots
        self._turn = 0
        self.page = array("i", [0])
        self.memcg = array("H", [0])
        self.zeromap = bytearray(1)
        self.on_disk = bytearray(1)

    @property
    def is_rotational(self) -> bool:
        """Readahead goes by slot instead of by address. Source: swapfile.c:nr_rotate_swap."""
        return any(device.cost.rotational for device in self.devices)

    @property
    def nr_used(self) -> int:
        """Used slots of all devices."""
        return self.nr_slots - self.nr_free

    def device_of(self, slot: int) -> SwapDevice:
        """The device a slot is on."""
        for device in self.devices:
            if device.first_slot <= slot < device.first_slot + device.nr_slots:
                return device
        raise AssertionError(f"slot {slot} is on no device")

    def alloc(self, pages: Sequence[int], memcg_id: int) -> Sequence[int]:
        """Slots for pages, as many as there are, the highest priority first; a range if they are neighbours."""
        slots: Sequence[int] = ()
        devices = self.devices
        if len(devices) > 1:
            self._turn += 1
            # Devices of one priority take turns.
            turn = self._turn % len(devices)
            devices = sorted([*devices[turn:], *devices[:turn]], key=lambda device: -device.priority)
        for device in devices:
            more = device.alloc(len(pages) - len(slots))
            slots = [*slots, *more] if slots else more
            if len(slots) == len(pages):
                break
        self.nr_free -= len(slots)
        if slots:
            highest = slots[-1] if isinstance(slots, range) else max(slots)
            missing = highest + 1 - len(self.page)
            if missing > 0:
                missing = min(max(missing, 4096), self.nr_slots + 1 - len(self.page))
                self.page.extend(array("i", bytes(4 * missing)))
                self.memcg.extend(array("H", bytes(2 * missing)))
                self.zeromap.extend(bytes(missing))
                self.on_disk.extend(bytes(missing))
            page_of, memcg_of = self.page, self.memcg
            if isinstance(slots, range) and isinstance(pages, range):
                page_of[slots.start : slots.stop] = consecutive(pages.start, pages.start + len(slots))
                memcg_of[slots.start : slots.stop] = array("H", [memcg_id]) * len(slots)
                return slots
            for slot, page in zip(slots, pages, strict=False):
                page_of[slot] = page
                memcg_of[slot] = memcg_id
        return slots

    def forget(self, slots: Sequence[int]) -> None:
        """What the devices and the zero map have of slots is out of date."""
        zeromap, on_disk = self.zeromap, self.on_disk
        if isinstance(slots, range):
            zeromap[slots.start : slots.stop] = on_disk[slots.start : slots.stop] = bytes(len(slots))
            return
        for slot in slots:
            zeromap[slot] = on_disk[slot] = 0

    def free(self, slots: Sequence[int]) -> None:
        """Give slots back; their contents are gone."""
        self.forget(slots)
        self.nr_free += len(slots)
        page = self.page
        if isinstance(slots, range):
            page[slots.start : slots.stop] = array("i", bytes(4 * len(slots)))
        else:
            for slot in slots:
                page[slot] = 0
        if len(self.devices) == 1:
            self.devices[0].free(slots)
            return
        for slot in slots:
            self.device_of(slot).free((slot,))

    def remove(self, device: SwapDevice) -> None:
        """Take a device out of use; none of its slots is."""
        self.devices.remove(device)
        self.nr_slots -= device.nr_slots
        self.nr_free -= device.nr_slots
        device.close()

    def close(self) -> None:
        """Close all devices."""
        for device in self.devices:
            device.close()
