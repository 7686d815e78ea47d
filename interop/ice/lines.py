"""What the peers that speak the lines of our example `ice_agent` have in common: options, lines, packets to and fro."""

import argparse
import json
import sys
import time


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--controlling", action="store_true")
    parser.add_argument("--components", type=int, default=1)
    parser.add_argument("--relay-only", action="store_true")
    parser.add_argument("--no-trickle", action="store_true")
    parser.add_argument("--aiortc", action="store_true")
    parser.add_argument("--ipv4", action="store_true")
    parser.add_argument("--stun")
    parser.add_argument("--turn")
    parser.add_argument("--turn-transport", default="udp")
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--packets", type=int, default=10)
    parser.add_argument("--patience", type=float, default=30)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def address(text):
    """(host, port) of HOST:PORT, or None."""
    host, _, port = (text or "").rpartition(":")
    return (host, int(port)) if port else None


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def tell(event, ms, **details):
    say(json.dumps({"event": event, "ms": ms, **details}))


class Tally:
    """Which packets were sent and which echoes came."""

    def __init__(self, components):
        self.components = components
        self.sent, self.echoed = {}, {}

    def ping(self, component, number):
        self.sent[component, number] = time.monotonic()
        return b"ping %d" % number

    def hear(self, component, data):
        """What to answer, if anything."""
        word, _, rest = bytes(data).partition(b" ")
        if word == b"ping":
            return b"echo " + rest
        if word == b"echo":
            self.echoed.setdefault((component, int(rest)), time.monotonic())
        return None

    def is_complete(self):
        return self.sent.keys() <= self.echoed.keys()

    def tell(self, ms):
        for component in range(1, self.components + 1):
            times = sorted(self.echoed[key] - sent for key, sent in self.sent.items()
                           if key[0] == component and key in self.echoed)
            tell("data", ms, component=component, sent=sum(key[0] == component for key in self.sent), echoed=len(times),
                 round_trip_us=round(times[len(times) // 2] * 1e6) if times else 0)
