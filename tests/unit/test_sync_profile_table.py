# SPDX-License-Identifier: GPL-2.0-or-later
"""`info sync-profile` from a recording: our own parser reads it, the switch does what it says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.qemu.sync_profile import BQL, Key, parse_sync_profile
from vmm.monitor.errors import MonitorError
from vmm.monitor.lock_reports import LockReports
from vmm.monitor.sync_profile import SyncProfile

ADDRESS = 0x5643A19BD2C0


def site(file: str, line: int, region: str, count: int, wait_ns: int) -> dict[str, Any]:
    return {"file": file, "line": line, "region": region, "count": count, "wait-ns": wait_ns}


class Reports(LockReports):
    """What a recording would say."""

    def __init__(self, *sites: dict[str, Any]) -> None:
        super().__init__("recording")
        self.sites = list(sites)

    def read(self) -> dict[str, Any]:
        return {"sites": [dict(each) for each in self.sites]}


SITES = (
    site("vmm/native/iospace.c", 88, "serial", 63, 100_000),
    site("vmm/native/iospace.c", 88, "virtio-mmio[0] disk0", 5, 900_000),
    site("vmm/native/main_loop.c", 27, "", 1000, 50_000),
    site("", 0, "", 2, 7),
)


def test_the_table_looks_like_qemus_to_the_last_blank() -> None:
    profile = SyncProfile(Reports(SITES[0], SITES[2]), ADDRESS, on=True)
    assert profile.table(10, by_mean=False) == (
        "Type               Object  Call site                         Wait Time (s)         Count"
        "  Average (us)\n"
        + "-" * 100 + "\n"
        "BQL mutex  0x5643a19bd2c0  vmm/native/iospace.c:88 (serial)        0.00010            63"
        "          1.59\n"
        "BQL mutex  0x5643a19bd2c0  vmm/native/main_loop.c:27               0.00005          1000"
        "          0.05\n"
        + "-" * 100 + "\n"
    ).replace("-" * 100, "-" * (79 + len("vmm/native/iospace.c:88 (serial)") - 9))  # fmt: skip


def test_devices_behind_one_place_are_rows_of_their_own() -> None:
    table = parse_sync_profile(SyncProfile(Reports(*SITES), ADDRESS, on=True).table(10, False))
    assert list(table) == [
        Key(BQL, "vmm/native/iospace.c:88 (virtio-mmio[0] disk0)"),
        Key(BQL, "vmm/native/iospace.c:88 (serial)"),
        Key(BQL, "vmm/native/main_loop.c:27"),
        Key(BQL, "(other)"),
    ]
    assert table[Key(BQL, "vmm/native/iospace.c:88 (serial)")].count == 63


def test_rows_are_limited_and_sorted_by_mean_if_asked() -> None:
    profile = SyncProfile(Reports(*SITES), ADDRESS, on=True)
    assert len(parse_sync_profile(profile.table(2, False))) == 2
    assert parse_sync_profile(profile.table(0, False)) == {}
    assert next(iter(parse_sync_profile(profile.table(1, True)))).site.endswith("disk0)")
    profile.reports = Reports(site("a.c", 1, "", 1, 10), site("b.c", 2, "", 100, 500))
    assert next(iter(parse_sync_profile(profile.table(1, False)))).site == "b.c:2"
    assert next(iter(parse_sync_profile(profile.table(1, True)))).site == "a.c:1"


COUNTS = st.integers(0, 1000)


@given(st.lists(st.tuples(st.sampled_from(["on", "off", "reset", "work"]), COUNTS)))
def test_the_table_has_what_was_counted_while_it_was_on_since_the_reset(
    steps: list[tuple[str, int]],
) -> None:
    reports = Reports(site("a.c", 1, "", 5, 50))
    profile = SyncProfile(reports, ADDRESS, on=True)
    expected, on = 5, True
    for step, amount in steps:
        if step == "work":
            reports.sites[0]["count"] += amount
            reports.sites[0]["wait-ns"] += amount * 10
            expected += amount if on else 0
        elif step == "reset":
            profile.reset()
            expected = 0
        else:
            on = step == "on"
            profile.switch(on)
        assert profile.on == on
        table = parse_sync_profile(profile.table(10, False))
        assert sum(waits.count for waits in table.values()) == expected


def test_without_a_recording_the_switch_stays_off_and_says_why() -> None:
    profile = SyncProfile(LockReports(None), ADDRESS, on=False)
    assert parse_sync_profile(profile.table(10, False)) == {}
    with pytest.raises(MonitorError, match="--no-record"):
        profile.switch(True)
    assert not profile.on
    profile.reset()
