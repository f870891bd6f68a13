# SPDX-License-Identifier: GPL-2.0-or-later
"""Values of single options in QEMU's forms."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm.cmdline import values
from vmm.cmdline.values import MachineType, VmName

PARSERS: list[Callable[[object], object]] = [
    values.smp,
    values.memory,
    values.accel,
    values.machine,
    values.cpu,
    values.vm_name,
    values.uuid_text,
    values.serial,
    values.path,
    values.text,
    values.OneOf(("a", "b")),
]


@given(
    st.sampled_from(PARSERS),
    st.text(max_size=20)
    | st.integers()
    | st.booleans()
    | st.from_regex(r"\A(cpus|size|accel|type|guest)=[a-z0-9,=]{0,9}\Z"),
)
def test_any_value_is_converted_or_refused_in_one_line(
    parse: Callable[[object], object], value: object
) -> None:
    with suppress(ValueError):
        parse(value)


@pytest.mark.parametrize(
    ("parse", "value", "result"),
    [
        (values.smp, "2", 2),
        (values.smp, 2, 2),
        (values.smp, "cpus=4", 4),
        (values.smp, "4,sockets=4,cores=1,threads=1,maxcpus=4", 4),
        (values.smp, "sockets=3", 3),
        (values.memory, "128M", 128 << 20),
        (values.memory, 256, 256 << 20),
        (values.memory, "size=1G", 1 << 30),
        (values.accel, "kvm", "kvm"),
        (values.accel, "accel=kvm,kernel-irqchip=on", "kvm"),
        (values.machine, "microvm", MachineType()),
        (values.machine, "type=microvm,accel=kvm", MachineType("kvm")),
        (values.machine, "microvm,accel=tcg:kvm,rtc=off,isa-serial=on", MachineType("kvm")),
        (values.machine, "accel=qtest", MachineType("qtest")),
        (values.cpu, "host", None),
        (values.vm_name, "vm1", VmName("vm1")),
        (values.vm_name, "guest=a,,b,debug-threads=on", VmName("a,b")),
        (values.vm_name, "vm1,process=p", VmName("vm1", "p")),
        (
            values.uuid_text,
            "550E8400-e29b-41d4-a716-446655440000",
            "550e8400-e29b-41d4-a716-446655440000",
        ),
        (values.serial, "none", "null"),
        (values.serial, "file:a,b", "file:a,b"),
        (values.path, "a", Path("a")),
    ],
)
def test_qemus_forms_are_understood(
    parse: Callable[[object], object], value: object, result: Any
) -> None:
    assert parse(value) == result


@pytest.mark.parametrize(
    ("parse", "value", "words"),
    [
        (values.smp, "0", "from 1 to 16"),
        (values.smp, "17", "from 1 to 16"),
        (values.smp, "two", "from 1 to 16"),
        (values.smp, "4,cores=2", "cores must be 1"),
        (values.smp, "4,sockets=2", "sockets must be 4"),
        (values.smp, "2,maxcpus=4", "maxcpus must be 2"),
        (values.smp, "2,books=1", "unknown key 'books': write cpus=N"),
        (values.smp, True, "must be a number or text"),
        (values.memory, "0", "must be a size such as"),
        (values.memory, "1G,maxmem=2G", "maxmem: no memory is added later"),
        (values.memory, "1G,prealloc=on", "unknown key 'prealloc'"),
        (values.accel, "tcg", "there is no emulated CPU"),
        (values.accel, "xen", "must be one of auto, kvm, qtest"),
        (values.accel, "kvm,kernel-irqchip=off", "kernel-irqchip must be on"),
        (values.accel, "kvm,dirty-ring-size=1", "unknown key 'dirty-ring-size'"),
        (values.machine, "q35", "there is one machine, which is like QEMU's microvm"),
        (values.machine, "microvm,rtc=on", "rtc must be off here"),
        (values.machine, "microvm,acpi=x", "must be on or off"),
        (values.machine, "microvm,accel=tcg", "accel must be one of"),
        (values.machine, "microvm,x=1", "unknown key 'x'"),
        (values.cpu, "Skylake-Server", "use -cpu host"),
        (values.vm_name, "", "of 1 to 63 bytes, printable"),
        (values.vm_name, "a\nb", "of 1 to 63 bytes, printable"),
        (values.vm_name, "a,debug-threads=off", "debug-threads must be on"),
        (values.vm_name, "a,process=" + "x" * 16, "1 to 15 bytes"),
        (values.uuid_text, "550e8400", "must be a UUID"),
        (values.uuid_text, "{550e8400-e29b-41d4-a716-44665544000}", "must be a UUID"),
        (values.serial, "telnet::1", "must be stdio, stderr, null or file:PATH"),
        (values.serial, "file:", "must be stdio, stderr, null or file:PATH"),
        (values.path, "", "the name of a file"),
        (values.path, 5, "the name of a file"),
        (values.output, "/nonexistent/x", "there is no directory /nonexistent"),
        (values.output, "/", "is a directory"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(
    parse: Callable[[object], object], value: object, words: str
) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        parse(value)
    assert "\n" not in str(caught.value)
