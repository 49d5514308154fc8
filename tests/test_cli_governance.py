"""Governance on the command line."""

from __future__ import annotations

import json
import re

from tests.chains import gateway
from tests.cli import dii
from tests.governance import network


def test_the_command_line_proposes_votes_and_lists(tmp_path):
    home, evidence = tmp_path / "home", tmp_path / "evidence.txt"
    evidence.write_text("a photograph of a gateway in a cellar")
    network(home).close()
    shown = dii(
        "propose", "stream", "main", "--policy", "FixedEmission:amount=30000", "--home", home
    )
    assert "above max_mint_per_epoch" in shown.stderr
    assert "vote 0 yes" in shown.stdout
    shown = dii("vote", 0, "no", "--home", home).stdout
    assert re.search(r"no +1 of 1 voting power", shown)
    assert "vote 0" not in shown
    dii("transfer", "validator", "1", "--from", "bob", "--home", home)  # a second vote is not free
    shown = dii("vote", 0, "yes", "--json", "--home", home)
    assert json.loads(shown.stdout)["status"] == "passed"
    for words in (
        ["remove-stream", "main"], ["gas-price", 2], ["spend", "bob", "1 TTC"],
        ["validator", "bob", 1], ["validator", "00" * 32, 0],
        ["deny", gateway(5).hex(), 9, "--evidence", evidence],
        ["scope", "north", "--reporter", "bob", "--metric", "online_ppm", "--usage", "lost"],
    ):  # fmt: skip
        dii("propose", *words, "--home", home)
        number = json.loads(dii("list", "proposals", "--json", "--home", home).stdout)[-1]["number"]
        dii("vote", number, "yes", "--home", home)
    listed = json.loads(dii("list", "proposals", "--json", "--home", home).stdout)
    assert [row["number"] for row in listed] == list(range(8))
    assert {row["status"] for row in listed} == {"passed"}
    shown = dii("list", "proposals", "--home", home).stdout
    assert shown.count("1 of 1 voting power") == shown.count("2018-04-21T01:00:") == 8
    assert "pay 1 TTC from the treasury to bob" in shown
    assert "expires" not in shown
    dii("vote", 0, "perhaps", "--home", home, code=2)
    assert "there is no proposal 99" in dii("vote", 99, "no", "--home", home, code=1).stderr
