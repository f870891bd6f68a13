# SPDX-License-Identifier: GPL-2.0-or-later
"""Which tests sanitizers run: those that reach the extension, over however many imports."""

from tests.support.native_users import ROOT, imported, uses_native


def test_tests_of_native_code_are_found_directly_and_through_others() -> None:
    for name in ("test_bql.py", "test_virtio_mmio.py", "test_hot_move.py", "test_vnc_server.py"):
        assert uses_native(ROOT / "tests" / "unit" / name), name


def test_tests_without_native_code_are_left_out() -> None:
    for name in ("test_histogram.py", "test_compare_table.py", "test_keysyms.py"):
        assert not uses_native(ROOT / "tests" / "unit" / name), name


def test_every_stateful_test_of_threads_is_among_them() -> None:
    for name in ("test_bql.py", "test_aio.py", "test_virtio_moves.py"):
        assert uses_native(ROOT / "tests" / "stateful" / name), name


def test_both_forms_of_an_import_name_their_modules() -> None:
    names = imported(ROOT / "vmm" / "bql.py")
    assert {"os", "vmm._native", "vmm._native.lib", "collections.abc"} <= names
