# SPDX-License-Identifier: GPL-2.0-or-later
"""The three formats: against prometheus-client's own encoders and parsers, promtool, each other."""

import math
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, exposition
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from exporters import names, schema
from exporters.buckets import CLASSIC_BOUNDS, NativeBuckets, Scale
from exporters.exporter import Exporter, negotiate
from exporters.families import BOUND_TEXTS, HistogramBlock, Histograms
from exporters.protobuf import Packed, ProtobufEncoder, packed_buckets, varint, zigzag
from exporters.reference import reference
from exporters.text import TextEncoder
from profiler.layout import BUCKETS
from tests.support.exporting import OPENMETRICS, PROTOBUF, exporter_of
from tests.support.recordings import example

ROOT = Path(__file__).parents[2]
HOSTILE = 'a "quoted" \\ back\nslash % %s {x="y"} é'


@pytest.fixture(name="exporter")
def _exporter(tmp_path: Path) -> Iterator[Exporter]:
    build = example(vm_name=HOSTILE.replace("\n", " "))
    build.site("x.c", 3, "f", region=HOSTILE)
    build.acquire(1, 4, hold=3)
    with exporter_of(build.write(tmp_path / "r.bql")) as exporter:
        yield exporter


class Frozen:
    """A registry of families that were collected before."""

    def __init__(self, families: list[Any]) -> None:
        self._families = families

    def collect(self) -> list[Any]:
        return self._families


def lines(text: str) -> list[str]:
    """Lines with labels sorted and numbers as numbers, so that only the meaning counts."""
    found = []
    for line in text.splitlines():
        if line.startswith("#") or "{" not in line:
            found.append(line if line.startswith("#") else _numbers(line))
            continue
        name, _, rest = line.partition("{")
        labels, _, value = rest.rpartition("} ") if " # " not in rest else rest.partition("} ")
        pairs = ",".join(sorted(labels.replace('",', '"\0').split("\0")))
        found.append(f"{name}{{{pairs}}} {_numbers(value)}")
    return found


def _numbers(text: str) -> str:
    words = text.split(" ")
    return " ".join(str(float(w)) if w[:1].isdigit() else w for w in words)


def test_our_text_is_that_of_prometheus_client(exporter: Exporter) -> None:
    families = list(exporter.registry.collect())
    theirs = exposition.generate_latest(Frozen(families)).decode()
    assert lines(TextEncoder(with_exemplars=False).encode(families).decode()) == lines(theirs)


def test_our_openmetrics_means_what_prometheus_clients_means(exporter: Exporter) -> None:
    families = list(exporter.registry.collect())
    theirs = openmetrics.generate_latest(Frozen(families)).decode()  # type: ignore[no-untyped-call]
    ours = TextEncoder(with_exemplars=True).encode(families).decode()
    parsed, expected = (list(parse_openmetrics(text)) for text in (ours, theirs))  # type: ignore[no-untyped-call]
    assert len(parsed) == len(expected)
    for family, other in zip(parsed, expected, strict=True):
        assert (family.name, family.type, family.unit) == (other.name, other.type, other.unit)
        assert family.documentation == other.documentation
        for one, two in zip(family.samples, other.samples, strict=True):
            assert (one.name, one.labels, one.value) == (two.name, two.labels, two.value)
            assert (one.exemplar is None) == (two.exemplar is None)
            if one.exemplar and two.exemplar:
                assert one.exemplar.labels == two.exemplar.labels
                assert one.exemplar.value == two.exemplar.value


def test_the_second_scrape_is_written_as_the_first(exporter: Exporter) -> None:
    families = list(exporter.registry.collect())
    for encoder in (TextEncoder(False), TextEncoder(True), ProtobufEncoder()):
        assert encoder.encode(families) == encoder.encode(families)


def test_no_series_tells_when_it_was_created(exporter: Exporter) -> None:
    for accept in ("", OPENMETRICS):
        assert b"_created" not in exporter.scrape(accept).body


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text"),
        ("*/*", "text"),
        ("text/html,*/*;q=0.1", "text"),
        ("application/json", "text"),
        (OPENMETRICS, "openmetrics"),
        ("application/openmetrics-text;version=2.0.0,text/plain;version=0.0.4;q=0.5", "text"),
        (PROTOBUF, "protobuf"),
        ("application/vnd.google.protobuf;proto=other;encoding=delimited", "text"),
        ("application/vnd.google.protobuf;q=0.1;encoding=delimited;"
         "proto=io.prometheus.client.MetricFamily,text/plain;q=0.2", "text"),
        ("text/plain;q=nonsense,application/openmetrics-text;q=0.3", "openmetrics"),
        (";;;,,,q=1", "text"),
    ],
)  # fmt: skip
def test_the_format_is_the_one_that_was_asked_for(accept: str, kind: str) -> None:
    assert negotiate(accept) == kind


@given(st.text(max_size=200))
def test_no_accept_header_is_an_error(accept: str) -> None:
    assert negotiate(accept) in ("text", "openmetrics", "protobuf")


def read_delimited(body: bytes) -> list[Any]:
    """The MetricFamily messages of a scrape."""
    family_class = schema.classes()["MetricFamily"]
    families, at = [], 0
    while at < len(body):
        size, shift = 0, 0
        while True:
            byte = body[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        families.append(family_class.FromString(body[at : at + size]))
        at += size
    return families


def native_counts(histogram: Any) -> dict[int, int]:
    """Counts of native buckets by index, as Prometheus reads them."""
    found: dict[int, int] = {}
    deltas = iter(histogram.positive_delta)
    index = count = 0
    for number, span in enumerate(histogram.positive_span):
        index += span.offset
        assert number == 0 or span.offset > 0
        for _ in range(span.length):
            count += next(deltas)
            found[index] = count
            index += 1
    assert next(deltas, None) is None
    return found


def test_protobuf_says_what_text_says(exporter: Exporter) -> None:
    families: list[Any] = list(exporter.registry.collect())
    read = {family.name: family for family in read_delimited(ProtobufEncoder().encode(families))}
    for family in families:
        if not family.samples:
            continue
        message = read[family.entry.name]
        assert message.type == schema.TYPES[family.type]
        samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for sample in family.samples
        }
        for metric in message.metric:
            labels = {pair.name: pair.value for pair in metric.label}
            for name, more, value in _said(family, metric):
                key = (name, tuple(sorted({**labels, **more}.items())))
                assert samples.pop(key) == value
        assert not samples


def _said(family: Any, metric: Any) -> Iterator[tuple[str, dict[str, str], float]]:
    if family.type != "histogram":
        value = metric.counter if family.type == "counter" else metric.gauge
        yield family.entry.name, {}, value.value
        return
    histogram = metric.histogram
    yield f"{family.name}_count", {}, histogram.sample_count
    yield f"{family.name}_sum", {}, histogram.sample_sum
    for bucket in histogram.bucket:
        text = dict(zip((*CLASSIC_BOUNDS, math.inf), BOUND_TEXTS, strict=True))[bucket.upper_bound]
        yield f"{family.name}_bucket", {"le": text}, bucket.cumulative_count


def test_native_buckets_hold_all_samples_and_the_exemplar_names_the_thread(
    exporter: Exporter,
) -> None:
    families = {f.name: f for f in read_delimited(exporter.scrape(PROTOBUF).body)}
    for metric in families["bql_wait_seconds"].metric:
        histogram = metric.histogram
        assert histogram.schema == 3
        counts = native_counts(histogram)
        assert sum(counts.values()) + histogram.zero_count == histogram.sample_count
        labels = {pair.name: pair.value for pair in metric.label}
        if labels["site"] == "serial":
            # waits of 5113 to 5129 ticks of 0.5 ns: 2.557 to 2.565 µs
            for index in counts:
                assert 2 ** ((index - 1) / 8) < 2.57e-6 * 1.07
                assert 2 ** (index / 8) > 2.55e-6 / 1.07
            (bucket,) = (b for b in histogram.bucket if b.HasField("exemplar"))
            assert bucket.upper_bound == pytest.approx(4e-6)
            assert [(p.name, p.value) for p in bucket.exemplar.label] == [("tid", "903")]


@given(
    st.lists(
        st.lists(st.integers(0, 3) | st.integers(0, 1 << 50), min_size=12, max_size=12),
        min_size=1,
        max_size=6,
    )
)
def test_spans_and_deltas_give_the_counts_back(counts: list[list[int]]) -> None:
    indices = np.array([-40, -33, -32, -31, -20, -19, -18, 0, 1, 2, 4, 9], dtype=np.int32)
    matrix = np.array(counts, dtype=np.uint64)
    zeros = np.zeros(len(matrix), np.uint64)
    spans, deltas = packed_buckets(NativeBuckets(indices, zeros, matrix))
    make = schema.classes()["Histogram"]
    for line, row in enumerate(counts):
        message = make.FromString(spans[line] + b"\x6a" + varint(len(deltas[line])) + deltas[line])
        found = {index: count for index, count in native_counts(message).items() if count}
        assert found == {int(i): c for i, c in zip(indices, row, strict=True) if c}


@given(st.lists(st.integers(0, (1 << 64) - 1)))
def test_packed_numbers_are_varints(values: list[int]) -> None:
    packed = Packed(np.array(values, dtype=np.uint64))
    assert packed.cut(np.arange(len(values) + 1)) == [varint(value) for value in values]


@given(st.lists(st.integers(-(1 << 62), (1 << 62) - 1)))
def test_signed_numbers_are_zigzag(values: list[int]) -> None:
    message = schema.classes()["Histogram"](positive_delta=values)
    packed = Packed(zigzag(np.array(values, dtype=np.int64)))
    (body,) = packed.cut(np.array([0, len(values)]))
    assert message.SerializeToString().endswith(body)


def test_families_of_others_are_written_too() -> None:
    registry = CollectorRegistry()
    Counter("other_things", "Of somebody else.", ["a"], registry=registry).labels("b").inc(3)
    families = list(registry.collect())
    assert b'other_things_total{a="b"} 3.0' in TextEncoder(False).encode(families)
    assert TextEncoder(True).encode(families).count(b"# EOF") == 1
    (family,) = read_delimited(ProtobufEncoder().encode(families))
    assert (family.name, family.metric[0].counter.value) == ("other_things_total", 3.0)


def test_a_histogram_of_nothing_is_written() -> None:
    family = Histograms(names.WAIT)
    block = HistogramBlock(
        [("v", "r", "s")], np.zeros((1, BUCKETS), np.uint64), [0.0], [None], Scale(1)
    )
    family.blocks.append(block)
    assert b'bql_wait_seconds_count{vm="v",role="r",site="s"} 0' in TextEncoder(True).encode(
        [family]
    )
    (message,) = read_delimited(ProtobufEncoder().encode([family]))
    assert message.metric[0].histogram.sample_count == 0


def test_promtool_finds_nothing_to_complain_about(exporter: Exporter) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt install prometheus")
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=exporter.scrape().body,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_reference_is_fresh() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text() == reference(), "run: make metrics-doc"


def test_names_and_units_follow_the_conventions() -> None:
    seen = [metric.name for metric in names.METRICS]
    assert len(seen) == len(set(seen))
    for metric in names.METRICS:
        assert metric.name.startswith("bql_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.name.endswith("_info") == (metric.kind == "info")
        assert metric.help.endswith(".")
        assert "|" not in metric.help
