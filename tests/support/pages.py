# SPDX-License-Identifier: GPL-2.0-or-later
"""A strict reader of HTML for tests: elements that nest, attributes, and the text people see."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "hr", "col"}
UNSEEN = {"style", "script", "title"}


@dataclass
class Element:
    """An element of the page with its attributes and, in the end, all text below it."""

    name: str
    attributes: dict[str, str | None]
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    @property
    def classes(self) -> set[str]:
        return set((self.attributes.get("class") or "").split())


class Parsed(HTMLParser):
    """Raises AssertionError for tags that do not nest and for attributes that appear twice."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {[element.name for element in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice: <{tag} {attrs}>"
        element = Element(tag, dict(attrs))
        if self._open:
            self._open[-1].children.append(element)
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1].name == tag, f"</{tag}> closes <{self._open[-1].name}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def all(self, name: str) -> list[Element]:
        """All elements of that name, in order."""
        return [element for element in self.elements if element.name == name]

    def rows(self, caption: str) -> list[list[str]]:
        """The cells of the body of the table with that caption."""
        for table in self.all("table"):
            if table.children[0].text == caption:
                body = next(part for part in table.children if part.name == "tbody")
                return [[cell.text for cell in row.children] for row in body.children]
        raise AssertionError(f"no table '{caption}'")

    def facts(self) -> dict[str, str]:
        """Label and text of all definition lists with the class `facts`."""
        found = {}
        for listing in self.all("dl"):
            if "facts" in listing.classes:
                parts = listing.children
                found.update({a.text: b.text for a, b in zip(parts[::2], parts[1::2], strict=True)})
        return found

    def seen(self) -> str:
        """All text but style, script and the texts that only appear over a bar."""
        body = self.all("body")[0].text
        for element in self.elements[self.elements.index(self.all("body")[0]) :]:
            if element.name in UNSEEN and element.text:
                body = body.replace(element.text, " ", 1)
        return body
