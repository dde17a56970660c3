"""Each scenario of the review runs on two bodies: the library as it is shipped, and ours."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).parents[1] / name) for name in ("raft_plain", "integration")]

from our_body import OurCluster
from plain_body import PlainCluster
from plain_node import PlainSettings
from review_cluster import THREE, Cluster, Make


@pytest.fixture
def clusters() -> Iterator[list[Cluster]]:
    made: list[Cluster] = []
    yield made
    for cluster in made:
        cluster.end()


@pytest.fixture
def plain(tmp_path: Path, clusters: list[Cluster]) -> Make:
    """plain(ids, settings) -> a cluster of the library that has not started."""

    def build(ids: tuple[str, ...] = THREE, settings: PlainSettings | None = None) -> PlainCluster:
        clusters.append(cluster := PlainCluster(tmp_path / str(len(clusters)), ids, settings))
        return cluster

    return build


@pytest.fixture
def ours(clusters: list[Cluster]) -> Make:
    """ours(ids) -> a cluster of the node that ships that has not started."""

    def build(ids: tuple[str, ...] = THREE, settings: PlainSettings | None = None) -> OurCluster:
        clusters.append(cluster := OurCluster(ids))
        return cluster

    return build


@pytest.fixture(params=["plain", "ours"])
def make(request: pytest.FixtureRequest, plain: Make, ours: Make) -> Make:
    """Both, one after the other; settings are the library's and change nothing on ours."""
    return plain if request.param == "plain" else ours


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The library leaves files open for the collector to close; that is not what is reviewed here."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
