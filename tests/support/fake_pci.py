# SPDX-License-Identifier: GPL-2.0-or-later
"""A PC with one PCI bus in the test's process: what the hosted micro-guest can be run against.

Every port and register access of the guest is one call here, so a test sees exactly what the driver
did and may present hardware that no emulator would. There are no threads.
"""

import struct
from dataclasses import dataclass, field

ALL_ONES = 0xFFFF_FFFF
RAM_BASE, RAM_SIZE = 0x40_0000, 1 << 20
COMMON, ISR, DEVICE, NOTIFY = 0, 0x1000, 0x2000, 0x3000  # offsets in BAR 4
REGISTERS_BAR, MSIX_BAR = 4, 1
MSIX_CAP, COMMON_CAP, NOTIFY_CAP, DEVICE_CAP, ISR_CAP = 0x40, 0x50, 0x60, 0x78, 0x88
VERSION_1, MQ, FLUSH, INDIRECT = 1 << 32, 1 << 12, 1 << 9, 1 << 28
NEXT, WRITE, INDIRECT_FLAG = 1, 2, 4


@dataclass
class Bar:
    """One memory (or I/O) BAR; ``size`` in bytes, a power of two."""

    address: int
    size: int
    wide: bool = False
    io: bool = False

    @property
    def flags(self) -> int:
        """The constant low bits of the register."""
        return 1 if self.io else 4 if self.wide else 0


class Function:
    """A PCI function: configuration space, BARs, and memory that ignores writes."""

    def __init__(self, vendor: int, device: int, bars: dict[int, Bar] | None = None) -> None:
        self.config = bytearray(256)
        self.bars = bars or {}
        struct.pack_into("<HH", self.config, 0, vendor, device)

    @property
    def decodes(self) -> bool:
        """Whether memory decoding is on."""
        return bool(self.config[4] & 2)

    def config_read(self, register: int) -> int:
        """32 bits at a register that is a multiple of 4."""
        index = (register - 0x10) // 4
        if bar := self.bars.get(index):
            return bar.address & ALL_ONES & ~0xF | bar.flags
        if (low := self.bars.get(index - 1)) and low.wide:
            return low.address >> 32
        return int.from_bytes(self.config[register : register + 4], "little")

    def config_write(self, register: int, value: int, size: int) -> None:
        """What a driver may change: the command, BARs, MSI-X control."""
        index = (register - 0x10) // 4
        if bar := self.bars.get(index):
            assert not bar.io, "an I/O BAR is nobody's business"
            assert not self.decodes, "a BAR is changed while it is decoded"
            bar.address = (bar.address & ~ALL_ONES | value) & -bar.size
        elif (low := self.bars.get(index - 1)) and low.wide:
            assert not self.decodes, "a BAR is changed while it is decoded"
            low.address = (low.address & ALL_ONES | value << 32) & -low.size
        elif register in (4, MSIX_CAP + 2) and size == 2:
            struct.pack_into("<H", self.config, register, value)

    def memory_read(self, bar: int, offset: int, size: int) -> int:
        """Zero."""
        return 0

    def memory_write(self, bar: int, offset: int, value: int, size: int) -> None:
        """Nothing."""


@dataclass
class Queue:
    """What the driver has told the device about one virtqueue."""

    vector: int = 0xFFFF
    size: int = 64
    enabled: bool = False
    rings: list[int] = field(default_factory=lambda: [0] * 6)  # desc, driver, device; low, high
    seen: int = 0
    used: int = 0


class VirtioBlk(Function):
    """virtio-blk with virtio 1.0 registers in BAR 4 and an MSI-X table in BAR 1."""

    def __init__(self, device: int = 0x1042, sectors: int = 64, queues: int = 2) -> None:
        bars = {
            MSIX_BAR: Bar(0xFEBF_0000, 0x1000),
            REGISTERS_BAR: Bar(0xFEBF_4000, 0x4000, wide=True),
        }
        super().__init__(0x1AF4, device, bars)
        self.features = VERSION_1 | MQ | FLUSH | INDIRECT
        self.queues = [Queue() for _ in range(queues)]
        self.data = bytearray(sectors * 512)
        self.settings = struct.pack("<Q26xH", sectors, queues)
        self.registers: dict[int, int] = {}
        self.status = 0
        self.msix_table = bytearray(0x1000)
        self.isr_reads = 0
        self.refuses_vectors = False
        self.kicks: list[tuple[int, int, int]] = []  # offset, value, size
        self.ram = bytearray()  # the machine sets it
        self._describe()

    def _describe(self) -> None:
        self.config[6] = 0x10
        self.config[0x34] = MSIX_CAP
        struct.pack_into(
            "<BBHII", self.config, MSIX_CAP, 0x11, COMMON_CAP, 3, 0x800 | MSIX_BAR, 0xC00
        )
        structures = (
            (COMMON_CAP, NOTIFY_CAP, 16, 1, COMMON, 0x38),
            (NOTIFY_CAP, DEVICE_CAP, 20, 2, NOTIFY, 0x1000),
            (DEVICE_CAP, ISR_CAP, 16, 4, DEVICE, 0x1000),
            (ISR_CAP, 0, 16, 3, ISR, 0x1000),
        )
        for at, following, length, kind, offset, size in structures:
            struct.pack_into("<BBBBBxxxII", self.config, at, 9, following, length, kind,
                             REGISTERS_BAR, offset, size)  # fmt: skip
        struct.pack_into("<I", self.config, NOTIFY_CAP + 16, 4)

    @property
    def msix_enabled(self) -> bool:
        """Whether MSI-X is on and not masked."""
        return self.config[MSIX_CAP + 3] & 0xC0 == 0x80

    def msix_entry(self, index: int) -> tuple[int, int, int]:
        """(address, data, control) of a table entry."""
        entry: tuple[int, int, int] = struct.unpack_from(
            "<QII", self.msix_table, 0x800 + index * 16
        )
        return entry

    def memory_read(self, bar: int, offset: int, size: int) -> int:
        """Registers of all structures."""
        if bar != REGISTERS_BAR:
            return 0
        if ISR <= offset < DEVICE:
            self.isr_reads += 1
        if DEVICE <= offset < NOTIFY:
            return int.from_bytes(self.settings[offset - DEVICE :][:size], "little")
        return self._common_read(offset) if offset < ISR else 0

    def memory_write(self, bar: int, offset: int, value: int, size: int) -> None:
        """Registers, doorbells, the MSI-X table."""
        if bar == MSIX_BAR:
            self.msix_table[offset : offset + size] = value.to_bytes(size, "little")
        elif offset >= NOTIFY:
            self.kicks.append((offset - NOTIFY, value, size))
            self._run(self.queues[value])
        elif offset < ISR:
            self._common_write(offset, value)

    def _selected(self) -> Queue:
        number = self.registers.get(22, 0)
        return self.queues[number] if number < len(self.queues) else Queue(size=0)

    def _common_read(self, offset: int) -> int:
        queue = self._selected()
        special = {
            4: self.features >> 32 * self.registers.get(0, 0) & ALL_ONES,
            18: len(self.queues),
            20: self.status,
            24: queue.size,
            26: 0xFFFF if self.refuses_vectors else queue.vector,
            30: self.registers.get(22, 0),
        }
        return special.get(offset, self.registers.get(offset, 0))

    def _common_write(self, offset: int, value: int) -> None:
        self.registers[offset] = value
        queue = self._selected()
        if offset == 20:
            self.status = value
        elif offset == 24:
            queue.size = value
        elif offset == 26:
            queue.vector = value
        elif offset == 28:
            queue.enabled = bool(value)
        elif offset >= 32:
            queue.rings[(offset - 32) // 4] = value

    def _unpack(self, layout: str, gpa: int) -> tuple[int, ...]:
        return struct.unpack_from(layout, self.ram, gpa - RAM_BASE)

    def _chain(self, table: int, index: int) -> list[tuple[int, int]]:
        """(gpa, length) of each part of a request."""
        parts = []
        while True:
            gpa, length, flags, following = self._unpack("<QIHH", table + index * 16)
            if flags & INDIRECT_FLAG:
                return self._chain(gpa, 0)
            parts.append((gpa, length))
            if not flags & NEXT:
                return parts
            index = following

    def _run(self, queue: Queue) -> None:
        desc, driver, device = queue.rings[::2]
        while queue.seen != self._unpack("<H", driver + 2)[0]:
            (head,) = self._unpack("<H", driver + 4 + queue.seen % queue.size * 2)
            self._serve(self._chain(desc, head))
            element = device + 4 + queue.used % queue.size * 8 - RAM_BASE
            struct.pack_into("<II", self.ram, element, head, 1)
            queue.seen = (queue.seen + 1) % 0x10000
            queue.used = (queue.used + 1) % 0x10000
        struct.pack_into("<H", self.ram, device + 2 - RAM_BASE, queue.used)

    def _serve(self, parts: list[tuple[int, int]]) -> None:
        kind, sector = self._unpack("<I4xQ", parts[0][0])
        for gpa, length in parts[1:-1]:
            begin, at = sector * 512, gpa - RAM_BASE
            if kind == 1:
                self.data[begin : begin + length] = self.ram[at : at + length]
            else:
                self.ram[at : at + length] = self.data[begin : begin + length]
        self.ram[parts[-1][0] - RAM_BASE] = 0


class FakePc:
    """Ports, memory and RAM; ``functions`` by PCI number (device * 8 + function)."""

    def __init__(self, functions: dict[int, Function]) -> None:
        self.functions = functions
        self.ram = bytearray(RAM_SIZE)
        self.text = b""
        self.exit_code: int | None = None
        self.config_accesses = 0
        self.unmapped: list[int] = []  # addresses read where nothing is
        self._address = 0
        self._ticks = 0
        for function in functions.values():
            if isinstance(function, VirtioBlk):
                function.ram = self.ram

    def pio_read(self, port: int, size: int) -> int:
        """Configuration space; everything else reads as ones."""
        value = ALL_ONES
        if 0xCFC <= port < 0xD00:
            self.config_accesses += 1
            function = self.functions.get(self._address >> 8 & 0xFF)
            if function and self._address >> 16 == 0x8000:
                value = function.config_read(self._address & 0xFC)
            value >>= (port & 3) * 8
        return value & ((1 << size * 8) - 1)

    def pio_write(self, port: int, value: int, size: int) -> None:
        """Configuration space, the serial port, the exit port."""
        if port == 0xCF8:
            self._address = value
        elif 0xCFC <= port < 0xD00:
            if function := self.functions.get(self._address >> 8 & 0xFF):
                function.config_write((self._address & 0xFC) + (port & 3), value, size)
        elif port == 0x3F8:
            self.text += bytes([value])
        elif port == 0xF4:
            self.exit_code = value

    def _decode(self, address: int) -> tuple[Function, int, int] | None:
        for function in self.functions.values():
            for index, bar in function.bars.items():
                inside = bar.address <= address < bar.address + bar.size
                if inside and function.decodes and not bar.io:
                    return function, index, address - bar.address
        return None

    def mmio_read(self, address: int, size: int) -> int:
        """A BAR, or ones."""
        assert address + size <= 1 << 32, "beyond the guest's page tables"
        if found := self._decode(address):
            function, bar, offset = found
            return function.memory_read(bar, offset, size)
        self.unmapped.append(address)
        return (1 << size * 8) - 1

    def mmio_write(self, address: int, value: int, size: int) -> None:
        """A BAR, or nothing."""
        assert address + size <= 1 << 32, "beyond the guest's page tables"
        if found := self._decode(address):
            function, bar, offset = found
            function.memory_write(bar, offset, value, size)

    def ticks(self) -> int:
        """Time that jumps by 10 ms, so that a silent device is given up soon."""
        self._ticks += 10_000_000
        return self._ticks
