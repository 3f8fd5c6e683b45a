"""How swap devices are asked for: ``8G``, or ``1G,prio=10,device=nvme,file=/path``, several of them for several devices."""

from __future__ import annotations

from collections.abc import Sequence

from fakecg.abi.errors import UsageError
from fakecg.abi.units import PAGE_SIZE, parse_size
from fakecg.mm.swapfile import SwapDevice
from fakecg.sched.cost import CostModel

#: Priority of the first device that names none; each further one gets one less. Source: swapfile.c:least_priority.
_FIRST_PRIORITY = -2
_MAX_PRIORITY = 32767


def open_devices(specs: Sequence[str | int], default_cost: CostModel, swap_file: str | None = None) -> list[SwapDevice]:
    """Open the devices, in order; those of size 0 are left out.

    Args:
        specs: ``SIZE[,prio=N][,device=COST][,file=PATH]`` each; COST as for CostModel.parse, with ``+`` for its commas.
        swap_file: path for the first device.

    Raises:
        UsageError: a spec that makes no sense, or a file that cannot be used.
    """
    devices: list[SwapDevice] = []
    next_priority = _FIRST_PRIORITY
    first_slot = 1
    for number, spec in enumerate(specs):
        size, *options = str(spec).split(",")
        nr_slots = parse_size(size) // PAGE_SIZE
        path, priority, cost = swap_file if number == 0 else None, None, default_cost
        for option in options:
            key, _, value = option.partition("=")
            if key == "file":
                path = value
            elif key == "prio" and value.lstrip("-").isdigit() and -1 <= int(value) <= _MAX_PRIORITY:
                priority = int(value)
            elif key == "device":
                cost = CostModel.parse(value.replace("+", ","))
            else:
                raise UsageError(f"--swap {spec}: not an option: {option!r} (known: prio=-1..{_MAX_PRIORITY}, device=, file=)")
        if not nr_slots:
            continue
        if priority is None or priority < 0:
            priority, next_priority = next_priority, next_priority - 1
        devices.append(SwapDevice(path, nr_slots, priority=priority, first_slot=first_slot, cost=cost, number=len(devices)))
        first_slot += nr_slots
    return devices
