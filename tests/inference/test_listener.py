import asyncio
import threading
from collections.abc import AsyncIterator

import numpy as np
import pytest
from streaming_models import SECONDS, DrawnGate, lively_sound, streaming_file
from trained_looking import SAMPLE_RATE

from speech_commands_kws import KeywordListener
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.detector import Event
from speech_commands_kws.inference.gate import EnergyGate
from speech_commands_kws.inference.streaming import StreamingModel


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> StreamingModel:
    return StreamingModel(streaming_file(tmp_path_factory.mktemp("model")))


def sound(rate: int = SAMPLE_RATE) -> np.ndarray:
    return lively_sound(SECONDS, rate)


def heard(listener: KeywordListener, samples: np.ndarray, chunk: int) -> list[Event]:
    events = []
    for start in range(0, len(samples), chunk):
        events += listener(samples[start : start + chunk])
    return events + listener.finish()


def low(listener_model: StreamingModel, **options) -> KeywordListener:
    """A threshold that this untrained model reaches."""
    return KeywordListener(listener_model, thresholds=0.35, **options)


def same(events: list[Event], others: list[Event]) -> bool:
    facts = [[(each.keyword, round(each.time, 6)) for each in found] for found in (events, others)]
    return facts[0] == facts[1]


def test_events_do_not_depend_on_the_chunks(model) -> None:
    expected = heard(low(model), sound(), SECONDS * SAMPLE_RATE)
    assert len(expected) >= 2
    for chunk in (100, 160, 1600, 4097):
        assert same(heard(low(model), sound(), chunk), expected)


def test_two_listeners_share_a_model_and_not_their_streams(model) -> None:
    alone = heard(low(model), sound(), 1600)
    one, other = low(model), low(model)
    events = []
    for start in range(0, SECONDS * SAMPLE_RATE, 1600):
        events += one(sound()[start : start + 1600])
        other(np.zeros(1600, np.float32))
    assert same(events + one.finish(), alone)


def test_int16_and_several_channels_are_heard_alike(model) -> None:
    expected = heard(
        low(model), np.round(sound() * 32767).astype(np.int16) / np.float32(32768), 1600
    )
    integers = np.round(sound() * 32767).astype(np.int16)
    assert same(heard(low(model), integers, 1600), expected)
    assert same(heard(low(model), np.stack([integers, integers], axis=1), 1600), expected)


def test_another_rate_is_converted(model) -> None:
    listener = low(model, sample_rate=48000)
    listener(np.zeros(48000, np.float32))
    assert listener.seconds == pytest.approx(1, abs=0.15)
    chunks, once = (
        heard(low(model, sample_rate=48000), sound(48000), size) for size in (997, 288000)
    )
    assert same(chunks, once)


def test_after_the_end_a_new_stream_begins(model) -> None:
    listener = low(model)
    first = heard(listener, sound(), 1600)
    assert listener.seconds == 0
    assert same(heard(listener, sound(), 1600), first)


def test_thresholds_are_those_of_the_file_unless_given(model) -> None:
    assert KeywordListener(model).detector.thresholds == {"yes": 0.5, "no": 0.5}
    assert KeywordListener(model, thresholds={"no": 0.9}).detector.thresholds == {
        "yes": 0.5,
        "no": 0.9,
    }
    with pytest.raises(KwsError, match="maybe"):
        KeywordListener(model, thresholds={"maybe": 0.9})


async def asynchronous(samples: np.ndarray, chunk: int = 1600) -> AsyncIterator[np.ndarray]:
    for start in range(0, len(samples), chunk):
        yield samples[start : start + chunk]


async def collect(listener: KeywordListener, chunks: AsyncIterator[np.ndarray]) -> list[Event]:
    return [event async for event in listener.listen(chunks)]


def test_asynchronous_streams_at_once_give_the_events_of_each_alone(model) -> None:
    others = sound()[::-1].copy()

    async def listen() -> list[list[Event]]:
        streams = [(sound(), 1600), (others, 999)]
        return await asyncio.gather(
            *(collect(low(model), asynchronous(*stream)) for stream in streams)
        )

    one, other = asyncio.run(listen())
    assert same(one, heard(low(model), sound(), 1600))
    assert same(other, heard(low(model), others, 1600)) and other


def test_the_loop_goes_on_while_a_chunk_is_scored(model) -> None:
    """Scoring waits here for what only the loop can do."""
    is_scoring, goes_on = threading.Event(), threading.Event()

    class Waiting(StreamingModel):
        def __call__(self, waveform, state):
            is_scoring.set()
            assert goes_on.wait(100)
            return super().__call__(waveform, state)

    async def listen() -> list[Event]:
        listening = asyncio.create_task(collect(low(Waiting(model.model)), asynchronous(sound())))
        while not is_scoring.is_set():
            await asyncio.sleep(0.01)
        goes_on.set()
        return await listening

    assert same(asyncio.run(listen()), heard(low(model), sound(), 1600))


def test_an_error_of_the_chunks_is_met_after_the_events_before_it(model) -> None:
    async def broken() -> AsyncIterator[np.ndarray]:
        yield sound()
        raise ConnectionResetError

    async def listen() -> None:
        async for event in low(model).listen(broken()):
            events.append(event)

    events: list[Event] = []
    with pytest.raises(ConnectionResetError):
        asyncio.run(listen())
    assert same(events, low(model)(sound())) and events


def test_a_chunk_may_be_written_into_after_it_was_heard(model) -> None:
    listener, buffer, events = low(model, gate=DrawnGate(1)), np.zeros(1000, np.float32), []
    for start in range(0, SECONDS * SAMPLE_RATE, len(buffer)):
        buffer[:] = sound()[start : start + len(buffer)]
        events += listener(buffer)
    assert same(
        events + listener.finish(), heard(low(model, gate=DrawnGate(1)), sound(), len(sound()))
    )


def test_a_keyword_at_the_end_is_decided(model) -> None:
    first, *_ = heard(low(model), sound(), 1600)
    end = round((first.time - 0.03) * SAMPLE_RATE)
    listener = low(model)
    assert listener(sound()[:end]) == []
    (event,) = listener.finish()
    assert same([event], [first])


def test_behind_a_gate_that_never_closes_the_events_are_the_same(model) -> None:
    expected = heard(low(model), sound(), 1600)
    assert same(heard(low(model, gate=DrawnGate(0, open_share=1)), sound(), 1600), expected)


def test_while_the_gate_is_closed_there_is_no_keyword_and_time_goes_on(model) -> None:
    listener = low(model, gate=DrawnGate(0, open_share=0))
    assert heard(low(model), sound(), 1600) and listener(sound()) == []
    assert listener.seconds == pytest.approx(SECONDS)
    assert sum(map(len, listener.rows)) == SECONDS * 100 and not listener.scores.any()


def test_behind_a_gate_events_do_not_depend_on_the_chunks(model) -> None:
    once = heard(low(model, gate=EnergyGate(6, 1, -70, 0.3)), sound(), len(sound()))
    assert once
    for chunk in (100, 1600, 4097):
        assert same(heard(low(model, gate=EnergyGate(6, 1, -70, 0.3)), sound(), chunk), once)


@pytest.mark.parametrize("chunk", [np.zeros(10, np.uint8), np.zeros((2, 2, 2), np.float32)])
def test_other_chunks_are_refused(model, chunk) -> None:
    with pytest.raises(KwsError, match="expected"):
        KeywordListener(model)(chunk)
