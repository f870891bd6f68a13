# SPDX-License-Identifier: GPL-2.0-or-later
"""The plots, one a file, each a function from data and a canvas to SVG.

Colours, strokes and fonts are classes: the style sheet has them for light, dark and paper.
"""
