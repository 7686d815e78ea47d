"""A baresip without sound card, screen or terminal: plays a file, records what it hears, steered over `ctrl_tcp`."""

import glob
import json
import os
import re
import shutil
import socket
import subprocess
import time

from . import processes
from .processes import Failure

MODULES = "/usr/lib/baresip/modules"


def install():
    processes.install("baresip", "baresip-core")


def version():
    """The installed baresip's version as numbers; (0,) where none is installed."""
    if not shutil.which("baresip"):
        return (0,)
    banner = subprocess.run(["baresip", "-h"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    found = re.search(r"baresip v?(\d+(?:\.\d+)*)", banner.stdout + banner.stderr)
    return tuple(map(int, found[1].split("."))) if found else (0,)


def name():
    return "baresip " + ".".join(map(str, version()))


class Phone:
    """One baresip with one account at `server`; plays `sound` (a mono WAV of 8 kHz) into every call.

    Its files lie in a folder inside `folder`, by default the server's.
    """

    def __init__(self, server, user, password, sound, transport="tls", folder=None):
        self.user, self.server = user, server
        self.folder = os.path.join(folder or server.folder, f"phone-{user}")
        os.makedirs(self.folder)
        self.control = processes.free_port()
        self.log = os.path.join(self.folder, "log")
        self.events, self.buffer, self.connection, self.process = [], b"", None, None
        port = server.tls if transport == "tls" else server.sip
        self.address = f"sip:{server.domain}:{port};transport={transport}"
        with open(os.path.join(self.folder, "accounts"), "w") as out:
            out.write(account(server.domain, port, user, password, transport) + "\n")
        with open(os.path.join(self.folder, "config"), "w") as out:
            out.write(self._configuration(sound))

    def uri(self):
        return f"sip:{self.user}@{self.address[4:]}"

    def start(self):
        self.process = processes.start(["baresip", "-f", self.folder], self.log, cwd=self.folder)
        processes.wait_for(f"{self.user}'s baresip", self._connect, 10)

    def stop(self):
        if self.connection:
            self.connection.close()
            self.connection = None
        if self.process:
            processes.stop(self.process)
            self.process = None

    def registered(self):
        """Whether the registration stands; asked, because it may be older than our control connection."""
        if any(event.get("type") == "REGISTER_OK" for event in self.events):
            return True
        if any(event.get("type") == "REGISTER_FAIL" for event in self.events):
            raise Failure(f"{self.user} could not register: {self.first('REGISTER_FAIL').get('param')}")
        return "OK" in self.command("reginfo")

    def dial(self, uri):
        self.command("dial", uri)

    def hang_up(self):
        self.command("hangup")

    def command(self, name, parameters=""):
        """Runs one command of baresip's menu and returns what it printed."""
        token = f"{name}-{time.monotonic()}"
        body = json.dumps({"command": name, "params": parameters, "token": token}).encode()
        self.connection.sendall(b"%d:%s," % (len(body), body))
        answer = processes.wait_for(f"{self.user}'s answer to {name}", lambda: self._take_answer(token), 5)
        return answer.get("data") or ""

    def first(self, kind):
        """The first event of a kind (CALL_RINGING, CALL_ESTABLISHED, CALL_CLOSED, ...) or None."""
        self._read()
        return next((event for event in self.events if event.get("type") == kind), None)

    def wait(self, kind, seconds=10):
        return processes.wait_for(f"{self.user} waits for {kind}", lambda: self._alive() and self.first(kind), seconds)

    def recording(self):
        """What this phone heard; complete a moment after the call has ended."""
        found = sorted(glob.glob(os.path.join(self.folder, "dump*dec.wav")))
        if not found:
            raise Failure(f"{self.user} recorded nothing")
        return found[-1]

    def heard_bytes(self):
        return sum(os.path.getsize(path) for path in glob.glob(os.path.join(self.folder, "dump*dec.wav")))

    def _alive(self):
        if self.process.poll() is not None:
            raise Failure(f"{self.user}'s baresip ended:\n{processes.tail(self.log)}")
        return True

    def _connect(self):
        self._alive()
        try:
            self.connection = socket.create_connection(("127.0.0.1", self.control), 1)
            self.connection.settimeout(0.02)
            return True
        except OSError:
            return False

    def _take_answer(self, token):
        self._alive()
        self._read()
        for event in self.events:
            if event.get("response") and event.get("token") == token:
                self.events.remove(event)
                return event
        return None

    def _read(self):
        try:
            while True:
                data = self.connection.recv(65536)
                if not data:
                    break
                self.buffer += data
        except (socket.timeout, BlockingIOError):
            pass
        except OSError as error:
            raise Failure(f"{self.user}'s control connection broke: {error}\n{processes.tail(self.log)}")
        while b":" in self.buffer:                      # netstrings: LENGTH:JSON,
            length, rest = self.buffer.split(b":", 1)
            if len(rest) <= int(length):
                break
            self.events.append(json.loads(rest[:int(length)]))
            self.buffer = rest[int(length) + 1:]

    def _configuration(self, sound):
        media = processes.free_port() & ~1
        modules = ["stdio", "g711", "aufile", "sndfile", "srtp", "uuid"]
        return "\n".join([
            "poll_method epoll",
            "call_local_timeout 120",
            "call_max_calls 4",
            "sip_listen 127.0.0.1:0",
            f"sip_cafile {self.server.ca}",
            f"module_path {MODULES}",
            f"audio_player aufile,{self.folder}/unused.wav",
            f"audio_source aufile,{sound}",
            f"audio_alert aufile,{self.folder}/alert.wav",
            "ausrc_srate 8000", "auplay_srate 8000", "ausrc_channels 1", "auplay_channels 1", "audio_level no",
            f"rtp_ports {media}-{media + 40}",
            "net_interface 127.0.0.1",
            *[f"module {name}.so" for name in modules],
            "module_tmp account.so",
            *[f"module_app {name}.so" for name in ("menu", "ctrl_tcp")],
            f"snd_path {self.folder}",
            f"ctrl_tcp_listen 127.0.0.1:{self.control}",
            "rtcp_mux yes", ""])


def account(domain, port, user, password, transport="tls"):
    """The line for baresip's `accounts` file: media only as SRTP, keys by SDES.

    Before 2.0 baresip asks the DNS server itself, which may know no `localhost`; such a phone is given the address too.
    """
    line = f"<sip:{user}@{domain}:{port};transport={transport}>;auth_user={user};auth_pass={password}"
    if domain == "localhost" and version() < (2,):
        line += f";outbound=\"sip:127.0.0.1:{port};transport={transport}\""
    return line + ";mediaenc=srtp-mand;audio_codecs=pcmu;regint=600"
