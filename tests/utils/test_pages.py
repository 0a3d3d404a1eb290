"""Templates: values are escaped, and a name without a value is an error."""

import pytest
from jinja2 import UndefinedError

from tests.pages import Page
from utils.pages import render


def test_values_are_escaped_in_the_shell(tmp_path):
    template = tmp_path / "mine.html"
    body = '<p title="{{ text }}">{{ text }} {{ 1234|commas }}</p>'
    template.write_text(f'{{% extends "page.html" %}}{{% block content %}}{body}{{% endblock %}}')
    odd = "</title><script>\"'&"
    source = render(template, title=odd, text=odd)
    page = Page(source)
    page.check_harmless()
    assert page.text.count(odd) == 2
    assert "1,234" in page.text
    assert ("p", "title", odd) in page.attributes
    assert source.startswith("<!doctype html>\n<html")
    with pytest.raises(UndefinedError, match="'text' is undefined"):
        render(template, title=odd)
