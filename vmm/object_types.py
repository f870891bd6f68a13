# SPDX-License-Identifier: GPL-2.0-or-later
"""All types of objects of this VMM. A new device or object class is one entry here."""

from vmm.cpu import X86Cpu
from vmm.devices.virtio_blk import VirtioBlkDevice
from vmm.iothread import IoThread
from vmm.machine_object import MachineObject
from vmm.qom import Container, TypeRegistry


def type_registry() -> TypeRegistry:
    """What -object, -device, object-add, device_add and qom-list-types know."""
    return TypeRegistry((Container, IoThread, MachineObject, VirtioBlkDevice, X86Cpu))
