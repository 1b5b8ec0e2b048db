"""What is decided on a batch, for any order in which batches come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collector.streams import Stream, StreamKey, Verdict, parse_lane
from core.contracts.events import Lane
from core.contracts.window import PATIENCE_CEILING_S, PATIENCE_S, LaneWindow


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), max_size=80))
def test_nothing_is_taken_twice_and_every_hole_is_declared(
    batches: list[tuple[int, int]],
) -> None:
    stream = Stream()
    taken: list[int] = []
    holes: list[int] = []
    for seq, oldest in batches:
        decision = stream.decide(seq, min(oldest, seq))
        if decision.verdict is Verdict.APPEND:
            if decision.hole is not None:
                holes += range(decision.hole[0], decision.hole[1] + 1)
                assert min(oldest, seq) > stream.accepted + 1, "the edge no longer has it"
            stream.accept(seq)
            taken.append(seq)
        elif decision.verdict is Verdict.DUPLICATE:
            assert seq <= stream.accepted
        else:
            assert min(oldest, seq) <= seq - 1, "the edge still has what is missing"
    assert sorted(taken + holes) == list(range(1, stream.accepted + 1))


def test_a_refused_batch_takes_back_what_was_accepted_after_it() -> None:
    stream = Stream()
    for seq in (1, 2, 3):
        assert stream.decide(seq, 1).verdict is Verdict.APPEND
        stream.accept(seq)
    stream.commit(1)
    stream.fail()
    assert stream.decide(3, 1).verdict is Verdict.GAP
    assert stream.decide(2, 1).verdict is Verdict.APPEND


def test_a_stream_is_found_again_by_its_lane() -> None:
    for lane in Lane:
        key = StreamKey("s", "e", "epoch-1", lane)
        assert parse_lane(key.journal_lane) == key
    for other in ("tick", "control/s/e", "plain/s/d", "activation", "unreadable"):
        assert parse_lane(other) is None


Steps = st.lists(
    st.one_of(
        st.just(("send", 0)),
        st.tuples(st.just("receipt"), st.integers(0, 60)),
        st.tuples(st.just("wait"), st.integers(1, 100)),
    ),
    max_size=60,
)


@given(Steps)
def test_a_window_never_overflows_and_goes_back_only_without_progress(
    steps: list[tuple[str, int]],
) -> None:
    window, now = LaneWindow(8), 0.0
    for step, value in steps:
        if step == "send" and window.room > 0:
            window.on_sent(window.sent + 1, now)
        elif step == "receipt":
            before = window.acknowledged
            progress = window.on_receipt(min(value, window.sent), now)
            assert progress == (window.acknowledged > before)
        elif step == "wait":
            now += value
            waited = window.deadline is not None and now >= window.deadline
            assert window.expire(now) == waited
            if waited:
                assert window.sent == window.acknowledged
        assert 0 <= window.sent - window.acknowledged <= window.size
        assert PATIENCE_S <= window.patience <= PATIENCE_CEILING_S
