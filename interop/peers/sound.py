"""Something to listen to: a spoken sentence or a tune, as mono WAV of 8 kHz."""

import array
import math
import os
import shutil
import subprocess
import wave

from . import tone

RATE = 8000
TIMES = 8                                               # baresip does not begin a file again: more than any call needs
# Beethoven's Ode to Joy, in semitones above C4 and quarter notes.
JOY = [(4, 1), (4, 1), (5, 1), (7, 1), (7, 1), (5, 1), (4, 1), (2, 1), (0, 1), (0, 1), (2, 1), (4, 1), (4, 1.5), (2, 0.5),
       (2, 2)]


def tune(path):
    samples = array.array("h")
    for semitones, quarters in JOY:
        frequency, count = 261.63 * 2 ** (semitones / 12), int(RATE * 0.4 * quarters)
        for n in range(count):
            fade = min(1, n / 80, (count - n) / 400)
            wave_ = math.sin(2 * math.pi * frequency * n / RATE) + 0.3 * math.sin(4 * math.pi * frequency * n / RATE)
            samples.append(int(9000 * fade * wave_))
    write(path, samples * TIMES)


def speech(path, words):
    """Lets espeak-ng say it; False where it is not installed."""
    if not shutil.which("espeak-ng"):
        return False
    raw = path + ".raw.wav"
    subprocess.run(["espeak-ng", "-v", "en", "-s", "150", "-w", raw, words], check=True, capture_output=True, timeout=30)
    samples, rate = tone.read(raw)
    os.remove(raw)
    step = rate / RATE                                  # each new sample is the mean of those it replaces
    out = array.array("h")
    for n in range(int(len(samples) / step)):
        part = samples[int(n * step):int((n + 1) * step) + 1]
        out.append(int(32000 * sum(part) / len(part)))
    out.extend([0] * RATE)
    write(path, out * TIMES)
    return True


def write(path, samples):
    with wave.open(path, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(samples.tobytes())
