"""What counts as committed: D-1, D-4, D-5, D-19, and nothing else may."""

from __future__ import annotations

from review_cluster import FIVE, Make, judge


def test_d01_an_isolated_leader_never_commits_its_own_entry_by_a_snapshot(make: Make) -> None:
    """The old leader has `lost` in its log and nowhere else; the others go on and fold their logs; it comes back."""
    cluster = make()
    cluster.begin("a")
    cluster.commit("a", b"before")
    cluster.isolate("a")
    cluster.nodes["a"].propose(b"lost")
    cluster.step(0.1)
    cluster.elect("b", among="bc")
    cluster.commit("b", *(b"%d" % number for number in range(8)), among="bc")
    cluster.compact("b")
    cluster.compact("c")
    cluster.held.add(("b", "a"))
    cluster.heal("a")
    cluster.first_of("b", "a", "serialized")
    cluster.turn("a")
    judge(cluster, b"lost" in cluster.nodes["a"].acknowledged, "acknowledges an entry that no majority ever had")
    cluster.held.clear()
    cluster.until(lambda: b"7" in cluster.nodes["a"].data, "a is back")


def test_d04_an_acknowledgement_of_an_older_term_counts_for_nothing(make: Make) -> None:
    """Five. What b had of a's first term is cut from its log; its late acknowledgement of then must not count."""
    cluster = make(FIVE)
    cluster.begin("a")
    cluster.isolate("a", "b")
    for number in range(8):
        cluster.nodes["a"].propose(b"first%d" % number)
    cluster.until(lambda: cluster.last("b") == cluster.last("a") > 8, "b has what a proposed")
    late = [m for m in cluster.seen("b", "a", "next_node_idx") if m["success"]][-1]
    cluster.elect("c", among="cde")
    cluster.heal()
    cluster.level()
    cluster.isolate("c")
    cluster.elect("a", among="abde")
    cluster.isolate("a", "d")
    cluster.nodes["a"].propose(b"second")
    mine = cluster.last("a") + 1
    cluster.until(lambda: cluster.last("d") >= mine, "d has it")
    cluster.step(0.3)
    assert cluster.nodes["a"].commit_index < mine
    cluster.hand("b", "a", late)
    cluster.step(0.1)
    having = sum(node.log[-1][0] >= mine for node in cluster.nodes.values())
    judge(cluster, cluster.nodes["a"].commit_index >= mine and having == 2, "commits with two copies of five")


def test_d04_a_leader_of_an_older_term_is_told_the_newer_one(make: Make) -> None:
    """The old leader a reaches b alone, which follows c in a newer term."""
    cluster = make()
    cluster.begin("a")
    cluster.favour("c")
    cluster.isolate("a")
    cluster.elect("c", among="bc")
    cluster.link("a", "b")
    cluster.step(1.0)
    judge(cluster, cluster.nodes["a"].leads, "goes on leading an older term beside a peer that knows a newer one")


def test_d05_a_remembered_commit_index_commits_nothing(make: Make) -> None:
    """The power fails: of the log less was written back than of the commit index. A new leader is on its own."""
    cluster = make()
    cluster.begin("a")
    cluster.commit("a", b"old")
    if cluster.name == "plain":
        for name in cluster.ids:
            cluster.files[name].write_back()
    cluster.commit("a", *(b"%d" % number for number in range(6)))
    cluster.step(1.5)
    if cluster.name == "plain":
        for name in cluster.ids:
            cluster.files[name].write_back(cluster.files[name].meta)
    cluster.power_cut(*cluster.ids)
    cluster.start()
    cluster.favourite = "a"
    cluster.until(lambda: cluster.nodes["a"].leads, "a leads")
    cluster.cut |= {("b", "a"), ("c", "a")}
    cluster.nodes["a"].propose(b"alone")
    cluster.step(0.2)
    judge(cluster, b"alone" in cluster.nodes["a"].acknowledged, "acknowledges an entry that nobody else has")


def test_d19_a_repeated_vote_counts_once(make: Make) -> None:
    """Five. One voter's answer arrives twice: two votes of five are no majority."""
    cluster = make(FIVE)
    cluster.favourite = "a"
    cluster.start()
    cluster.tamper = lambda _sender, _to, message: None if message["type"] == "response_vote" else message
    cluster.until(lambda: bool(cluster.seen("b", "a", "response_vote")), "b votes")
    vote = cluster.seen("b", "a", "response_vote")[0]
    cluster.hand("b", "a", vote)
    cluster.hand("b", "a", vote)
    cluster.turn("a")
    judge(cluster, cluster.nodes["a"].leads, "is elected by one vote told twice")
