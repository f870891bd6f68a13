# SPDX-License-Identifier: GPL-2.0-or-later
"""The public schema of Prometheus's protobuf format, `io.prometheus.client`, as far as we write it.

A scrape is a sequence of MetricFamily messages, each behind its length. Fields that only other
kinds of metrics have (summaries, float histograms) are left out.
"""

from typing import Any

from profiler.protobuf import Field, message_classes

PACKAGE = "io.prometheus.client"
CONTENT_TYPE = f"application/vnd.google.protobuf; proto={PACKAGE}.MetricFamily; encoding=delimited"

TYPES = {"counter": 0, "gauge": 1, "info": 1, "unknown": 3, "histogram": 4}
"""MetricType, by prometheus-client's names; an info is a gauge that is 1."""

_MESSAGES = {
    "LabelPair": (Field(1, "name", "string"), Field(2, "value", "string")),
    "Gauge": (Field(1, "value", "double"),),
    "Counter": (Field(1, "value", "double"),),
    "Untyped": (Field(1, "value", "double"),),
    "Timestamp": (Field(1, "seconds", "int64"), Field(2, "nanos", "int32")),
    "Exemplar": (
        Field(1, "label", "LabelPair", repeated=True),
        Field(2, "value", "double"),
        Field(3, "timestamp", "Timestamp"),
    ),
    "Bucket": (
        Field(1, "cumulative_count", "uint64"),
        Field(2, "upper_bound", "double"),
        Field(3, "exemplar", "Exemplar"),
    ),
    "BucketSpan": (Field(1, "offset", "sint32"), Field(2, "length", "uint32")),
    "Histogram": (
        Field(1, "sample_count", "uint64"),
        Field(2, "sample_sum", "double"),
        Field(3, "bucket", "Bucket", repeated=True),
        Field(5, "schema", "sint32"),
        Field(6, "zero_threshold", "double"),
        Field(7, "zero_count", "uint64"),
        Field(12, "positive_span", "BucketSpan", repeated=True),
        Field(13, "positive_delta", "sint64", repeated=True),
    ),
    "Metric": (
        Field(1, "label", "LabelPair", repeated=True),
        Field(2, "gauge", "Gauge"),
        Field(3, "counter", "Counter"),
        Field(5, "untyped", "Untyped"),
        Field(7, "histogram", "Histogram"),
    ),
    "MetricFamily": (
        Field(1, "name", "string"),
        Field(2, "help", "string"),
        Field(3, "type", "int32"),
        Field(4, "metric", "Metric", repeated=True),
        Field(5, "unit", "string"),
    ),
}


def classes() -> dict[str, Any]:
    """The message classes, freshly built (some milliseconds: keep them)."""
    return message_classes(PACKAGE, _MESSAGES)
