# SPDX-License-Identifier: GPL-2.0-or-later
"""A recording, or a saved comparison, as one HTML file that a person reads without help.

Goal: the file is mailed, opened on a phone or without a network, read by somebody who was not
there, and printed. It opens with the answer in a sentence, then shows what the answer rests on.

    snapshot, compare.json -> figures, timeline, comparison (numbers) -> model.Page
    model.Page -> plots (SVG, one plot a file) and page (HTML, style.css, script.js) -> text

Rules
 1. Data and drawing are apart: what is in `model` knows no pixel, `plots` and `page` no snapshot.
 2. Names come out of recordings that anybody may have made. Text becomes markup in one place,
    `markup.tag`, which escapes it; nothing else puts angle brackets around anything.
 3. Nothing is fetched: style and script are part of the file, and a content security policy with
    their hashes forbids everything else.
 4. Every plot is readable without script and without colour: it has a text alternative, and its
    numbers stand in a table below it.
 5. Plots are drawn twice, for wide and for narrow windows: an SVG that is only scaled has
    letters of four pixels on a phone. The style sheet shows one of the two.
 6. The size of the file depends on how many things there are, not on how often they happened:
    events become at most so many slices as there are pixels.

Rejected: plotting libraries in Python (tens to hundreds of megabytes to install, pictures with
fixed colours) and in JavaScript (megabytes in every file, and a blank page without script).
"""
