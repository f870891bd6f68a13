/* SPDX-License-Identifier: GPL-2.0-or-later
 * Shows the text of a bar or cell beside the pointer, on a phone at a tap. Without this the browser
 * shows the same text itself after a moment; everything is in the tables, too.
 */
"use strict";
(() => {
  const box = document.createElement("div");
  box.className = "tooltip";
  box.setAttribute("aria-hidden", "true");
  box.hidden = true;
  document.body.append(box);

  for (const part of document.querySelectorAll("svg .tip")) {
    const title = part.querySelector("title");
    part.dataset.tip = title.textContent;
    title.remove();
  }

  const hide = () => { box.hidden = true; };
  const show = (event) => {
    const part = event.target.closest ? event.target.closest("svg .tip") : null;
    if (!part) { hide(); return; }
    box.textContent = part.dataset.tip;
    box.hidden = false;
    const margin = 12;
    const right = document.documentElement.clientWidth - box.offsetWidth - margin;
    box.style.left = `${Math.max(margin, Math.min(event.clientX + margin, right))}px`;
    const above = event.clientY - box.offsetHeight - margin;
    box.style.top = `${above > margin ? above : event.clientY + 2 * margin}px`;
  };
  document.addEventListener("pointermove", show);
  document.addEventListener("pointerdown", show);
  document.addEventListener("scroll", hide, { passive: true, capture: true });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") { hide(); } });
})();
