"""Widgets, by the path on which a browser's changes come."""

from __future__ import annotations

from dii import Network, agreements
from dii.widgets import contract_editor


def test_an_editor_shows_every_fault_with_its_place_as_one_types() -> None:
    with Network.create(seed=1) as network:
        editor = contract_editor(network, agreements.UptimeAgreement.source)
    text, found = editor.children
    assert found.value == "<pre>no faults</pre>"
    text.set_state({"value": "x: float\n\n@external\ndef f():\n    while True:\n        pass\n"})
    assert "line 1, column 4: there is no type &#x27;float&#x27;" in found.value
    assert "line 5, column 5" in found.value
    assert "^" in found.value
    text.set_state({"value": "x: '<script>alert(1)</script>'\n"})
    assert "<script>" not in found.value
