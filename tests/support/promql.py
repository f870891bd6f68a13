# SPDX-License-Identifier: GPL-2.0-or-later
"""PromQL expressions as trees: which series they read, by which labels they group."""

from collections.abc import Iterator
from dataclasses import dataclass

import promql_parser as promql


@dataclass(frozen=True)
class Selector:
    """A vector selector and what it stands in, innermost last."""

    node: promql.VectorSelector
    parents: tuple[promql.Expr, ...]

    @property
    def name(self) -> str:
        """Name of the metric."""
        return self.node.name or ""

    @property
    def matchers(self) -> set[tuple[str, str]]:
        """Labels with their values; there may be several matchers of one label."""
        return {(each.name, each.value) for each in self.node.matchers.matchers}

    @property
    def labels(self) -> set[str]:
        """The labels that are matched."""
        return {label for label, _ in self.matchers}

    @property
    def function(self) -> str:
        """The function that is called on the range vector; empty for an instant vector."""
        if len(self.parents) < 2 or not isinstance(self.parents[-1], promql.MatrixSelector):
            return ""
        call = self.parents[-2]
        return call.func.name if isinstance(call, promql.Call) else ""


def _children(node: promql.Expr) -> list[promql.Expr]:
    match node:
        case promql.BinaryExpr():
            return [node.lhs, node.rhs]
        case promql.AggregateExpr():
            return [node.expr, *([node.param] if node.param else [])]
        case promql.Call():
            return list(node.args)
        case promql.MatrixSelector():
            return [node.vector_selector]
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return [node.expr]
    return []


def nodes(
    node: promql.Expr, parents: tuple[promql.Expr, ...] = ()
) -> Iterator[tuple[promql.Expr, tuple[promql.Expr, ...]]]:
    """All nodes with what they stand in."""
    yield node, parents
    for child in _children(node):
        yield from nodes(child, (*parents, node))


def selectors(text: str) -> list[Selector]:
    """All selectors of an expression. Raises ValueError for one that is none."""
    return [
        Selector(node, parents)
        for node, parents in nodes(promql.parse(text))
        if isinstance(node, promql.VectorSelector)
    ]


def grouping_labels(text: str) -> set[str]:
    """Labels named by `by`, `without`, `on` and `ignoring`."""
    found: set[str] = set()
    for node, _ in nodes(promql.parse(text)):
        if isinstance(node, promql.AggregateExpr) and node.modifier:
            found |= set(node.modifier.labels)
        if isinstance(node, promql.BinaryExpr) and node.modifier and node.modifier.matching:
            found |= set(node.modifier.matching.labels)
    return found
