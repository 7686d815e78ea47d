"""SIPp scenarios for calls through the back-to-back user agent: what happens inside a call, seen from either end.

Each is written for the end that begins (`calls`) and the end that is called (`called`), and what its steps need is in
`scenarios`. Both ends number their own requests; the INVITE of the caller has the CSeq 2, after the challenge.
"""

from .scenarios import (CONTACT, NEW_VIA, SDP, acknowledged, asked, bye, challenged, hear, matches, ok, pause, refused, reply,
                        request, send)

HELD = SDP.rstrip("\n") + "\na=sendonly\n"
MET = "a=sendonly"


def calling(*more, body=SDP):
    """INVITE, 407, ACK, INVITE with credentials, which says more."""
    def invite(cseq, *last):
        return request("INVITE", "sip:[peer]@[domain]", cseq, body=body, more=[CONTACT, *more, *last])
    return invite(1) + hear(100, optional=True) + hear(407, challenge=True) + refused(1) + invite(2, "[authentication]")


def within(method, cseq, body="", more=()):
    """A request of the caller's inside its dialog."""
    return request(method, "[next_url]", cseq, to="[last_To:]", more=["[routes]", CONTACT, *more], body=body)


def theirs(method, cseq, body="", more=(), retransmit=True):
    """A request of the called end's: From and To are the INVITE's the other way round, as kept by `rung`."""
    return send([f"{method} [next_url] SIP/2.0", NEW_VIA, "From: [$2];tag=[pid]t[call_number]", "To: [$4]",
                 "Call-ID: [call_id]", f"CSeq: {cseq} {method}", "Max-Forwards: 70", "[routes]", CONTACT, *more], body, retransmit)


def rung():
    """INVITE, its From and To kept; 180."""
    def keep(name, whole, value):
        return (f'<ereg regexp="{name}: *([^[:cntrl:]]*)" search_in="msg" check_it="true" assign_to="{whole},{value}"/>'
                f'<log message="[${whole}] [${value}]"/>')
    return (f'<recv request="INVITE" rrs="true"><action>{keep("To", 1, 2)}{keep("From", 3, 4)}</action></recv>\n'
            + reply("180 Ringing", CONTACT))


def accepted(more=CONTACT):
    return reply("200 OK", more, SDP, retransmit=True) + asked("ACK")


def answered(body="", more=CONTACT, line="200 OK", retransmit=False):
    """An answer inside the dialog, whose To has our tag already."""
    return send([f"SIP/2.0 {line}", "[last_Via:]", "[last_Record-Route:]", "[last_From:]", "[last_To:]", "[last_Call-ID:]",
                 "[last_CSeq:]", more], body, retransmit)


def heard(method, *holding):
    return f'<recv request="{method}" rrs="true">{matches(holding)}</recv>\n'


def established():
    return challenged() + hear(180, optional=True) + hear(183, optional=True) + hear(200) + acknowledged(2) + pause(100)


HANG_UP = bye(9) + hear(200)
END = asked("BYE") + ok()

# name: (the caller's steps, the called end's)
CASES = {
    "the caller holds and resumes by re-INVITE": (
        established() + within("INVITE", 3, HELD) + hear(100, optional=True) + hear(200) + acknowledged(3)
        + within("INVITE", 4, SDP) + hear(100, optional=True) + hear(200) + acknowledged(4) + HANG_UP,
        rung() + accepted() + heard("INVITE", MET) + answered(SDP, retransmit=True) + asked("ACK")
        + heard("INVITE") + answered(SDP, retransmit=True) + asked("ACK") + END),
    "the called end holds by re-INVITE": (
        established() + heard("INVITE", MET) + answered(SDP, retransmit=True) + asked("ACK")
        + asked("BYE") + ok(),
        rung() + accepted() + pause(200) + theirs("INVITE", 1, HELD) + hear(100, optional=True) + hear(200)
        + theirs("ACK", 1, retransmit=False) + pause(200) + theirs("BYE", 2) + hear(200)),
    "the caller changes the session by UPDATE": (
        established() + within("UPDATE", 3, HELD) + hear(200, holding=["m=audio"]) + HANG_UP,
        rung() + accepted("Allow: INVITE, ACK, BYE, CANCEL, UPDATE\n" + CONTACT) + heard("UPDATE", MET) + answered(SDP) + END),
    "a refused re-INVITE is refused (488)": (
        established() + within("INVITE", 3, HELD) + hear(100, optional=True) + hear(488, holding=["Warning: *305"])
        + request("ACK", "[next_url]", 3, to="[last_To:]", via="[last_Via:]", more=["[routes]"], retransmit=False) + HANG_UP,
        rung() + accepted() + heard("INVITE", MET)
        + answered(line="488 Not Acceptable Here", more='Warning: 305 bob "no"', retransmit=True) + asked("ACK") + END),
    "a reliable response is acknowledged on each leg": (
        calling("Supported: 100rel") + hear(100, optional=True) + '<recv response="183" rrs="true">' + matches(["RSeq: *[0-9]+", "Require: *100rel"])
        + "</recv>\n"
        + '<nop><action><ereg regexp="[0-9]+" search_in="var" variable="m0" check_it="true" assign_to="seq"/></action></nop>\n'
        + within("PRACK", 3, more=["RAck: [$seq] 2 INVITE"]) + hear(200) + hear(200) + acknowledged(2) + HANG_UP,
        '<recv request="INVITE" rrs="true"><action>'
        '<ereg regexp="Via:[^[:cntrl:]]*([[:cntrl:]]+Via:[^[:cntrl:]]*)*" search_in="msg" assign_to="1,2"/>'
        '<ereg regexp="CSeq:[^[:cntrl:]]*" search_in="msg" assign_to="3"/><log message="[$2]"/>'
        '<ereg regexp="Supported:[^[:cntrl:]]*100rel" search_in="msg" check_it="true" assign_to="4"/><log message="[$4]"/>'
        '<ereg regexp="Record-Route:[^[:cntrl:]]*" search_in="msg" assign_to="5"/>'
        "</action></recv>\n"
        + reply("183 Session Progress", CONTACT + "\nRequire: 100rel\nRSeq: 77", SDP, retransmit=False)
        + heard("PRACK", "RAck: *77 +[0-9]+ +INVITE") + answered() + pause(200)
        + send(["SIP/2.0 200 OK", "[$1]", "[$5]", "[last_From:]", "[last_To:]", "[last_Call-ID:]", "[$3]", CONTACT], "", True)
        + asked("ACK") + END),
    "the session is refreshed on the caller's leg alone": (
        calling("Supported: timer", "Session-Expires: 90;refresher=uac") + hear(100, optional=True)
        + hear(180, optional=True) + hear(200, holding=["Session-Expires: *90"]) + acknowledged(2) + pause(200)
        + within("UPDATE", 3, more=["Supported: timer", "Session-Expires: 90;refresher=uac"])
        + hear(200, holding=["Session-Expires: *90"]) + HANG_UP,
        rung() + accepted() + END),
    "the caller asks for an offer": (
        calling(body="") + hear(100, optional=True) + hear(180, optional=True) + hear(200, holding=["m=audio"])
        + request("ACK", "[next_url]", 2, to="[last_To:]", more=["[routes]"], body=SDP, retransmit=False) + pause(200) + HANG_UP,
        rung() + reply("200 OK", CONTACT, SDP, retransmit=True) + heard("ACK", "m=audio") + END),
    "INFO passes with its body": (
        established() + request("INFO", "[next_url]", 3, to="[last_To:]", more=["[routes]", "X-Odd: kept"], body=SDP)
        + hear(200, holding=["X-Even: kept"]) + HANG_UP,
        rung() + accepted() + heard("INFO", "X-Odd: kept", "m=audio") + answered(more="X-Even: kept") + END),
}
