"""What people are asked in Airflow is Markdown, and names of others stand in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_airflow.markdown import prose


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("val_loss is 0.5 (±0.1).", "val_loss is 0.5 (±0.1)."),
        ("[a](http://x) is 0.5", r"\[a\](http://x) is 0.5"),
        ("![](x) <img src=x> *b* `c` \\", r"!\[\](x) \<img src=x\> \*b\* \`c\` \\"),
    ],
)
def test_sentences_have_no_markup_of_others(text: str, written: str) -> None:
    assert prose(text) == written


@given(st.text("[]<>*`\\ab "))
def test_every_mark_is_escaped_once(text: str) -> None:
    assert len(prose(text)) == len(text) + sum(text.count(mark) for mark in "[]<>*`\\")
