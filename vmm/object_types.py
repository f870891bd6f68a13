# SPDX-License-Identifier: GPL-2.0-or-later
"""All types of objects of this VMM. A new device or object class is one entry here."""

from vmm.cpu import X86Cpu
from vmm.devices.i8042 import I8042
from vmm.devices.ps2_keyboard import Ps2Keyboard
from vmm.devices.ps2_mouse import Ps2Mouse
from vmm.devices.virtio_blk import VirtioBlkDevice
from vmm.iothread import IoThread
from vmm.machine_object import MachineObject
from vmm.qom import Container, TypeInfo, TypeRegistry

FRAMEBUFFER = TypeInfo("framebuffer", "device", abstract=False)
"""Declared, not loaded: its numpy takes longer to load than all the rest."""


def type_registry() -> TypeRegistry:
    """What -object, -device, object-add, device_add and qom-list-types know."""
    classes = (
        Container,
        I8042,
        IoThread,
        MachineObject,
        Ps2Keyboard,
        Ps2Mouse,
        VirtioBlkDevice,
        X86Cpu,
    )
    return TypeRegistry(classes, (FRAMEBUFFER,))
