# SPDX-License-Identifier: GPL-2.0-or-later
"""Machine files: what they mean, and that every error names file and line."""

import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.run_config import config_of, config_of_file, run_options
from vmm.block.backend import FileOptions
from vmm.block.blockdev import NodeOptions
from vmm.cmdline.dump import dump_machine
from vmm.cmdline.given import OptionError
from vmm.cmdline.toml_lines import KeyLines
from vmm.cmdline.toml_text import key as toml_key
from vmm.cmdline.toml_text import value as toml_value
from vmm.display.options import FramebufferOptions
from vmm.display.vnc.options import EncodeIn, UnixAddress
from vmm.machine_file import MAX_BYTES, load_machine_file
from vmm.monitor.options import MonitorOptions

EXAMPLE = """\
# A machine.
[machine]
kernel = "vmlinux"
append = "console=ttyS0"
smp = 2
memory = "512M"
accel = "kvm"
name = "vm1"

[recording]
file = "vm.bql"
keep = true

[[object]]
type = "iothread"
id = "io0"
poll-max-ns = 0

[[drive]]
file = "boot.img"
cache = "none"
iothread = "io0"

[[blockdev]]
driver = "file"
node-name = "data"
filename = "data.img"
cache = { direct = true }

[[device]]
driver = "virtio-blk-device"
drive = "data"
num-queues = 2
iothread-vq-mapping = [{ iothread = "io0", vqs = [0, 1] }]
"""


def test_a_file_is_the_command_line_in_sections(tmp_path: Path) -> None:
    by_file = config_of_file(EXAMPLE, tmp_path)
    by_words = config_of(
        *("-kernel", f"{tmp_path}/vmlinux", "-append", "console=ttyS0", "-smp", "2"),
        *("-m", "512M", "-accel", "kvm", "-name", "vm1"),
        *("--recording", f"{tmp_path}/vm.bql", "--keep-recording"),
        *("-object", "iothread,id=io0,poll-max-ns=0"),
        *("-drive", f"file={tmp_path}/boot.img,cache=none,iothread=io0"),
        *("-blockdev", f"file,node-name=data,filename={tmp_path}/data.img,cache.direct=on"),
        "-device",
        '{"driver": "virtio-blk-device", "drive": "data", "num-queues": 2,'
        ' "iothread-vq-mapping": [{"iothread": "io0", "vqs": [0, 1]}]}',
    )
    assert by_file == by_words


def test_what_is_typed_replaces_values_and_adds_to_tables(tmp_path: Path) -> None:
    config = config_of_file(
        EXAMPLE, tmp_path, "-smp", "4", "-object", "iothread,id=io1", "-drive", "file=x.img"
    )
    assert (config.cpus, config.memory_bytes) == (4, 512 << 20)
    assert [each.id for each in config.objects] == ["io0", "io1"]
    sources = [drive.file or drive.node for drive in config.drives]
    assert sources == [f"{tmp_path}/boot.img", "x.img", "data"]


def test_file_names_are_relative_to_the_file(tmp_path: Path) -> None:
    text = """
        machine = { kernel = "k", initrd = "/i", serial = "file:log" }
        [[drive]]
        file = "../d.img"
        [[blockdev]]
        driver = "raw"
        node-name = "n"
        file = { driver = "file", filename = "b.img" }
        """
    config = config_of_file(text, tmp_path)
    assert (config.kernel, config.initrd) == (tmp_path / "k", Path("/i"))
    assert config.serial == f"file:{tmp_path}/log"
    assert [drive.file for drive in config.drives] == [f"{tmp_path}/../d.img"]
    (node,) = config.blockdevs
    assert isinstance(node.child, NodeOptions)
    assert node.child.file == FileOptions(filename=f"{tmp_path}/b.img", discard=False)


def test_a_comma_in_the_name_of_a_folder_is_no_end_of_a_socket(tmp_path: Path) -> None:
    folder = tmp_path / "a,b"
    folder.mkdir()
    text = '[qmp]\nlisten = ["unix:q", "unix:c,,d,server=on"]\n'
    config = config_of_file(text, folder, "--kernel", "micro")
    assert [each.path for each in config.monitors] == [folder / "q", folder / "c,d"]
    dumped = dump_machine(config, run_options())
    assert config_of_file(dumped, tmp_path).monitors == config.monitors


def test_doors_into_a_machine_may_be_several(tmp_path: Path) -> None:
    text = """
        [qmp]
        listen = ["unix:qmp.sock", "tcp:127.0.0.1:4444"]
        [monitor]
        listen = "unix:/hmp.sock,server=on,wait=off"
        [vnc]
        listen = [":1,password-file=pw,websocket=unix:ws", "unix:vnc.sock"]
        encode = "mainloop"
        """
    config = config_of_file(text, tmp_path, "--kernel", "micro", "-vnc", "none", "-qmp", "unix:q")
    assert config.monitors == (
        MonitorOptions("--qmp", path=tmp_path / "qmp.sock"),
        MonitorOptions("--qmp", host="127.0.0.1", port=4444),
        MonitorOptions("--qmp", path=Path("q")),
        MonitorOptions("--monitor", path=Path("/hmp.sock")),
    )
    first, second, third = config.vnc
    assert (first.id, first.password_file) == ("default", tmp_path / "pw")
    assert first.websocket == UnixAddress(tmp_path / "ws")
    assert (second.id, second.address) == ("vnc2", UnixAddress(tmp_path / "vnc.sock"))
    assert third.address is None
    assert config.vnc_encode is EncodeIn.MAIN_LOOP
    assert config.framebuffer == FramebufferOptions()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[machine]\nsmp = 2\nsmp = 3\n", 3, ""),
        ("[machine]\nsmp = \n", 2, ""),
        ("[machine]\n\nsmp = 99\n", 3, "smp: must be from 1 to 16"),
        ("[machine]\nsmp = 2\n[machine]\n", 3, ""),
        ("[machine]\nkernel = 'k\n", 2, ""),
        ("[machine]\nkernel = '''k\n", 2, ""),
        ("[machine]\n# a\nsmpp = 2\n", 3, "unknown key 'smpp': did you mean 'smp'?"),
        ("[machine]\nzzzzzz = 2\n", 2, "unknown key 'zzzzzz': known: "),
        ("[machin]\nsmp = 2\n", 1, "unknown section 'machin': did you mean [machine]?"),
        ("\n[[drives]]\nfile = 'a'\n", 2, "unknown section 'drives': did you mean [[drive]]?"),
        ("zzzzzz = 1\n", 1, "unknown section 'zzzzzz': known: [framebuffer], [machine]"),
        ("machine = 1\n", 1, "machine must be a table: write [machine]"),
        ("[[machine]]\nsmp = 1\n", 1, "machine must be a table: write [machine]"),
        ("[drive]\nfile = 'a'\n", 1, "drive must be tables: write [[drive]]"),
        ("[machine]\nsmp = 1.5\n", 2, "smp must be a number or text"),
        ("[machine]\nsmp = true\n", 2, "smp must be a number or text"),
        ("[machine]\nsmp = 2024-01-01\n", 2, "smp must be a number or text"),
        ("[machine]\nappend = 5\n", 2, "append: must be text"),
        ("[recording]\nkeep = 'yes'\n", 2, "keep must be true or false"),
        ("[machine]\nname = ''\n", 2, "name: must be a name"),
        ("[[object]]\ntype='iothread'\n", 1, "[[object]]: needs an id"),
        ("[[object]]\ntype='iothread'\nid='a'\nnonsense=1\n", 4, "Property 'iothread.nonsense'"),
        ("[[object]]\ntype='iothread'\nid='a'\npoll-max-ns='x'\n", 4, "(int): 'x': must be"),
        ("[[object]]\ntype='iothread'\nid=5\n", 3, "id must be a string"),
        (
            "[[object]]\ntype='iothread'\nid='a'\n\n[[object]]\ntype='iothread'\n\nid='a'\n",
            8,
            "duplicate ID 'a'",
        ),
        ("[[drive]]\nfile='a'\n[[drive]]\n\nfile='b'\ncache='maybe'\n", 6, "cache=maybe: must be"),
        ("[[drive]]\nfile='a'\nfill='b'\n", 3, "unknown drive option 'fill': did you mean 'file'"),
        ("[[drive]]\nfile='a'\n\niothread='io7'\n", 4, "no iothread object with id 'io7'"),
        ("[[drive]]\nfile=['a']\n", 2, "must be a string"),
        ("[[drive]]\nfile='a'\niothread='a'\nioeventfd=false\n", 3, "iothread= needs ioeventfd"),
        ("[[device]]\ndriver='virtio-blk-device'\ndrive='d'\n", 3, "can't find value 'd'"),
        ("[[device]]\n\n# a\ndriver='virtio-blk-pci'\n", 4, "virtio-mmio only"),
        ("[[blockdev]]\ndriver='qcow2'\nnode-name='n'\n", 2, "does not accept value 'qcow2'"),
        (
            "[[blockdev]]\ndriver='file'\nnode-name='n'\nfilename='a'\n\ncache={direct=3}\n",
            6,
            "Invalid parameter type for 'cache.direct', expected: boolean",
        ),
        ("[qmp]\nlisten = ['unix:a', 'telnet:b']\n", 2, "listen: expected unix:PATH or tcp:"),
        ("[qmp]\nlisten = ['unix:a', 7]\n", 2, "listen: must be text"),
        ("[qmp]\nlisten = {a = 1}\n", 2, "listen must be a number or text"),
        ("[vnc]\nlisten = ':1,pasword=on'\n", 2, "listen: unknown option 'pasword'"),
        ("[vnc]\nencode = 'gpu'\n", 2, "encode: must be one of worker, mainloop"),
        ("[framebuffer]\nsize = '9x'\n", 2, "size: '9x' must be WIDTHxHEIGHT"),
        ("[framebuffer]\nscreendump = 'a.gif'\n", 2, "must end in .png or .ppm"),
    ],
)
def test_an_error_names_file_and_line(text: str, line: int, words: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as caught:
        config_of_file(text, tmp_path, "--kernel", "micro")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/machine.toml:{line}: "), message
    assert words in message
    assert "\n" not in message


def test_a_file_that_is_no_machine_file_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(10) + b"\xff")
    with pytest.raises(OptionError, match=r"disk\.img:1: is not UTF-8 text"):
        load_machine_file(image, run_options())
    image.write_bytes(bytes(MAX_BYTES + 1))
    with pytest.raises(OptionError, match=r"disk\.img: larger than 64 KiB"):
        load_machine_file(image, run_options())
    image.write_text("a = " + "[" * 30_000)
    with pytest.raises(OptionError, match=r"disk\.img"):
        load_machine_file(image, run_options())
    with pytest.raises(OptionError, match="Is a directory"):
        load_machine_file(tmp_path, run_options())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[machine]\nmemory = " + "9" * 5000, "a number is too long"),
        ("machine.smpp = " + "9" * 5000, "a number is too long"),
        ("a." * 5000 + "b = 1", "nested too deeply"),
        ("machine.x = " + "[" * 200 + "]" * 200, "nested too deeply"),
        ("[[blockdev]]\n" + "file." * 900 + "driver = 'raw'", "nested too deeply"),
    ],
)
def test_what_python_cannot_carry_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "m.toml"
    path.write_text(text)
    with pytest.raises(OptionError, match=rf"m\.toml: {words}"):
        load_machine_file(path, run_options())


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text("\ufeff[machine]\nsmp = 2\n", encoding="utf-8")
    assert load_machine_file(path, run_options()).settings["machine.smp"].value == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60) | st.binary(max_size=30).map(lambda b: b.decode("latin-1")))
def test_any_text_is_a_machine_or_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.toml"
    path.write_text(text, newline="")
    try:
        load_machine_file(path, run_options())
    except OptionError as error:
        told = str(error)
    else:
        return
    assert told.startswith(str(path))
    assert "\n" not in told


def test_the_document_has_every_key_of_a_machine_file() -> None:
    text = (Path(__file__).parents[2] / "docs" / "machine.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `[")]
    for option in run_options():
        section, _, key = option.toml.partition(".")
        if not section:
            continue
        wanted = f"[[{section}]]" if option.tables else f"`[{section}]`"
        row = next(line for line in rows if wanted in line)
        assert not key or f"`{key}`" in row, option.toml


def test_the_files_of_the_document_are_machine_files(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "machine.md").read_text()
    blocks = text.split("```toml\n")[1:]
    assert blocks
    for block in blocks:
        config = config_of_file(block.partition("```")[0], tmp_path)
        assert config.drives[0].iothread == "io0"


NAMES = st.text("ab.-ü \"'", min_size=1, max_size=4)
LEAVES = (
    st.integers(-9, 9)
    | st.booleans()
    | st.text("a\"'#[]=\n\\", max_size=6)
    | st.lists(st.integers(0, 3), max_size=3)
)


def _spelled(value: object, style: int) -> str:
    """A value in one of TOML's spellings; some take several lines."""
    if isinstance(value, str) and style == 1 and "'''" not in value and value[-1:] != "'":
        return "'''" + value + "'''"
    if isinstance(value, str) and style == 2:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"""\n' + escaped + '"""'
    if isinstance(value, list) and style:
        return "[ # [[x]]\n" + "".join(f"  {each}, # = '\n" for each in value) + "]"
    return toml_value(value)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[tuple[str | int, ...], int]]:
    """A TOML document, and the line of each of its tables and keys."""
    lines: dict[tuple[str | int, ...], int] = {}
    text, counts = "", dict[str, int]()
    tables = draw(st.lists(st.tuples(NAMES, st.booleans()), max_size=4, unique_by=lambda t: t[0]))
    repeated = [pair for pair in tables if pair[1]]
    for name, many in [*tables, *repeated]:
        text += draw(st.sampled_from(["", "\n", "# [a] = '''\n", "  \t\n\n"]))
        header = f"[[{toml_key(name)}]]" if many else f"[{toml_key(name)}]"
        place: tuple[str | int, ...] = (name,)
        if many:
            place = (name, counts.get(name, 0))
            counts[name] = counts.get(name, 0) + 1
        lines[place] = text.count("\n") + 1
        text += f"{draw(st.sampled_from(['', '  ']))}{header} # x = '''\n"
        for key, value in draw(st.dictionaries(NAMES, LEAVES, max_size=3)).items():
            text += draw(st.sampled_from(["", "\n", "# comment\n"]))
            lines[*place, key] = text.count("\n") + 1
            spelled = _spelled(value, draw(st.integers(0, 2)))
            text += f"{toml_key(key)} = {spelled}\n"
    return text, lines


@given(documents(), st.booleans())
def test_the_line_of_every_key_is_found(
    drawn: tuple[str, dict[tuple[str | int, ...], int]], dos: bool
) -> None:
    text, lines = drawn
    if dos:
        text = text.replace("\n", "\r\n")
    tomllib.loads(text)
    found = KeyLines(text)
    assert {key: found.of(key) for key in lines} == lines


def test_what_has_no_line_of_its_own_has_that_of_what_is_around_it() -> None:
    found = KeyLines("a.b = 1\n\n[[c]]\nd = { e = 1 }\n[c.f]\ng = 1\n[[c]]\n")
    keys: dict[tuple[str | int, ...], int] = {
        ("a",): 1,
        ("a", "b"): 1,
        ("c",): 3,
        ("c", 0): 3,
        ("c", 0, "d", "e"): 4,
        ("c", 0, "zzz"): 3,
        ("c", 0, "f", "g"): 6,
        ("c", 1): 7,
        ("nothing",): 1,
    }
    assert {key: found.of(key) for key in keys} == keys


@given(st.text(max_size=40))
def test_lines_are_looked_for_in_any_document(text: str) -> None:
    with suppress(tomllib.TOMLDecodeError):
        tomllib.loads(text)
        KeyLines(text)
