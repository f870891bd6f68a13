# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports as a browser shows them: nothing fetched, nothing complained about, nothing cut off."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import Browser, find_browser
from tests.support.reports import comparison_report, recording_report

PROGRAM = find_browser()
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="no Chromium here: apt install chromium, as `make test` does as root"
)

SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
CUT_OFF = """
[...document.querySelectorAll('svg[role=img]')].filter(svg => svg.clientWidth).flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter(text => {
    const box = text.getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1
        || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
  }).map(text => text.textContent);
})
"""
OVERLAPS = """
[...document.querySelectorAll('svg[role=img]')].filter(svg => svg.clientWidth).flatMap(svg => {
  const boxes = [...svg.querySelectorAll('text.tick, text.name, text.value, text.group')]
    .map(text => [text.getBoundingClientRect(), text.textContent]);
  return boxes.flatMap(([a, one], index) => boxes.slice(index + 1)
    .filter(([b]) => a.left < b.right - 1 && b.left < a.right - 1
                  && a.top < b.bottom - 2 && b.top < a.bottom - 2)
    .map(([, other]) => one + ' on ' + other));
})
"""
HOVER = """
(() => {
  const parts = [...document.querySelectorAll('svg .tip')];
  const part = parts.find(p => p.getBoundingClientRect().width);
  part.dispatchEvent(new PointerEvent('pointermove', {bubbles: true, clientX: 5, clientY: 5}));
  const tooltip = document.querySelector('.tooltip');
  return tooltip.hidden ? '' : tooltip.textContent;
})()
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert PROGRAM is not None
    with Browser(PROGRAM) as started:
        yield started


@pytest.fixture(scope="module", params=["recording", "comparison"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("report")
    make = recording_report if request.param == "recording" else comparison_report
    return make(directory)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 700, 1280])
def test_a_report_loads_without_a_request_or_a_complaint_and_does_not_scroll_sideways(
    browser: Browser, report: Path, width: int, dark: bool
) -> None:
    page = browser.open(report, width, dark)
    assert page.evaluate(SIDEWAYS) == 0
    assert page.requests == [report.as_uri()]
    assert page.complaints == []


@pytest.mark.parametrize("width", [360, 1280])
def test_no_text_of_a_plot_is_cut_off_or_lies_on_another(
    browser: Browser, report: Path, width: int
) -> None:
    page = browser.open(report, width)
    assert page.evaluate(CUT_OFF) == []
    assert page.evaluate(OVERLAPS) == []


@pytest.mark.parametrize("width", [360, 1280])
def test_one_of_the_two_drawings_of_each_plot_is_shown(
    browser: Browser, report: Path, width: int
) -> None:
    page = browser.open(report, width)
    shown = page.evaluate(
        "[...document.querySelectorAll('.plot')].map(plot =>"
        " [...plot.children].filter(svg => svg.getBoundingClientRect().width).length)"
    )
    assert shown
    assert set(shown) == {1}


def test_dark_mode_has_a_dark_background_and_light_text(browser: Browser, report: Path) -> None:
    style = "getComputedStyle(document.body)"
    light, dark = (browser.open(report, 1280, dark=wanted) for wanted in (False, True))
    assert light.evaluate(f"{style}.backgroundColor") != dark.evaluate(f"{style}.backgroundColor")
    assert light.evaluate(f"{style}.color") != dark.evaluate(f"{style}.color")


def test_the_text_of_a_bar_appears_beside_the_pointer(browser: Browser, report: Path) -> None:
    assert browser.open(report, 1280).evaluate(HOVER)


def test_everything_is_there_without_script(browser: Browser, report: Path) -> None:
    with_script = browser.open(report, 1280)
    without = browser.open(report, 1280, script=False)
    assert without.complaints == []
    text = "document.querySelector('main').innerText"
    assert without.evaluate(text) == with_script.evaluate(text)


def test_everything_that_scrolls_can_be_reached_by_the_keyboard(
    browser: Browser, report: Path
) -> None:
    page = browser.open(report, 360)
    unreachable = page.evaluate(
        "[...document.querySelectorAll('*')].filter(e => e.scrollWidth > e.clientWidth + 1"
        " && ['auto', 'scroll'].includes(getComputedStyle(e).overflowX) && e.tabIndex < 0)"
        ".map(e => e.className)"
    )
    assert unreachable == []
