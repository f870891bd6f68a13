# SPDX-License-Identifier: GPL-2.0-or-later
"""One machine through three doors: our options, QEMU's command line, a machine file."""

import json
import os
import re
import shlex
import socket
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.vm import ENDLESS, ROOT, holds_pattern, make_image, run_vm, start_vm

BLOCKS, BLOCK = 64, 4096
ACCELERATORS = [pytest.param("kvm", marks=pytest.mark.kvm), "qtest"]
APPEND = f"rw=verify seed=5 blocks={BLOCKS} queues=2 hammer=none ms=1"
MAPPING = '[{"iothread":"io1","vqs":[0]},{"iothread":"io0","vqs":[1]}]'


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_image(tmp_path / "disk.img", 1 << 20)


def qemus_words(image: Path, accel: str) -> list[str]:
    """A whole command line as for QEMU."""
    return [
        *("-name", "guest=vm1,process=vm1-main,debug-threads=on"),
        *("-uuid", "550e8400-e29b-41d4-a716-446655440000"),
        *("-M", f"microvm,accel={accel},rtc=off", "-cpu", "host", "-smp", "cpus=2"),
        *("-m", "size=128M", "-nodefaults", "-no-user-config", "-nographic", "-display", "none"),
        *("-object", "iothread,id=io0,poll-max-ns=0"),
        *("-object", '{"qom-type":"iothread","id":"io1"}'),
        *("-blockdev", f"driver=file,node-name=f0,filename={image},cache.direct=on"),
        *("-blockdev", '{"driver":"raw","node-name":"d0","file":"f0"}'),
        "-device",
        '{"driver":"virtio-blk-device","id":"blk0","drive":"d0","num-queues":2,'
        f'"iothread-vq-mapping":{MAPPING}}}',
        *("-kernel", "micro", "-append", APPEND, "-serial", "stdio"),
    ]


def machine_file(image: Path, accel: str) -> str:
    """The same machine as a file beside the image."""
    return f"""
        [machine]
        kernel = "micro"
        append = "{APPEND}"
        smp = 2
        memory = "128M"
        accel = "{accel}"
        [[object]]
        type = "iothread"
        id = "io0"
        poll-max-ns = 0
        [[object]]
        type = "iothread"
        id = "io1"
        [[blockdev]]
        driver = "file"
        node-name = "d0"
        filename = "{image.name}"
        cache = {{ direct = true }}
        [[device]]
        driver = "virtio-blk-device"
        id = "blk0"
        drive = "d0"
        num-queues = 2
        iothread-vq-mapping = [{{ iothread = "io1", vqs = [0] }}, {{ iothread = "io0", vqs = [1] }}]
        """


@pytest.mark.parametrize("door", ["qemu", "file"])
@pytest.mark.parametrize("accel", ACCELERATORS)
def test_a_machine_runs_through_every_door(
    door: str, accel: str, image: Path, tmp_path: Path
) -> None:
    words = qemus_words(image, accel)
    if door == "file":
        path = tmp_path / "machine.toml"
        path.write_text(machine_file(image, accel))
        words = [str(path)]
    result = run_vm(*words, report=tmp_path / "report.json")
    assert result.status == 0, result.stderr
    assert result.guest["verify"] == {"wrong_blocks": 0, "wrong_bytes": 0}
    assert (result.guest["smp"], result.report["accel"]["name"]) == (2, accel)
    assert [queue["requests"] > 0 for queue in result.report["disks"][0]] == [True, True]
    assert holds_pattern(image, BLOCKS * BLOCK, seed=5)


def test_the_process_has_the_name_it_was_given(image: Path) -> None:
    words = qemus_words(image, "qtest")
    words[words.index("-append") + 1] = ENDLESS
    with start_vm(*words) as vm:
        vm.wait_for_thread("vm1-main")
        vm.wait_for_thread("IO io1")
        assert Path(f"/proc/{vm.process.pid}/comm").read_text() == "vm1-main\n"


def asked(path: Path, *commands: dict[str, Any]) -> list[Any]:
    """What a monitor returns to some commands."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(30)
        link.connect(str(path))
        stream = link.makefile("rw", encoding="utf-8")
        stream.readline()  # the greeting
        answers = []
        for command in ({"execute": "qmp_capabilities"}, *commands):
            stream.write(json.dumps(command) + "\n")
            stream.flush()
            while "event" in (answer := json.loads(stream.readline())):
                pass
            answers.append(answer["return"])
        return answers[1:]


def test_a_monitor_sees_what_the_command_line_said(image: Path, tmp_path: Path) -> None:
    door = tmp_path / "qmp.sock"
    words = qemus_words(image, "qtest")
    words[words.index("-append") + 1] = ENDLESS
    with start_vm(*words, "-qmp", f"unix:{door}") as vm:
        vm.wait_until_running()
        name, uuid, mapping, types, machine = asked(
            door,
            {"execute": "query-name"},
            {"execute": "query-uuid"},
            get("blk0", "iothread-vq-mapping"),
            {"execute": "qom-list-types", "arguments": {"implements": "virtio-device"}},
            get("/machine", "memory-size"),
        )
        assert (name["name"], uuid["UUID"]) == ("vm1", "550e8400-e29b-41d4-a716-446655440000")
        assert (mapping, machine) == (json.loads(MAPPING), 128 << 20)
        assert types == [{"name": "virtio-blk-device", "parent": "virtio-device"}]


def get(path: str, name: str) -> dict[str, Any]:
    return {"execute": "qom-get", "arguments": {"path": path, "property": name}}


def test_the_dumped_machine_runs(image: Path, tmp_path: Path) -> None:
    dumped = run_vm(*qemus_words(image, "qtest"), "--dump-machine")
    assert dumped.status == 0, dumped.stderr
    path = tmp_path / "elsewhere" / "dumped.toml"
    path.parent.mkdir()
    path.write_text(dumped.stdout)
    result = run_vm(str(path), report=tmp_path / "report.json")
    assert result.status == 0, result.stderr
    assert result.guest["verify"]["wrong_bytes"] == 0


def test_what_is_typed_beside_a_file_comes_on_top(image: Path, tmp_path: Path) -> None:
    path = tmp_path / "machine.toml"
    path.write_text(machine_file(image, "qtest"))
    result = run_vm(
        *(str(path), "-smp", "1", "-append", "mode=idle ms=1", "-drive", "driver=null"),
        report=tmp_path / "report.json",
    )
    assert result.status == 0, result.stderr
    assert (result.guest["smp"], len(result.report["disks"])) == (1, 2)


def test_an_error_in_a_file_is_one_line_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "machine.toml"
    path.write_text('[machine]\nkernel = "micro"\n\n[[object]]\ntype = "iothread"\nid = 7\n')
    result = run_vm(str(path))
    assert result.status == 2
    assert f"{path}:6: [[object]]: id must be a string" in result.complaint()


def test_the_example_file_runs(tmp_path: Path) -> None:
    example = ROOT / "docs" / "examples" / "machine.toml"
    words = ("-accel", "qtest", "-append", "ms=20 warmup_ms=1")
    result = run_vm(str(example), *words, report=tmp_path / "report.json")
    assert result.status == 0, result.stderr
    assert [len(queues) for queues in result.report["disks"]] == [1, 2]
    assert tomllib.loads(example.read_text())["machine"]["name"] == "example"


def commands_of(document: str) -> list[list[str]]:
    """The ``bqlscope run`` lines of a document's indented blocks, without the first word."""
    text = (ROOT / document).read_text().replace("\\\n", " ")
    found = re.findall(r"^ {4}bqlscope (run .*)$", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in found]


@pytest.mark.parametrize("document", ["README.md", "docs/machine.md"])
def test_the_commands_of_the_documents_are_understood(document: str, tmp_path: Path) -> None:
    commands = commands_of(document)
    assert commands
    for command in commands:
        words = [
            str(ROOT / "docs/examples" / w) if w.endswith("machine.toml") else w for w in command
        ]
        result = run_vm(*words[1:], "--dump-machine")
        assert result.status == 0, (words, result.stderr)
        assert result.stdout


def test_a_file_name_that_is_no_text_runs_from_the_command_line(tmp_path: Path) -> None:
    image = make_image(tmp_path / os.fsdecode(b"\xff.img"), 1 << 20)
    result = run_vm(
        *("-kernel", "micro", "-accel", "qtest", "-append", "mode=idle ms=1"),
        *("-drive", f"file={image}"),
    )
    assert result.status == 0, result.stderr
