# SPDX-License-Identifier: GPL-2.0-or-later
"""The comparison as a page of at most 80 columns, for a person."""

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from profiler.compare.blame_words import blame_lines
from profiler.compare.header import header_lines, print_lines, several_header_lines
from profiler.compare.result import BlameShare, Result
from profiler.compare.table import candidate_table, side_by_side_table
from profiler.compare.text import counted
from profiler.compare.verdict import Verdict, difference_caveats

Judged = tuple[Result, Verdict]


def _print_blame(console: Console, name: str, pairs: Sequence[BlameShare], trials: int) -> None:
    console.print(
        Text(f"who blocked whom, {name} (sum of {counted(trials, 'trial')})", style="bold")
    )
    if not pairs:
        console.print(Text("  no vCPU waited for the BQL"))
    for indent, text in blame_lines(pairs):
        console.print(Padding(Text(text), (0, 0, 0, indent), expand=False))


def _print_all_blame(console: Console, result: Result, prefix: str) -> None:
    if result.window is None:
        return
    for name, pairs in result.blame.items():
        console.print()
        _print_blame(console, f"{prefix}{name}", pairs, result.plan.trials)


def print_page(console: Console, judged: Sequence[Judged]) -> None:
    """Print the whole page, of one VMM or several.  Give a console of at most 80 columns."""
    results = [result for result, _ in judged]
    first, several = results[0], len(results) > 1
    print_lines(console, several_header_lines(results) if several else header_lines(first))
    for number, candidate in enumerate(first.plan.candidates):
        console.print()
        if several:
            console.print(side_by_side_table(results, number, console.width))
        else:
            console.print(candidate_table(first, candidate.name, console.width))
    for result in results:
        prefix = f"{result.plan.vmm.identity.title} " if several else ""
        _print_all_blame(console, result, prefix)
    console.print()
    print_verdicts(console, judged)


def print_verdicts(console: Console, judged: Sequence[Judged]) -> None:
    """Print the sentences, one a VMM, and the caveats, one a line.

    With several VMMs a caveat that does not hold for all of them names the one it holds for.
    """
    several = len(judged) > 1
    for result, verdict in judged:
        prefix = f"{result.plan.vmm.identity.title}: " if several else ""
        console.print(Text(f"{prefix}{verdict.sentence}", style="bold"))
    notes: list[str] = list(difference_caveats([result for result, _ in judged]))
    for result, verdict in judged:
        for caveat in verdict.caveats:
            shared = all(caveat in other.caveats for _, other in judged)
            note = caveat if shared else f"{result.plan.vmm.identity.title}: {caveat}"
            if note not in notes:
                notes.append(note)
    for note in notes:
        console.print(Text(f"Note: {note}"))
