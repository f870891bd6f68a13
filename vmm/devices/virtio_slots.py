# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtio-mmio slots of the machine, empty ones included.

A guest cannot be told of a new virtio-mmio device: it looks at addresses. So each slot is there
from the start, as a transport whose DeviceID is 0 until a device is plugged into it (virtio 1.2,
4.2.3.1.1). Linux learns of all slots on its command line, ends its probe of an empty one quietly,
and takes a device that came later when its driver is bound to the slot again
(``echo virtio-mmio.N > /sys/bus/platform/drivers/virtio-mmio/bind``).
"""

from typing import Any

from vmm._native import ffi, lib
from vmm.errors import check

SLOTS = 8
VIRTIO_MMIO_BASE = 0xFEB0_0000
VIRTIO_MMIO_STRIDE = 0x200
FIRST_GSI = 16


def slot_address(slot: int) -> int:
    """Guest physical address of a slot's registers."""
    return VIRTIO_MMIO_BASE + slot * VIRTIO_MMIO_STRIDE


def linux_parameters() -> str:
    """How a Linux command line announces the slots: nothing else tells where they are."""
    return " ".join(
        f"virtio_mmio.device={VIRTIO_MMIO_STRIDE}@0x{slot_address(slot):x}:{FIRST_GSI + slot}"
        for slot in range(SLOTS)
    )


def add_slots(iospace: Any) -> None:
    """Make the registers of all slots, empty.

    Raises:
        OSError: an address is taken.
    """
    for slot in range(SLOTS):
        added = lib.iospace_add(
            iospace,
            lib.IO_MMIO,
            slot_address(slot),
            VIRTIO_MMIO_STRIDE,
            _name(slot),
            False,
            lib.virtio_mmio_placeholder_ops(),
            ffi.NULL,
        )
        check(added, f"virtio-mmio slot {slot}")


def fill_slot(iospace: Any, slot: int, device_id: str, transport: Any) -> None:
    """Put a device's transport behind a slot's registers.

    Raises:
        OSError: no memory.
    """
    ops = lib.virtio_mmio_ops()
    _replace(iospace, slot, f"virtio-mmio[{slot}] {device_id}".encode()[:47], ops, transport)


def empty_slot(iospace: Any, slot: int) -> None:
    """Show the placeholder again. The transport can be freed once no vCPU is in a handler."""
    _replace(iospace, slot, _name(slot), lib.virtio_mmio_placeholder_ops(), ffi.NULL)


def _name(slot: int) -> bytes:
    return f"virtio-mmio[{slot}]".encode()


def _replace(iospace: Any, slot: int, name: bytes, ops: Any, opaque: Any) -> None:
    address = slot_address(slot)
    replaced = lib.iospace_replace(iospace, lib.IO_MMIO, address, name, False, ops, opaque)
    check(replaced, f"virtio-mmio slot {slot}")
