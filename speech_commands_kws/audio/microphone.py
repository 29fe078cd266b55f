"""The sound device: records from a microphone and plays back, through PortAudio (package sounddevice)."""

from types import ModuleType

import numpy as np

from speech_commands_kws.errors import KwsError, summarize_error


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
        try:
            facts = self.sounddevice.query_devices(device, "input")
        # sounddevice raises ValueError for a name that no device, or several, have.
        except (self.sounddevice.PortAudioError, ValueError) as error:
            raise KwsError(
                f"expected a microphone, found none ({summarize_error(error)}): plug one in, or choose one of "
                "`python -m sounddevice` with device="
            ) from None
        self.sample_rate = round(facts["default_samplerate"])

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
