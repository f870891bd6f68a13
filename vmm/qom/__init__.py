# SPDX-License-Identifier: GPL-2.0-or-later
"""A small object model: typed properties, links, and a tree of paths.

The same declarations serve the command line, machine files and a monitor: an object class names
its properties once, with type, default and help, and they are read and written by their dashed
names (``poll-max-ns``). Paths follow QEMU: ``/objects/io0``, ``/machine/peripheral/disk0``.
"""

from vmm.qom.object import Container, Device, QomObject
from vmm.qom.properties import Link, Property, PropertyError, ReadOnly, did_you_mean
from vmm.qom.registry import TypeInfo, TypeRegistry
from vmm.qom.tree import PropertyInfo, QomTree
from vmm.qom.types import (
    Boolean,
    Choice,
    HostCpu,
    Integer,
    Size,
    Text,
    ValueType,
    host_cpu,
    parse_bool,
)

__all__ = [
    "Boolean",
    "Choice",
    "Container",
    "Device",
    "HostCpu",
    "Integer",
    "Link",
    "Property",
    "PropertyError",
    "PropertyInfo",
    "QomObject",
    "QomTree",
    "ReadOnly",
    "Size",
    "Text",
    "TypeInfo",
    "TypeRegistry",
    "ValueType",
    "did_you_mean",
    "host_cpu",
    "parse_bool",
]
