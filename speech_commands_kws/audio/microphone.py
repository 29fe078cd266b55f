"""The sound device: records from a microphone and plays back, through PortAudio (package sounddevice)."""

import queue
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from speech_commands_kws.audio.reading import resample_blocks
from speech_commands_kws.cli.terminal import say
from speech_commands_kws.errors import KwsError, check_positive, summarize_error

CHUNK_SECONDS = 0.05
# After so long without sound a device is taken for gone, and then looked for again and again.
SILENT_SECONDS, RETRY_SECONDS = 3.0, 1.0
# Lost sound is told no more often.
TELL_SECONDS = 10.0


class Microphone:
    """A microphone of this machine, at its own sample rate.

    Args:
        device: its number or a part of its name, as `python -m sounddevice` lists them; None takes the standard one.

    Raises:
        KwsError: sounddevice or PortAudio is not installed, or there is no such microphone.
    """

    def __init__(self, device: int | str | None = None) -> None:
        self.sounddevice = load_sounddevice()
        self.device = device
        self.sample_rate = round(facts_of(self.sounddevice, device)["default_samplerate"])

    def record(self, seconds: float) -> np.ndarray:
        """Record for `seconds`; float32 (T,) within ±1."""
        try:
            samples = self.sounddevice.rec(
                round(seconds * self.sample_rate),
                samplerate=self.sample_rate,
                channels=1,
                dtype="float32",
                device=self.device,
                blocking=True,
            )
        except self.sounddevice.PortAudioError as error:
            raise KwsError(
                f"the microphone cannot be used ({summarize_error(error)}): close what else uses it"
            ) from None
        return samples[:, 0]

    def play(self, waveform: np.ndarray) -> None:
        """Play float32 (T,) at `sample_rate` to the end."""
        try:
            self.sounddevice.play(waveform, self.sample_rate, blocking=True)
        except self.sounddevice.PortAudioError as error:
            raise KwsError(
                f"nothing can be played ({summarize_error(error)}): record with playback=false"
            ) from None


class MicrophoneStream:
    """A microphone without end: iterated over, it gives chunks, float32 (T,) within ±1.

    A device that does not take the rate is heard at its own, and converted. One that vanishes is waited for.

    Args:
        sample_rate: of the chunks (Hz).
        device: as of `Microphone`.
        queue_seconds: so much sound waits while nobody takes it; more is lost, and told.

    Attributes:
        lost_seconds: sound lost so far, at least: what the device itself reports as lost has no length.

    Raises:
        KwsError: as `Microphone`, or the device cannot be opened.
    """

    def __init__(
        self, sample_rate: int, device: int | str | None = None, queue_seconds: float = 10
    ) -> None:
        check_positive(queue_seconds=queue_seconds)
        self.sounddevice = load_sounddevice()
        self.sample_rate, self.device = sample_rate, device
        self.lost_seconds = self.told_seconds = 0.0
        self.told_at = -TELL_SECONDS
        self.waiting: queue.Queue[np.ndarray] = queue.Queue(
            round(queue_seconds / CHUNK_SECONDS) + 1
        )
        self.stream = self._opened()

    def __iter__(self) -> Iterator[np.ndarray]:
        while True:
            yield from resample_blocks(
                self._heard_chunks(), round(self.stream.samplerate), self.sample_rate
            )
            self.close()
            say("the microphone is gone: waiting for it")
            gone = time.monotonic() - SILENT_SECONDS
            self.stream = self._reopened()
            self.lost_seconds += time.monotonic() - gone
            say("the microphone is back")

    def close(self) -> None:
        self.stream.close()

    def _heard_chunks(self) -> Iterator[np.ndarray]:
        """Until nothing comes any more."""
        while True:
            try:
                chunk = self.waiting.get(timeout=SILENT_SECONDS)
            except queue.Empty:
                return
            self._tell()
            yield chunk

    def _hear(self, samples: np.ndarray, frames: int, _: Any, status: Any) -> None:
        """Called by PortAudio in a thread of its own, which must not wait."""
        seconds = frames / self.stream.samplerate
        if status.input_overflow:
            self.lost_seconds += seconds
        try:
            self.waiting.put_nowait(samples.mean(axis=1))
        except queue.Full:
            self.lost_seconds += seconds

    def _tell(self) -> None:
        if self.lost_seconds > self.told_seconds and time.monotonic() > self.told_at + TELL_SECONDS:
            say(
                f"{self.lost_seconds:.1f} s of sound were lost so far: this machine, or what reads the events, "
                "is too slow"
            )
            self.told_at, self.told_seconds = time.monotonic(), self.lost_seconds

    def _opened(self) -> Any:
        facts = facts_of(self.sounddevice, self.device)
        own = round(facts["default_samplerate"])
        forms = [(self.sample_rate, 1), (own, 1), (own, facts["max_input_channels"])]
        for rate, channels in forms:
            try:
                self.stream = self.sounddevice.InputStream(
                    samplerate=rate,
                    channels=channels,
                    dtype="float32",
                    device=self.device,
                    blocksize=round(rate * CHUNK_SECONDS),
                    callback=self._hear,
                )
                self.stream.start()
                return self.stream
            except self.sounddevice.PortAudioError as error:
                reason = summarize_error(error)
        raise KwsError(f"the microphone cannot be used ({reason}): close what else uses it")

    def _reopened(self) -> Any:
        while True:
            time.sleep(RETRY_SECONDS)
            # PortAudio looks for devices only when it starts.
            self.sounddevice._terminate()
            self.sounddevice._initialize()
            try:
                return self._opened()
            except KwsError:
                continue


def facts_of(sounddevice: ModuleType, device: int | str | None) -> dict[str, Any]:
    """What PortAudio knows about a microphone.

    Raises:
        KwsError: there is none.
    """
    try:
        return sounddevice.query_devices(device, "input")
    # sounddevice raises ValueError for a name that no device, or several, have.
    except (sounddevice.PortAudioError, ValueError) as error:
        raise KwsError(
            f"expected a microphone, found none ({summarize_error(error)}): plug one in, or choose one of "
            "`python -m sounddevice` with microphone.device="
        ) from None


def load_sounddevice() -> ModuleType:
    """Import sounddevice, which loads PortAudio at once."""
    try:
        import sounddevice
    except OSError as error:
        raise KwsError(
            f"expected the library PortAudio, found none ({summarize_error(error)}): install it "
            "(Debian, Ubuntu: apt install libportaudio2)"
        ) from None
    return sounddevice
