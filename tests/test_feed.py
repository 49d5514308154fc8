"""The feed: the records that an epoch needs, computed once."""

from __future__ import annotations

from pathlib import Path

import pytest

from dii.errors import HomeBroken
from dii.network import telemetry as module
from dii.network.telemetry import TRAFFIC_FILE, Feed, Traffic
from dii.schema import USAGE, Reception
from dii.telemetry.load import Telemetry
from dii.telemetry.tables import to_table
from dii.units import DAY

OWNERS = {"A": "ann", "B": "ben"}


def feed(*, days: int = 3, applications: bool = True) -> Feed:
    """Two uplinks a day that both gateways hear, of one device of one application."""
    heard = [
        Reception(
            DAY * (1 + day) + number,
            gateway,
            device="D",
            application="x" if applications else None,
            f_cnt=10 * day + number,
            delivered=True,
        )
        for day in range(days)
        for number in range(2)
        for gateway in "AB"
    ]
    gives = frozenset({"uplinks", "excluded_frames"})
    return Feed(
        Telemetry(
            receptions=to_table("receptions", heard),
            gateways=to_table("gateways", [(name, *[None] * 8) for name in OWNERS]),
            gives=gives | {"usage.delivered", "usage.lost"} if applications else gives,
        )
    )


def ask(source: Feed, epoch: int, **more: object) -> module.Epoch:
    return source.epoch(epoch, DAY, DAY, OWNERS, **more)  # type: ignore[arg-type]


def test_an_epoch_is_computed_once_however_often_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, computed = feed(), []
    metrics = module.metrics
    monkeypatch.setattr(
        module,
        "metrics",
        lambda *a, **more: (computed.append(more["start"]), metrics(*a, **more))[1],
    )
    assert ask(source, 0).metrics == ask(source, 0).metrics
    assert ask(source, 1).usage == ask(source, 1).usage
    assert computed == [DAY, 2 * DAY]
    source.epoch(1, DAY, DAY, {"A": "ann"})  # who owns what is known otherwise now
    assert computed[2:] == [DAY, 2 * DAY]


def test_usage_stands_beside_the_metrics_and_losses_between_epochs_are_counted() -> None:
    source = feed()
    assert source.gives == {"uplinks", "excluded_frames"}
    assert source.gives_usage == {"delivered", "lost"} < USAGE.keys()
    for epoch, lost in ((0, 0), (1, 8), (2, 8)):
        assert ask(source, epoch).usage.to_pylist() == [
            {"application": "x", "operator": "", "delivered": 2, "lost": lost},
            {"application": "x", "operator": "ann", "delivered": 2, "lost": None},
            {"application": "x", "operator": "ben", "delivered": 2, "lost": None},
        ]


def test_own_uplinks_need_to_know_applications_and_whose_they_are() -> None:
    bound = {"consumers": {"x": "ben"}}
    assert ask(feed(), 0, **bound).metrics["own_uplinks"].to_pylist() == [0, 2]
    for source, about in ((feed(), {}), (feed(applications=False), bound)):
        assert ask(source, 0, **about).metrics.column_names == [
            "gateway", "uplinks", "excluded_frames",
        ]  # fmt: skip


@pytest.mark.parametrize(
    "content",
    ["garbage", "\x00", "days = 1", "start = 0\ndays = 1\nmore = 2", 'start = 0\ndays = "1"'],
)
def test_traffic_that_cannot_be_read_is_named(content: str, tmp_path: Path) -> None:
    source = Feed(Telemetry(), Traffic(start=0, days=2))
    source.save(tmp_path)
    found = Feed.open(tmp_path)
    assert found is not None
    assert found.traffic == source.traffic
    (tmp_path / TRAFFIC_FILE).write_text(content)
    with pytest.raises(HomeBroken, match=TRAFFIC_FILE):
        Feed.open(tmp_path)
