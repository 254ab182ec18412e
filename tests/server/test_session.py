"""Many users of one session: one encoding an image, no mixed images, no clicks behind another image's encoding."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from segzs import Prompt, RequestError, Segmenter
from segzs.masks import RLE
from segzs.server.session import Limits, Session
from tests.conftest import EXAMPLES

NAMES = ("desk.png", "picnic.png", "toolbox.png")


@pytest.mark.slow
def test_many_threads_get_the_masks_of_their_own_image(session: Session, segmenter: Segmenter) -> None:
    points = [(92, 500), (380, 300), (600, 200), (200, 150)]
    expected: dict[tuple[str, int], Any] = {}
    digests = {}
    for name in NAMES:
        image = segmenter.encode(EXAMPLES / name)
        digests[name] = image.image.digest
        for index, segment in enumerate(segmenter.segment(image, [Prompt.point(*point) for point in points])):
            expected[name, index] = segment.mask

    def click(number: int) -> None:
        name, index = NAMES[number % 3], number // 3 % len(points)
        digest = session.submit("open", name=name).result()["digest"]
        reply = session.submit("segment", digest=digest, prompts=[{"points": [points[index]]}]).result()
        assert reply["digest"] == digests[name]
        rle = reply["segments"][0]["rle"]
        mask = RLE(*rle["size"], rle["counts"]).decode()
        assert (mask & expected[name, index]).sum() > 0.98 * (mask | expected[name, index]).sum()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(click, range(24)))
    assert session.encoding_count == 3


@pytest.mark.slow
def test_a_click_does_not_wait_for_the_encoding_of_another_image(
    session: Session, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, picnic = (session.open(name)["digest"] for name in NAMES[:2])
    session.submit("encode", digest=desk).result()
    gate, encode = threading.Event(), Segmenter.encode

    def slow(self: Segmenter, *arguments: Any) -> Any:
        gate.wait(30)
        return encode(self, *arguments)

    monkeypatch.setattr(Segmenter, "encode", slow)
    blocked = [session.submit("segment", digest=picnic, prompts=[{"points": [[5, 5]]}]) for _ in range(20)]
    reply = session.submit("segment", digest=desk, prompts=[{"points": [[92, 500]]}]).result(30)
    assert reply["segments"][0]["area"] > 0
    assert not any(job.done() for job in blocked)
    gate.set()
    assert {job.result(30)["digest"] for job in blocked} == {picnic}
    assert session.encoding_count == 2


def test_beyond_the_queue_requests_are_refused(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(segmenter, [EXAMPLES], limits=Limits(clicks=1, queue=2))
    digest = session.open("desk.png")["digest"]
    gate = threading.Event()
    monkeypatch.setattr(Segmenter, "segment", lambda self, *arguments: gate.wait(30) and None)
    monkeypatch.setattr("segzs.server.session._answer", lambda segments: segments)
    jobs = [session.submit("segment", digest=digest, prompts=[]) for _ in range(3)]
    with pytest.raises(RequestError, match="try again in"):
        session.submit("segment", digest=digest, prompts=[])
    gate.set()
    for job in jobs:
        job.result(30)
    assert session.submit("images").result(30)["images"]
    session.close()


def test_a_refused_request_leaves_its_place(session: Session) -> None:
    for _ in range(200):
        with pytest.raises(RequestError, match="no image has the digest"):
            session.submit("segment", digest="0" * 64, prompts=[])
    assert session.pools["clicks"].pending == 0


def test_a_failed_encoding_fails_the_click_and_is_not_repeated(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = session.open("desk.png")["digest"]
    monkeypatch.setattr(type(session.segmenter), "encode", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        session.submit("segment", digest=digest, prompts=[{"points": [[92, 500]]}]).result(30)
    assert session.encoding_count == 1


def test_an_unknown_operation_is_refused(session: Session) -> None:
    with pytest.raises(RequestError, match="unknown operation 'close'; choose from images"):
        session.submit("close")


@pytest.mark.slow
def test_labels_of_a_request_do_not_change_those_of_the_session(session: Session) -> None:
    digest, before = session.open("desk.png")["digest"], session.labels()
    apple = {"points": [[92, 500]]}
    reply = session.segment(digest, [apple], labels=["red apple", "key"])
    assert reply["segments"][0]["name"] in ("red apple", "key", "unknown")
    assert session.labels() == before
    for word in ("box", "cup", "dog", "cat", "car", "tree", "book", "shoe", "lamp"):
        session.segment(digest, [apple], labels=["red apple", word])
        session.segment(digest, [apple], labels=["red apple", "key"])
    assert len(session._with_labels) == 8
    assert ("red apple", "key") in session._with_labels
    assert ("red apple", "box") not in session._with_labels


def test_an_example_of_a_new_label_keeps_the_general_labels(session: Session) -> None:
    digest = session.open("desk.png")["digest"]
    session.set_labels(None)
    rle = session.segment(digest, [{"points": [[92, 500]]}], names=False)["segments"][0]["rle"]
    reply = session.add_example(digest, rle, "my lunch")
    assert reply["labels"][-1] == "my lunch"
    assert reply["general"]
