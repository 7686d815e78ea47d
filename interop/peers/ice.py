"""Two ICE agents with us as their signalling: each is a program that speaks the lines of our example `ice_agent`."""

import json
import os
import subprocess
import threading

from . import processes
from .processes import Failure
from .server import built


def ours(*arguments):
    """The command of our own agent."""
    binary = os.environ.get("FARSPEAK_ICE_AGENT") or built(
        os.path.join("examples", "ice_agent"), "-p farspeak-ice --example ice_agent")
    return [binary, "--json", *arguments]


def open_here(command, log, **options):
    """A process whose standard input and output are ours."""
    with open(log, "ab") as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                                   bufsize=1, start_new_session=True, **options)
    process.log = log
    processes.RUNNING.append(process)
    return process


class Agent:
    """A process whose signalling goes to `hear`; what else it tells is kept. A phone sends sound and echoes nothing."""

    def __init__(self, process, is_phone=False):
        self.process, self.log, self.events, self.is_phone = process, process.log, [], is_phone

    def listen(self, hear):
        threading.Thread(target=self._listen, args=(hear,), daemon=True).start()

    def _listen(self, hear):
        with open(self.log + ".lines", "w") as copy:
            for line in self.process.stdout:
                copy.write(line)
                copy.flush()
                if line.startswith("{"):
                    self.events.append(json.loads(line))
                else:
                    hear(line)

    def tell(self, line):
        """A line of signalling from the other end."""
        try:
            self.process.stdin.write(line)
            self.process.stdin.flush()
        except OSError:
            pass                                        # it has ended: somebody else notices

    def of(self, kind):
        return [event for event in list(self.events) if event["event"] == kind]

    def state(self):
        states = self.of("state")
        return states[-1]["state"] if states else "new"

    def has_talked(self, components):
        """Whether all its echoes are there; of a phone, which has none: whether it sends; with a phone: whether it hears."""
        if self.process.poll() is not None:
            raise Failure(f"an agent ended with {self.process.returncode}: {processes.tail(self.log, 5)}")
        if self.is_phone or self.state() == "failed":
            return self.state() in ("completed", "failed")
        return bool(self.of("heard")) or len([data for data in self.of("data") if data["sent"]]) == components

    def ways(self):
        """The last selected pair of each component."""
        return {event["component"]: event for event in self.of("selected")}

    def close(self):
        """Nothing more is signalled: the agent takes its leave."""
        try:
            self.process.stdin.close()
        except OSError:
            pass

    def end(self):
        self.close()
        try:
            self.process.wait(3)                        # it gives back what it has at relays
        except subprocess.TimeoutExpired:
            pass
        processes.stop(self.process)


def connect(one, other, components=1, relay=(), spare=0, seconds=30, then=None):
    """Lets the two find each other and talk: (how, what is wrong, details).

    `relay` is how relayed addresses begin; so many packets as `spare` may be lost; `then` may do more with both, and
    says what is wrong.
    """
    try:
        one.listen(other.tell)
        other.listen(one.tell)
        processes.wait_for("talk between the agents", lambda: one.has_talked(components) and other.has_talked(components),
                           seconds)
        if "failed" in (one.state(), other.state()):
            return "not at all", f"states {one.state()} and {other.state()}", ""
        lost = [f"{data['sent'] - data['echoed']} of {data['sent']} packets lost"
                for data in one.of("data") + other.of("data") if data["echoed"] + spare < data["sent"]]
        ways = [*one.ways().values(), *other.ways().values()]
        relayed = any(way["relayed"] or way["remote"].startswith(tuple(relay)) for way in ways)
        first = max(next((event["ms"] for event in agent.of("state") if event["state"] == "connected"), -1)
                    for agent in (one, other))
        done = max(agent.of("state")[-1]["ms"] for agent in (one, other))
        times = sorted(data["round_trip_us"] for data in one.of("data") + other.of("data"))
        detail = f"sends after {first} ms, selected after {done} ms"
        detail += f", round trip {times[len(times) // 2]} us" if any(times) else ", sound arrives"
        if then and not lost:
            lost = [trouble for trouble in [then(one, other)] if trouble]
        return "relayed" if relayed else "direct", "; ".join(lost), detail
    except Failure as failure:
        return "not at all", f"{failure}; states {one.state()} and {other.state()}", ""
    finally:
        one.close()
        other.end()
        one.end()


def restart(one, other):
    """For `connect`: `one` begins anew (RFC 8445 §9), and both talk again; what is wrong."""
    before = len(one.of("data")), len(other.of("data"))
    one.tell("restart\n")
    try:
        processes.wait_for("talk after the restart",
                           lambda: len(one.of("data")) > before[0] and len(other.of("data")) > before[1], 20)
    except Failure as failure:
        return f"{failure}; states {one.state()} and {other.state()}"
    last = [agent.of("data")[-1] for agent in (one, other)]
    return "; ".join(f"after the restart {data['echoed']} of {data['sent']} echoed" for data in last
                     if data["echoed"] != data["sent"])
