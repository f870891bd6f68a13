# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's table of waits, out of what real QEMUs print (qemu_text/) and out of nonsense."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.qemu.sync_profile import (
    BQL,
    Key,
    SyncProfileError,
    Waits,
    ordered,
    parse_sync_profile,
    since,
    total,
    was_reset,
)

TEXTS = Path(__file__).parent / "qemu_text"
HEAD = "Type               Object  Call site  Wait Time (s)         Count  Average (us)\n"
RULE = "-" * 79 + "\n"


def real(name: str) -> dict[Key, Waits]:
    return parse_sync_profile((TEXTS / f"sync-profile-{name}.txt").read_text())


def table_of(*rows: str) -> dict[Key, Waits]:
    return parse_sync_profile(HEAD + RULE + "".join(f"{row}\n" for row in rows) + RULE)


@pytest.mark.parametrize(
    ("name", "kind", "site", "wait_ns", "count", "objects"),
    [
        ("10.0", BQL, "system/physmem.c:2874", 643 * 30, 643, 1),
        ("10.0", "condvar", "system/cpus.c:463", 21 * 708_840, 21, 2),
        ("10.0", "mutex", "./include/qemu/lockable.h:56", 262 * 40, 262, 11),
        ("10.0-n", "condvar", "system/cpus.c:463", 11 * (1_418_730 + 1_377_710), 22, 2),
        ("7.2", BQL, "softmmu/physmem.c:2748", 3_410_000, 19285, 1),
        ("7.2", "rec_mutex", "util/async.c:717", 12 * 60, 12, 1),
        ("7.2-n", "condvar", "softmmu/cpus.c:423", 10 * 1_168_450 + 12 * 772_610, 22, 2),
        ("7.2-n", BQL, "target/i386/kvm/kvm.c:4783", 3_950_000, 23125, 1),
    ],
)
def test_the_tables_of_real_qemus_are_read(
    name: str, kind: str, site: str, wait_ns: float, count: int, objects: int
) -> None:
    waits = real(name)[Key(kind, site)]
    assert waits.wait_ns == pytest.approx(wait_ns)
    assert (waits.count, waits.objects) == (count, objects)


@pytest.mark.parametrize("version", ["7.2", "10.0"])
def test_all_rows_are_kept_and_the_big_lock_comes_first(version: str) -> None:
    lines = (TEXTS / f"sync-profile-{version}.txt").read_text().strip().splitlines()
    table = real(version)
    assert len(table) == len(lines) - 3
    kinds = [key.kind for key, _ in ordered(table)]
    assert kinds == sorted(kinds, key=lambda kind: kind != BQL)
    big = [waits.wait_ns for key, waits in ordered(table) if key.kind == BQL]
    assert big == sorted(big, reverse=True)


def test_an_empty_table_is_empty() -> None:
    assert table_of() == {}


def test_a_site_may_hold_blanks_and_an_object_be_nil() -> None:
    table = table_of("mutex  (nil)  a dir/b c.c:7       1.50000          2000        750.00")
    assert table == {Key("mutex", "a dir/b c.c:7"): Waits(1.5e9, 2000, 1)}


def test_a_difference_has_what_was_added() -> None:
    a, b, c = Key(BQL, "a:1"), Key(BQL, "b:1"), Key("mutex", "c:1")
    earlier = {a: Waits(100.0, 10, 1), b: Waits(50.0, 5, 1)}
    later = {a: Waits(130.0, 12, 2), b: Waits(50.0, 5, 1), c: Waits(7.0, 1, 1)}
    grown = since(later, earlier)
    assert grown == {a: Waits(30.0, 2, 2), c: Waits(7.0, 1, 1)}
    assert grown[a].average_ns == 15.0
    assert total(grown, {a: Waits(10.0, 1, 3)})[a] == Waits(40.0, 3, 3)
    assert not was_reset(later, earlier)


def test_a_wait_that_shrank_by_rounding_is_none() -> None:
    a = Key(BQL, "a:1")
    assert since({a: Waits(9.0, 1001, 1)}, {a: Waits(10.0, 999, 1)}) == {a: Waits(0.0, 2, 1)}
    assert Waits(0.0, 0, 1).average_ns == 0.0


def test_counters_that_were_reset_start_anew() -> None:
    a, b = Key(BQL, "a:1"), Key(BQL, "b:1")
    earlier = {a: Waits(100.0, 10, 1), b: Waits(1.0, 1, 1)}
    later = {a: Waits(20.0, 2, 1)}
    assert was_reset(later, earlier)
    assert since(later, earlier) == later


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unknown command: 'info sync-profile'",
        HEAD,
        HEAD + RULE,
        HEAD + RULE + "mutex  0x1  a.c:1  0.1  1  0.1\n",
        HEAD + RULE + "mutex  0x1  a.c:1  0.1  1\n" + RULE,
        HEAD + RULE + "mutex  0x1  a.c:1  nan  1  0.1\n" + RULE,
        HEAD + RULE + "mutex  0x1  a.c:1  0.1  ٣  0.1\n" + RULE,
        HEAD + RULE + "\x1b[31m\n" + RULE,
        RULE + HEAD + RULE,
    ],
)
def test_nonsense_is_one_clear_error(text: str) -> None:
    with pytest.raises(SyncProfileError) as caught:
        parse_sync_profile(text)
    assert caught.value.message.isprintable()


@given(st.sampled_from(sorted(TEXTS.glob("sync-profile-*"))), st.data())
def test_a_damaged_table_is_an_error_or_a_table(path: Path, data: st.DataObject) -> None:
    text = path.read_text()
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 40))
    junk = data.draw(st.text(max_size=5))
    try:
        table = parse_sync_profile(text[:at] + junk + text[at + cut :])
    except SyncProfileError:
        return
    for key, waits in ordered(table):
        assert key.site.isprintable()
        assert waits.wait_ns >= 0
