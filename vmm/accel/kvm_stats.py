# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own statistics of a VM or vCPU, self-described.

Source: the kernel's Documentation/virt/kvm/api.rst, 4.133 KVM_GET_STATS_FD. What the descriptor
gives is checked against its size: another kernel may describe more than we know.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from vmm._native import lib

TYPES = ("cumulative", "instant", "peak", "linear-histogram", "log2-histogram")
UNITS = ("none", "bytes", "seconds", "cycles", "boolean")
_BASES = (10, 2)
_HEADER = struct.Struct("=6I")
_DESCRIPTOR = struct.Struct("=IhHII")
_MOST = 1 << 16  # bytes of each part


@dataclass(frozen=True)
class KvmStat:
    """A statistic; its values count ``base ** exponent`` of a unit (``none``: plain numbers)."""

    name: str
    type: str
    unit: str
    base: int
    exponent: int
    bucket_size: int
    values: tuple[int, ...]


class StatsFiles:
    """The descriptors of a VM's and its vCPUs' statistics.

    They are got before a vCPU runs: KVM_GET_STATS_FD waits until it leaves the guest, reading does
    not. A kernel that has none gives no statistics.
    """

    def __init__(self) -> None:
        self._vm = -1
        self._vcpus: dict[int, int] = {}

    def set_vm(self, vm_fd: int) -> None:
        """The VM is there."""
        self._vm = lib.kvm_ioctl_value(vm_fd, lib.KVM_GET_STATS_FD, 0)

    def add_vcpu(self, index: int, vcpu_fd: int) -> None:
        """A vCPU is there, its thread is not."""
        self._vcpus[index] = lib.kvm_ioctl_value(vcpu_fd, lib.KVM_GET_STATS_FD, 0)

    def remove_vcpu(self, index: int) -> None:
        """The vCPU is gone."""
        fd = self._vcpus.pop(index)
        if fd >= 0:
            os.close(fd)

    def of_vm(self) -> list[KvmStat]:
        """The VM's statistics as of now."""
        return _read_all(self._vm)

    def of_vcpu(self, index: int) -> list[KvmStat]:
        """A vCPU's statistics as of now."""
        return _read_all(self._vcpus.get(index, -1))

    def close(self) -> None:
        """Close the VM's; those of vCPUs are closed with them."""
        if self._vm >= 0:
            os.close(self._vm)
        self._vm = -1


def _read_all(fd: int) -> list[KvmStat]:
    try:
        return list(_read(fd)) if fd >= 0 else []
    except (OSError, struct.error, ValueError):
        return []


def _read(fd: int) -> Iterator[KvmStat]:
    header = _HEADER.unpack(os.pread(fd, _HEADER.size, 0))
    _, name_size, count, _, descriptors_at, data_at = header
    stride = _DESCRIPTOR.size + name_size
    if count * stride > _MOST:
        raise ValueError("more statistics than there can be")
    raw = os.pread(fd, count * stride, descriptors_at)
    data = os.pread(fd, _MOST, data_at)
    for at in range(0, count * stride, stride):
        flags, exponent, size, offset, bucket_size = _DESCRIPTOR.unpack_from(raw, at)
        name = raw[at + _DESCRIPTOR.size : at + stride].split(b"\0")[0].decode("ascii", "replace")
        kind, unit, base = flags & 0xF, flags >> 4 & 0xF, flags >> 8 & 0xF
        if kind < len(TYPES) and unit < len(UNITS) and base < len(_BASES):
            values = struct.unpack_from(f"={size}Q", data, offset)
            yield KvmStat(
                name, TYPES[kind], UNITS[unit], _BASES[base], exponent, bucket_size, values
            )
