"""Interactive widgets for notebooks; needs the extra ``notebooks``."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import ipywidgets

if TYPE_CHECKING:
    from dii.network import Network


def contract_editor(network: Network, source: str = "") -> ipywidgets.VBox:
    """Return a field for a contract's text, and beneath it the faults while it is typed.

    Parameters
    ----------
    network
        Network whose ``check`` checks the text.
    source
        The text to begin with; the present text is ``.children[0].value``.
    """
    text = ipywidgets.Textarea(
        source,
        placeholder='"""What is promised."""',
        layout=ipywidgets.Layout(width="auto", height="24em"),
    )
    text.style.font_family = "monospace"
    found = ipywidgets.HTML()

    def check(_: object = None) -> None:
        found.value = f"<pre>{html.escape(repr(network.check(text.value)))}</pre>"

    text.observe(check, "value")
    check()
    return ipywidgets.VBox([text, found])
