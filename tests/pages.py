"""A page of HTML as tests look at it."""

from html.parser import HTMLParser

_VOID = {"meta", "img"}  # elements without an end


class Page(HTMLParser):
    """Elements, attributes and text of a page, whose elements must be balanced."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []  # element, name, value
        self.cells: list[list[str]] = []  # texts of each row of a table
        self._texts: list[str] = []
        self._open: list[str] = []
        self.tags: set[str] = set()
        self.feed(source)
        self.close()
        assert not self._open
        self.text = " ".join("".join(self._texts).split())
        self.alts = [v for tag, name, v in self.attributes if (tag, name) == ("img", "alt")]

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "tr":
            self.cells.append([])

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"line {self.getpos()[0]}"

    def handle_data(self, data):
        self._texts.append(data)
        if data.strip() and "tr" in self._open:
            self.cells[-1].append(data)

    def check_harmless(self) -> None:
        """No script, nothing from elsewhere, and a policy that forbids both."""
        assert not self.tags & {
            "script",
            "link",
            "iframe",
            "object",
            "embed",
            "base",
            "svg",
            "form",
        }
        assert "Content-Security-Policy" in [value for _, _, value in self.attributes]
        for tag, name, value in self.attributes:
            assert not name.startswith("on")
            assert name not in ("href", "srcset", "action"), (tag, name, value)
            assert name != "src" or value.startswith("data:image/svg+xml;base64,"), (tag, value)
            assert name != "style" or "url" not in value
        assert "@import" not in self.text
        assert "url(" not in self.text
