"""SIPp as a phone: one process, its scenario, and what it has sent and seen."""

import itertools
import os
import subprocess

from peers import processes
from peers.processes import Failure

from . import scenarios


class Sipp:
    """One SIPp as one phone of `user` that does `doing`; `called` are the steps of a call that comes in meanwhile."""

    numbers = itertools.count(1)

    def __init__(self, node, transport, user, doing, peer="", called="", password=None):
        folder = self.folder = os.path.join(node.folder, f"sipp-{next(self.numbers)}-{transport}-{user}")
        os.makedirs(folder)
        arguments = ["sipp", f"127.0.0.1:{node.sip}", "-i", "127.0.0.1", "-p", str(processes.free_port()), "-nostdin",
                     "-t", {"udp": "u1", "tcp": "t1"}[transport], "-m", "1", "-sf", self._write("main", doing),
                     "-key", "user", user, "-key", "peer", peer, "-key", "domain", node.domain,
                     "-auth_uri", f"{peer}@{node.domain}" if peer else node.domain,      # SIPp takes no other
                     "-au", user, "-ap", password or node.passwords[user], "-timeout", "100", "-recv_timeout", "36000",
                     "-trace_err", "-error_file", f"{folder}/errors", "-trace_msg", "-message_file", f"{folder}/messages"]
        if called:
            arguments += ["-oocsf", self._write("called", called)]
        self.process = processes.start(arguments, f"{folder}/screen", cwd=folder)

    def _write(self, name, steps):
        path = os.path.join(self.folder, f"{name}.xml")
        with open(path, "w") as out:
            out.write(scenarios.scenario(name, steps))
        return path

    def messages(self):
        try:
            with open(f"{self.folder}/messages", errors="replace") as text:
                return text.read()
        except OSError:
            return ""

    def has_registered(self):
        if self.process.poll() is not None:
            raise Failure("SIPp ended: " + self.trouble())
        return any("SIP/2.0 200" in part and "REGISTER" in part for part in self.messages().split("-----\n"))

    def finish(self, seconds):
        """Waits for the scenario's end; what went wrong, or nothing."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = "no end"
        processes.stop(self.process)
        return "" if status == 0 else f"SIPp: {status}, {self.trouble()}"

    def trouble(self):
        lines = processes.tail(f"{self.folder}/errors", 30).split("\n")
        return " ".join(line for line in lines if line.strip())[:600]
