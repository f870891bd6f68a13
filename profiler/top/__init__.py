# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope top`: the lock while it is used, on a terminal.

    two snapshots --model--> Picture --draw--> lines of text --loop--> the terminal
    keys          --view---> View    --------^

Model, view and drawing are functions of values, so that a test needs no terminal; `loop` and
`terminal` know nothing of locks. Everything is read from shared memory: the target is not asked,
stopped or slowed down.
"""
