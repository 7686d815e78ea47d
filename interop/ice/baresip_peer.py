"""baresip in a call with us, behind the lines that our example `ice_agent` speaks: SDP and SIP are spoken here.

    baresip_peer.py FOLDER [--controlling]     # with it, baresip calls and offers; else it is called
"""

import os
import re
import socket
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import lines  # noqa: E402
from peers import baresip, processes, tone  # noqa: E402

CONFIGURATION = """poll_method epoll
call_local_timeout 60
call_max_calls 2
sip_listen {host}:{port}
module_path {modules}
audio_player aufile,{folder}/unused.wav
audio_source aufile,{folder}/tone.wav
audio_alert aufile,{folder}/alert.wav
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
audio_level no
net_interface {host}
module stdio.so
module g711.so
module aufile.so
module stun.so
module turn.so
module ice.so
module uuid.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
"""


class Line:
    """Our end of the call: one UDP socket, one dialog."""

    def __init__(self, host, to):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.settimeout(10)
        self.here = "%s:%d" % self.socket.getsockname()
        self.to = to
        self.call, self.tag, self.peer = f"{os.urandom(8).hex()}@farspeak.test", os.urandom(4).hex(), ""

    def send(self, text):
        self.socket.sendto(text.replace("\n", "\r\n").encode(), self.to)

    def hear(self, *words):
        """The next message that begins with one of these."""
        while True:
            text = self.socket.recv(65536).decode(errors="replace").replace("\r\n", "\n")
            if text.startswith(words):
                return text

    def request(self, method, number, body=""):
        peer = self.peer or f"<sip:bob@{self.to[0]}:{self.to[1]}>"
        kind = "Content-Type: application/sdp\n" if body else ""
        self.send(f"{method} sip:bob@{self.to[0]}:{self.to[1]} SIP/2.0\nVia: SIP/2.0/UDP {self.here};"
                  f"branch=z9hG4bK{os.urandom(6).hex()};rport\nMax-Forwards: 70\nFrom: <sip:farspeak@{self.here}>;tag={self.tag}\n"
                  f"To: {peer}\nCall-ID: {self.call}\nCSeq: {number} {method}\nContact: <sip:farspeak@{self.here}>\n{kind}"
                  f"Content-Length: {len(body.replace(chr(10), chr(13) + chr(10)))}\n\n{body}")

    def invite(self, body):
        """Calls; the SDP of the answer."""
        self.request("INVITE", 1, body)
        answer = self.hear("SIP/2.0 200", "SIP/2.0 4", "SIP/2.0 5", "SIP/2.0 6")
        self.peer = value(answer, "To")
        self.request("ACK", 1)
        if not answer.startswith("SIP/2.0 200"):
            raise SystemExit(f"refused: {answer.splitlines()[0]}")
        return answer

    def answer(self, request, status, body=""):
        """Answers a request of baresip's."""
        to = value(request, "To")
        kind = f"Content-Type: application/sdp\nContact: <sip:farspeak@{self.here}>\n" if body else ""
        self.send(f"SIP/2.0 {status}\nVia: {value(request, 'Via')}\nFrom: {value(request, 'From')}\n"
                  f"To: {to}{'' if ';tag=' in to else ';tag=' + self.tag}\nCall-ID: {value(request, 'Call-ID')}\n"
                  f"CSeq: {value(request, 'CSeq')}\n{kind}"
                  f"Content-Length: {len(body.replace(chr(10), chr(13) + chr(10)))}\n\n{body}")


def value(message, name):
    return re.search(rf"^{name}: *(.*)$", message, re.M | re.I)[1]


def description(host, own):
    """Our agent's lines as SDP: its first candidate of each component is the default one."""
    first = {component: next((line.split() for line in own["candidates"]
                              if line.split()[1] == component and line.split()[4] == host), None) for component in "12"}
    rtcp = f"a=rtcp:{first['2'][5]}\n" if first["2"] else ""
    lite = "a=ice-lite\n" if own["lite"] else ""
    candidates = "".join(f"a={candidate}\n" for candidate in own["candidates"])
    return (f"v=0\no=- 1 1 IN IP4 {host}\ns=-\nc=IN IP4 {host}\nt=0 0\n{lite}m=audio {first['1'][5]} RTP/AVP 0\n"
            f"a=rtpmap:0 PCMU/8000\n{rtcp}a=ice-ufrag:{own['ufrag']}\na=ice-pwd:{own['pwd']}\n{candidates}")


def pass_on(sdp):
    """baresip's description as lines for our agent."""
    if "a=ice-lite" in sdp:
        lines.say("lite")
    lines.say("ufrag " + re.search(r"^a=ice-ufrag:(.*)$", sdp, re.M)[1])
    lines.say("pwd " + re.search(r"^a=ice-pwd:(.*)$", sdp, re.M)[1])
    for candidate in re.findall(r"^a=(candidate:.*)$", sdp, re.M):
        lines.say(candidate)
    lines.say("end")


def read_own():
    own = {"candidates": [], "lite": False}
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        if word == "end":
            return own
        if word == "lite":
            own["lite"] = True
        elif word in ("ufrag", "pwd"):
            own[word] = rest
        else:
            own["candidates"].append(line.strip())
    raise SystemExit("our agent has ended")


def main():
    folder, calls = sys.argv[1], "--controlling" in sys.argv
    own = read_own()
    host = next(line.split()[4] for line in own["candidates"] if "." in line.split()[4])
    os.makedirs(folder, exist_ok=True)
    tone.make(os.path.join(folder, "tone.wav"), 440)
    port, control = processes.free_port(), processes.free_port()
    with open(os.path.join(folder, "config"), "w") as out:
        out.write(CONFIGURATION.format(host=host, port=port, folder=folder, modules=baresip.MODULES, control=control))
    with open(os.path.join(folder, "accounts"), "w") as out:
        out.write(f"<sip:bob@{host}:{port}>;medianat=ice;audio_codecs=pcmu;regint=0;answermode=auto\n")
    log = os.path.join(folder, "log")
    processes.start(["baresip", "-f", folder], log, cwd=folder)
    processes.wait_for("baresip", lambda: processes.answers(control), 10)
    line = Line(host, (host, port))
    began = time.monotonic()
    if calls:
        phone = socket.create_connection(("127.0.0.1", control))
        command = b'{"command":"dial","params":"sip:farspeak@%s"}' % line.here.encode()
        phone.sendall(b"%d:%s," % (len(command), command))
        invitation = line.hear("INVITE")
        line.answer(invitation, "200 OK", description(host, own))
        pass_on(invitation)
    else:
        pass_on(line.invite(description(host, own)))
    lines.tell("state", 0, state="checking")

    def serve():
        """Whatever comes later: re-INVITEs that confirm the selected pair are accepted."""
        line.socket.settimeout(None)
        while True:
            request = line.hear("INVITE", "ACK", "UPDATE", "BYE")
            if not request.startswith("ACK"):
                line.answer(request, "200 OK", description(host, own) if request.startswith("INVITE") else "")
    threading.Thread(target=serve, daemon=True).start()

    def verdict():
        return next((text for text in processes.tail(log, 400).splitlines() if "connectivity check" in text), None)
    done = processes.wait_for("baresip's checks", verdict, 30)
    for state in ("connected", "completed") if "is complete" in done else ("failed",):
        lines.tell("state", round((time.monotonic() - began) * 1000), state=state)
    for _ in sys.stdin:
        pass
    if not calls:
        line.request("BYE", 2)


main()
