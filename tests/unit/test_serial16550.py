# SPDX-License-Identifier: GPL-2.0-or-later
"""The UART's registers (PC16550D data sheet), its way out and in, and the port around it."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm._native import ffi, lib
from vmm.bql import Bql
from vmm.main_loop import MainLoop

DATA, IER, IIR, FCR, LCR, MCR, LSR, MSR, SCR = 0, 1, 2, 2, 3, 4, 5, 6, 7
RX, TX = 1, 2
NONE, TX_EMPTY, RX_DATA = 0x01, 0x02, 0x04
DLAB, LOOP = 0x80, 0x10
OUT_BUFFER = 65536


class Uart:
    """A UART on an event loop of its own, its output on a pipe."""

    def __init__(self) -> None:
        self.bql = Bql()
        self.bql.lock()
        self.loop = MainLoop(self.bql.handle)
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.irq = ffi.new("IrqLine *", {"vm_fd": -1, "gsi": 4})
        self.native: Any = lib.serial16550_new(self.loop.context, self.writer, self.irq)
        self._ops = lib.ops_serial16550()

    def close(self) -> None:
        lib.serial16550_free(self.native)
        self.loop.close()
        for fd in (self.reader, self.writer):
            if fd >= 0:
                os.close(fd)
        self.bql.unlock()
        self.bql.close()

    def read(self, register: int) -> int:
        return int(self._ops.read(self.native, register, 1))

    def write(self, register: int, value: int) -> None:
        self._ops.write(self.native, register, value, 1)

    def send(self, data: bytes) -> None:
        for byte in data:
            self.write(DATA, byte)

    def receive(self, data: bytes) -> int:
        return int(lib.serial16550_receive(self.native, data, len(data)))

    def turn(self) -> None:
        """One look of the main loop."""
        lib.main_loop_select(self.loop.context, self.bql.handle, 0, ffi.NULL, ffi.NULL, 0, ffi.NULL)

    def output(self) -> bytes:
        """What is in the pipe."""
        data = b""
        try:
            while piece := os.read(self.reader, 1 << 20):
                data += piece
        except BlockingIOError:
            pass
        return data

    @property
    def level(self) -> int:
        return int(lib.irq_line_level(self.irq))

    @property
    def edges(self) -> int:
        return int(lib.irq_line_raised(self.irq))


@pytest.fixture
def uart() -> Iterator[Uart]:
    made = Uart()
    yield made
    made.close()


def test_after_reset_the_transmitter_is_empty_and_nothing_is_pending(uart: Uart) -> None:
    assert [uart.read(r) for r in (IER, IIR, LCR, MCR, LSR, MSR, SCR)] == [
        *(0, NONE, 0, 0x08, 0x60, 0xB0, 0)
    ]
    assert (uart.read(DATA), uart.level, uart.edges) == (0, 0, 0)


def test_output_leaves_with_the_next_turn_of_the_loop(uart: Uart) -> None:
    uart.send(b"hello\n")
    assert uart.output() == b""
    uart.turn()
    assert uart.output() == b"hello\n"


def test_output_without_a_newline_leaves_too(uart: Uart) -> None:
    uart.send(b"login: ")
    uart.turn()
    assert uart.output() == b"login: "
    uart.send(b"x")
    uart.turn()
    assert uart.output() == b"x"


@pytest.mark.parametrize(("register", "mask"), [(SCR, 0xFF), (LCR, 0x7F), (MCR, 0x1F), (IER, 0x0F)])
def test_plain_registers_keep_what_was_written(uart: Uart, register: int, mask: int) -> None:
    for value in (0x55, 0xAA & ~DLAB, 0):
        uart.write(register, value)
        assert uart.read(register) == value & mask


@pytest.mark.parametrize("register", [LSR, MSR])
def test_status_registers_cannot_be_written(uart: Uart, register: int) -> None:
    before = uart.read(register)
    uart.write(register, 0xFF)
    uart.write(register, 0)
    assert uart.read(register) == before


def test_the_divisor_latch_hides_data_and_interrupt_enable(uart: Uart) -> None:
    uart.write(IER, RX)
    uart.write(LCR, DLAB | 3)
    assert (uart.read(DATA), uart.read(IER)) == (12, 0)  # 9600 baud
    uart.write(DATA, 0x34)
    uart.write(IER, 0x12)
    assert (uart.read(DATA), uart.read(IER)) == (0x34, 0x12)
    uart.write(LCR, 3)
    assert (uart.read(IER), uart.read(DATA)) == (RX, 0)
    uart.turn()
    assert uart.output() == b""


def test_the_receive_fifo_holds_sixteen_bytes_in_order(uart: Uart) -> None:
    assert uart.receive(bytes(range(1, 21))) == 16
    assert uart.receive(b"more") == 0
    assert uart.read(LSR) == 0x61
    assert [uart.read(DATA) for _ in range(16)] == list(range(1, 17))
    assert (uart.read(LSR), uart.read(DATA)) == (0x60, 0)
    assert uart.receive(b"ab") == 2
    assert [uart.read(DATA), uart.read(DATA)] == [ord("a"), ord("b")]


def test_the_fifo_control_register_empties_the_receive_fifo(uart: Uart) -> None:
    uart.write(IER, RX)
    uart.receive(b"abc")
    uart.write(FCR, 0x03)
    assert (uart.read(LSR), uart.level) == (0x60, 0)
    assert uart.read(IIR) == NONE | 0xC0


def test_loop_back_returns_the_byte_and_sends_nothing(uart: Uart) -> None:
    uart.write(MCR, LOOP)
    uart.send(b"me")
    assert [uart.read(DATA), uart.read(DATA)] == [ord("m"), ord("e")]
    uart.turn()
    assert uart.output() == b""


@pytest.mark.parametrize(
    ("control", "status"), [(0x01, 0x20), (0x02, 0x10), (0x04, 0x40), (0x08, 0x80), (0x0F, 0xF0)]
)
def test_loop_back_wires_modem_control_to_modem_status(
    uart: Uart, control: int, status: int
) -> None:
    uart.write(MCR, LOOP | control)
    assert uart.read(MSR) == status


def test_input_raises_one_edge_until_it_is_read(uart: Uart) -> None:
    uart.write(IER, RX)
    uart.receive(b"a")
    uart.receive(b"b")
    assert (uart.level, uart.edges, uart.read(IIR)) == (1, 1, RX_DATA)
    uart.read(DATA)
    assert uart.level == 1
    uart.read(DATA)
    assert (uart.level, uart.read(IIR)) == (0, NONE)
    uart.receive(b"c")
    assert (uart.level, uart.edges) == (1, 2)


def test_input_that_waited_raises_when_its_interrupt_is_enabled(uart: Uart) -> None:
    uart.receive(b"a")
    assert uart.edges == 0
    uart.write(IER, RX)
    assert (uart.level, uart.edges) == (1, 1)
    uart.write(IER, 0)
    assert uart.level == 0


def test_enabling_the_transmitter_interrupt_raises_it_at_once(uart: Uart) -> None:
    uart.write(IER, TX)
    assert (uart.level, uart.edges) == (1, 1)
    assert uart.read(IIR) == TX_EMPTY
    assert (uart.level, uart.read(IIR)) == (0, NONE)
    uart.write(IER, TX)  # already on: no new event
    assert uart.edges == 1


@pytest.mark.parametrize("control", [0x08, LOOP])
def test_each_transmitted_byte_empties_the_transmitter_again(uart: Uart, control: int) -> None:
    uart.write(MCR, control)
    uart.write(IER, TX)
    for number in range(2, 5):
        uart.read(IIR)
        uart.send(b"x")
        assert (uart.level, uart.edges) == (1, number)


def test_received_data_goes_before_an_empty_transmitter(uart: Uart) -> None:
    uart.write(IER, RX | TX)
    uart.receive(b"a")
    assert uart.read(IIR) == RX_DATA
    uart.read(DATA)
    assert uart.level == 1  # the transmitter's event is still there
    assert uart.read(IIR) == TX_EMPTY
    assert (uart.level, uart.edges) == (0, 1)


def test_reset_lowers_the_line_and_forgets(uart: Uart) -> None:
    uart.write(IER, RX | TX)
    uart.write(SCR, 9)
    uart.receive(b"abc")
    lib.serial16550_reset(uart.native)
    assert (uart.level, uart.read(IER), uart.read(SCR), uart.read(LSR)) == (0, 0, 0, 0x60)


def fill_pipe(uart: Uart) -> bytes:
    """Fill the pipe from outside, so that nothing of the UART's fits."""
    filler = b""
    try:
        while True:
            filler += b"." * os.write(uart.writer, b"." * 4096)
    except BlockingIOError:
        return filler


def test_a_full_buffer_drops_and_counts_and_keeps_what_it_has(uart: Uart) -> None:
    filler = fill_pipe(uart)
    data = bytes(i % 251 for i in range(OUT_BUFFER + 23))
    uart.send(data)
    assert lib.serial16550_dropped(uart.native) == 23
    assert lib.serial16550_flush(uart.native) == OUT_BUFFER
    got = uart.output()
    while lib.serial16550_flush(uart.native) or len(got) < len(filler) + OUT_BUFFER:
        got += uart.output()
    assert got == filler + data[:OUT_BUFFER]


def test_a_reader_that_was_slow_gets_the_rest_without_another_byte_from_the_guest(
    uart: Uart,
) -> None:
    filler = fill_pipe(uart)
    data = bytes(i % 253 for i in range(OUT_BUFFER))
    uart.send(data)
    uart.turn()
    got = b""
    for _ in range(200):
        got += uart.output()
        if len(got) == len(filler) + len(data):
            break
        uart.turn()
    assert got == filler + data
    assert lib.serial16550_dropped(uart.native) == 0


def test_the_buffer_wraps_around(uart: Uart) -> None:
    expected = got = b""
    for round_number in range(5):
        data = bytes((i * 7 + round_number) % 256 for i in range(40_000))
        uart.send(data)
        uart.turn()
        expected += data
        got += os.read(uart.reader, 30_000)
    for _ in range(100):
        uart.turn()
        got += uart.output()
    assert (got, lib.serial16550_dropped(uart.native)) == (expected, 0)


def test_a_reader_that_is_gone_costs_the_output_and_nothing_else(uart: Uart) -> None:
    os.close(uart.reader)
    uart.reader = -1
    uart.send(b"nobody")
    assert lib.serial16550_flush(uart.native) == 0
    assert lib.serial16550_dropped(uart.native) == 6


@given(
    st.lists(
        st.tuples(st.just("write"), st.integers(0, 7), st.integers(0, 255))
        | st.tuples(st.just("read"), st.integers(0, 7), st.just(0))
        | st.tuples(st.just("receive"), st.integers(0, 20), st.just(0)),
        max_size=60,
    )
)
def test_any_program_keeps_the_line_and_the_identification_register_in_step(
    program: list[tuple[str, int, int]],
) -> None:
    uart = Uart()
    try:
        for operation, number, value in program:
            if operation == "write":
                uart.write(number, value)
            elif operation == "read":
                assert 0 <= uart.read(number) <= 0xFF
            else:
                assert uart.receive(bytes(number)) <= min(number, 16)
            level = uart.level
            assert (uart.read(IIR) & NONE == 0) == bool(level)
    finally:
        uart.close()
