#!/usr/bin/env python3
"""What ./run shows: a node with two users, their account lines, a real call between two baresip; then it goes on serving."""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from peers import baresip, processes, server, sound, tone  # noqa: E402
from peers.processes import Failure  # noqa: E402
from peers.report import Report  # noqa: E402

TLS, HTTPS, ADMIN = 5061, 8443, 9061
USERS = ("alice", "bob")
TALK_SECONDS = 5


class Node(server.Farspeak):
    """The node with the operator's own ports where they are free, and with state that stays."""

    def __init__(self, data):
        super().__init__()
        self.data, self.ca = data, os.path.join(data, "ca.pem")
        self.configuration = os.path.join(data, "farspeak.toml")
        self.log = os.path.join(data, "farspeak.log")
        self.secrets = os.path.join(data, "demo-users.json")
        self.tls, self.wss, self.admin = (ours(port) for port in (TLS, HTTPS, ADMIN))

    def _toml(self):
        return (f"# Written by ./run at every start. All keys and their meaning: farspeak config default\n"
                f"[listen]\ntls = {self.tls}\nhttps = {self.wss}\n[admin]\nlisten = \"127.0.0.1:{self.admin}\"\n")

    def two_users(self):
        """The users of earlier runs keep their passwords: the node shows one only once, so this script keeps them."""
        if os.path.exists(self.secrets):
            with open(self.secrets) as kept:
                self.users = json.load(kept)
        for user in USERS:
            if user not in self.users:
                self.add_user(user)
        self.passwords = {user: self.users[user]["password"] for user in USERS}
        with open(os.open(self.secrets, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            json.dump(self.users, out)

    def lines(self, user, phone):
        """The lines for that phone, as the node gave them; the port may have moved since."""
        given = self.users[user]["phone"]
        return given[phone].replace(f":{given['port']}", f":{self.tls}")


def ours(port):
    """`port`, or another one if somebody has it."""
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("::", port))
            return port
        except OSError:
            other = processes.free_port()
            print(f"Port {port} is taken; using {other} instead.")
            return other


def accounts(node):
    print("\nA phone on another machine connects to this machine's name (in `outbound`, or in `reg_proxy`), keeps the rest,")
    print(f"and trusts the authority in {node.ca}.\n")
    print("baresip, in ~/.baresip/accounts:")
    for user in USERS:
        print(node.lines(user, "baresip"))
    print(f"and in ~/.baresip/config:\nsip_cafile {node.ca}\n")
    for user in USERS:
        print(f"Linphone for {user}, in ~/.config/linphone/linphonerc (or typed in: account, transport TLS):")
        print(node.lines(user, "linphone"))
    print(f"SIP in a WebSocket: {node.websocket}\n", flush=True)


def phones(node, folder):
    """Two baresip: alice speaks, bob plays a tune."""
    for command in ("baresip", "espeak-ng"):
        try:
            processes.install(command, "baresip-core" if command == "baresip" else command)
        except Failure as failure:
            if command == "baresip":
                raise
            print(failure)
    spoken, tune = os.path.join(folder, "alice.wav"), os.path.join(folder, "bob.wav")
    sound.tune(tune)
    if not sound.speech(spoken, "Hello Bob, this is Alice. We are talking through Farspeak, and nobody on the way can "
                                "hear us."):
        shutil.copy(tune, spoken)
    # The phones belong to the show, not to the node: their files go away with it.
    return [baresip.Phone(node, user, node.passwords[user], path, folder=folder)
            for user, path in zip(USERS, (spoken, tune))]


def call(report, node, folder):
    alice, bob = phones(node, folder)
    try:
        for phone in (bob, alice):
            phone.start()
            processes.wait_for(f"{phone.user}'s registration", phone.registered, 15)
            report.tell(f"{phone.user}'s phone has registered over TLS")
        alice.dial(bob.uri())
        report.tell("alice calls bob")
        bob.wait("CALL_INCOMING")
        report.tell("bob's phone rings")
        alice.wait("CALL_RINGING")
        report.tell("alice hears it ring")
        time.sleep(1)                                   # a person needs that long
        bob.command("accept")
        for phone in (alice, bob):
            phone.wait("CALL_ESTABLISHED")
        report.tell("bob answers: " + ("SRTP" if "RTP/SAVP" in alice.command("callstat") else "media NOT encrypted"))
        for phone, other in ((bob, "alice's voice"), (alice, "bob's tune")):
            processes.wait_for(f"sound at {phone.user}", lambda phone=phone: phone.heard_bytes() > 16000 * TALK_SECONDS,
                               TALK_SECONDS + 10)
            report.tell(f"{phone.user} receives {other}")
        alice.hang_up()
        bob.wait("CALL_CLOSED")
        report.tell("alice hangs up; bob's phone knows")
        for phone, other in ((bob, "alice"), (alice, "bob")):
            level, seconds = processes.wait_for("the recording", lambda phone=phone: loudness(phone), 5)
            if level < 0.01:
                raise Failure(f"{phone.user} heard only silence from {other}")
            report.tell(f"{phone.user} heard {seconds:.1f} s of {other}, RMS {level:.2f}")
    except Failure:
        print(processes.tail(node.log), file=sys.stderr)
        raise
    finally:
        for phone in (alice, bob):
            phone.stop()


def loudness(phone):
    """(RMS, seconds) of what a phone heard, once baresip has closed the file."""
    try:
        samples, rate = tone.read(phone.recording())
    except (EOFError, OSError, ValueError):
        return None
    return tone.rms(samples), len(samples) / rate


def main():
    options = argparse.ArgumentParser(prog="./run", description="Starts a node and shows a call.")
    options.add_argument("--once", action="store_true", help="temporary state; end after the call")
    options.add_argument("--data", help="where the node keeps its state (default ./data)")
    options = options.parse_args()
    began = time.monotonic()
    passing = processes.folder("run")
    data = os.path.abspath(options.data or (os.path.join(passing, "data") if options.once
                                            else os.path.join(server.ROOT, "data")))
    os.makedirs(data, mode=0o700, exist_ok=True)
    status = 0
    try:
        with Node(data) as node:
            node.two_users()
            print(f"The node is up: SIP over TLS on port {node.tls}, WebSocket on {node.wss}; log in {node.log}")
            accounts(node)
            try:
                call(Report("run"), node, passing)
                print(f"\nThat was a real, encrypted call, {time.monotonic() - began:.0f} s after the start.")
            except Failure as failure:
                status = 1
                print(f"\nThe call did not work: {failure}", file=sys.stderr)
            if not options.once:
                print("Serving. Ctrl-C ends it.", flush=True)
                while node.running():
                    time.sleep(0.5)
    except KeyboardInterrupt:
        print("\nStopped.")
    except (Failure, subprocess.SubprocessError) as failure:
        print(f"run: {failure}", file=sys.stderr)
        status = 1
    sys.exit(status)


main()
