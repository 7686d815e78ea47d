"""Which tone a recording holds: by content, so that noise or silence at the right packet rate does not pass."""

import array
import cmath
import math
import wave


def make(path, frequency, seconds=60, rate=8000, level=0.5):
    """Writes a mono 16-bit WAV file with one tone."""
    count = int(rate * seconds)
    samples = array.array("h", (int(32767 * level * math.sin(2 * math.pi * frequency * n / rate)) for n in range(count)))
    with wave.open(path, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(samples.tobytes())


def read(path):
    """(samples between -1 and 1 of the first channel, rate)."""
    with wave.open(path, "rb") as recording:
        if recording.getsampwidth() != 2:
            raise ValueError(f"{path}: {8 * recording.getsampwidth()} bits a sample, expected 16")
        channels, rate = recording.getnchannels(), recording.getframerate()
        samples = array.array("h", recording.readframes(recording.getnframes()))
    return [s / 32768 for s in samples[::channels]], rate


def rms(samples):
    return math.sqrt(sum(s * s for s in samples) / len(samples)) if samples else 0.0


def share(samples, rate, frequency):
    """Share of the signal's power, 0 to 1, that lies at `frequency` (Goertzel, blocks of 100 ms)."""
    size = rate // 10
    coefficient = 2 * math.cos(2 * math.pi * frequency / rate)
    at_tone = total = 0.0
    for begin in range(0, len(samples) - size + 1, size):
        one = two = 0.0
        for sample in samples[begin:begin + size]:
            one, two = sample + coefficient * one - two, one
            total += sample * sample
        power = abs(one - two * cmath.exp(-2j * math.pi * frequency / rate)) ** 2
        at_tone += 2 * power / size
    return at_tone / total if total else 0.0


def heard(path, frequency, seconds=2.0):
    """(good, words): whether the middle of a recording holds `frequency` and nothing else, for at least `seconds`."""
    samples, rate = read(path)
    length = len(samples) / rate
    if length < seconds:
        return False, f"only {length:.2f} s recorded"
    quiet = int(0.4 * rate)                             # leave out the first and last moments of the call
    middle = samples[quiet:len(samples) - quiet]
    level, purity = rms(middle), share(middle, rate, frequency)
    good = level > 0.05 and purity > 0.8
    return good, f"{length:.2f} s, {100 * purity:.0f} % of the power at {frequency} Hz, RMS {level:.3f}"
