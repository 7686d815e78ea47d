"""SIPp scenarios, written as the ladder that the phone sees and turned into SIPp's XML.

`USER`, `PEER` and `DOMAIN` come from the runner (`-key`), credentials by `-au` and `-ap`. A response's Via is ours with the
branch of the request, so ACK for a failure and CANCEL copy it (RFC 3261 §17.1.1.3, §9.1).
"""

SDP = """
v=0
o=[user] 53655765 2353687637 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio 49170 RTP/AVP 0
a=rtpmap:0 PCMU/8000
"""

NEW_VIA = "Via: SIP/2.0/[transport] 127.0.0.1:[local_port];rport;branch=[branch]"
CONTACT = "Contact: <sip:[user]@127.0.0.1:[local_port];transport=[transport]>"


def scenario(name, *steps):
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="{name}">\n' + "".join(steps) + "</scenario>\n"


def send(head, body="", retransmit=False):
    text = "\n".join(line for line in head if line)
    ending = "Content-Type: application/sdp\nContent-Length: [len]\n" + body if body else "Content-Length: 0\n"
    again = ' retrans="500"' if retransmit else ""
    return f'<send{again}><![CDATA[\n{text}\n{ending}\n]]></send>\n'


def hear(status, optional=False, challenge=False, holding=()):
    """Waits for a response; every regular expression in `holding` must match it."""
    attributes = f'response="{status}"'
    attributes += ' rrs="true"' if status == 200 else ""       # a second dialog must not inherit the first one's route
    attributes += ' optional="true"' if optional else ""
    attributes += ' auth="true"' if challenge else ""
    return f"<recv {attributes}>{matches(holding)}</recv>\n"


def asked(method):
    return f'<recv request="{method}" rrs="true"/>\n'


def matches(expressions):
    if not expressions:
        return ""
    actions = "".join(f'<ereg regexp="{e}" search_in="msg" check_it="true" assign_to="m{n}"/>'
                      for n, e in enumerate(expressions))
    used = "".join(f'<log message="[$m{n}]"/>' for n in range(len(expressions)))
    return f"<action>{actions}{used}</action>"


def pause(milliseconds):
    return f'<pause milliseconds="{milliseconds}"/>\n'


# --- requests -------------------------------------------------------------------------------------------------------

def request(method, uri, cseq, to="", via=NEW_VIA, more=(), body="", sender="[user]", retransmit=True):
    return send([f"{method} {uri} SIP/2.0", via, f"From: <sip:{sender}@[domain]>;tag=[pid]f[call_number]",
                 to or "To: <sip:[peer]@[domain]>", "Call-ID: [call_id]", f"CSeq: {cseq} {method}", "Max-Forwards: 70",
                 "User-Agent: SIPp", *more], body, retransmit)


def register(cseq, expires=600, contact=CONTACT, authorization=True):
    return request("REGISTER", "sip:[domain]", cseq, to="To: <sip:[user]@[domain]>",
                   more=[contact, f"Expires: {expires}", "[authentication]" if authorization else ""])


def registered(expires=600, first=1):
    """REGISTER, 401, REGISTER with credentials, 200."""
    return (register(first, expires, authorization=False) + hear(401, challenge=True)
            + register(first + 1, expires) + hear(200, holding=["Contact:"] if expires else []))


def unregister_all():
    """Removes every binding of the user (RFC 3261 §10.2.2)."""
    return (register(1, 0, "Contact: *", authorization=False) + hear(401, challenge=True) + register(2, 0, "Contact: *")
            + hear(200))


def invite(cseq, peer="[peer]", sender="[user]", authorization=True):
    return request("INVITE", f"sip:{peer}@[domain]", cseq, to=f"To: <sip:{peer}@[domain]>", sender=sender, body=SDP,
                   more=[CONTACT, "[authentication]" if authorization else ""])


def challenged(peer="[peer]", sender="[user]", first=1):
    """INVITE, 407, ACK, INVITE with credentials."""
    return (invite(first, peer, sender, authorization=False) + hear(100, optional=True) + hear(407, challenge=True)
            + refused(first, peer, sender) + invite(first + 1, peer, sender) + hear(100, optional=True))


def refused(cseq, peer="[peer]", sender="[user]"):
    """ACK for a final response that is not 2xx."""
    return request("ACK", f"sip:{peer}@[domain]", cseq, to="[last_To:]", via="[last_Via:]", sender=sender, retransmit=False)


def acknowledged(cseq):
    """ACK for a 2xx: a transaction of its own, along the recorded route."""
    return request("ACK", "[next_url]", cseq, to="[last_To:]", more=["[routes]"], retransmit=False)


def bye(cseq):
    return request("BYE", "[next_url]", cseq, to="[last_To:]", more=["[routes]"])


# --- what a called phone says ---------------------------------------------------------------------------------------

def reply(line, contact="", body="", retransmit=False):
    return send([f"SIP/2.0 {line}", "[last_Via:]", "[last_Record-Route:]", "[last_From:]",
                 "[last_To:];tag=[pid]t[call_number]", "[last_Call-ID:]", "[last_CSeq:]", contact], body, retransmit)


def ok():
    """200 to a request inside the dialog, whose To carries our tag already."""
    return send(["SIP/2.0 200 OK", "[last_Via:]", "[last_From:]", "[last_To:]", "[last_Call-ID:]", "[last_CSeq:]"])


def ringing(keep=""):
    return f'<recv request="INVITE" rrs="true">{keep}</recv>\n' + reply("180 Ringing", CONTACT)


def refusing(line, contact="", after=0):
    return ringing() + (pause(after) if after else "") + reply(line, contact, retransmit=True) + asked("ACK")


def answering(after):
    return (ringing() + pause(after) + reply("200 OK", CONTACT, SDP, retransmit=True) + asked("ACK") + asked("BYE") + ok())


def cancelled():
    """180, then CANCEL: 200 to that and 487 to the INVITE, whose Via lines were kept for it (a CANCEL has only one)."""
    keep = ('<action><ereg regexp="Via:[^[:cntrl:]]*([[:cntrl:]]+Via:[^[:cntrl:]]*)*" search_in="msg" assign_to="1,2"/>'
            '<ereg regexp="CSeq:[^[:cntrl:]]*" search_in="msg" assign_to="3"/><log message="[$2]"/></action>')
    return (ringing(keep) + asked("CANCEL") + ok()
            + send(["SIP/2.0 487 Request Terminated", "[$1]", "[last_From:]", "[last_To:];tag=[pid]t[call_number]",
                    "[last_Call-ID:]", "[$3]"], retransmit=True) + asked("ACK"))


CALLED = {
    "answers": answering(100),
    "answers late": answering(600),
    "is cancelled": cancelled(),
    "is busy": refusing("486 Busy Here"),
    "gives up": refusing("480 Temporarily Unavailable", after=1500),
    "redirects": refusing("302 Moved Temporarily", "Contact: <sip:carol@[domain]>"),
    "is silent": asked("INVITE") + pause(60000),
}

# --- what the calling phone sees ------------------------------------------------------------------------------------


def talk(first, peer="[peer]", phones=1):
    """From a challenged INVITE to the hang-up."""
    return (challenged(peer, first=first) + hear(180) + hear(180, optional=True) * (phones - 1) + hear(200) + acknowledged(first + 1) + pause(200)
            + bye(first + 2) + hear(200))


def fails(status, ring=True):
    return challenged() + (hear(180) if ring else "") + hear(status) + refused(2)


def subscribe(cseq, package, uri="sip:[peer]@[domain]", to="", expires=600, authorization=True):
    return request("SUBSCRIBE", uri, cseq, to=to, more=[CONTACT, f"Event: {package}", f"Expires: {expires}",
                                                        "[authentication]" if authorization else ""])


def told(*expressions):
    """A NOTIFY that holds all of these, and its 200."""
    return f'<recv request="NOTIFY" rrs="true">{matches(expressions)}</recv>\n' + ok()


def watched():
    """SUBSCRIBE to where one's own phones are; a registration is refreshed; the subscription is ended (RFC 3680)."""
    keep = '<action><ereg regexp="tag=[^;[:cntrl:]]*" search_in="hdr" header="To:" check_it="true" assign_to="9"/></action>'
    theirs = "To: <sip:[peer]@[domain]>;[$9]"
    return (registered() + subscribe(3, "reg", authorization=False) + hear(407, challenge=True) + subscribe(4, "reg")
            + f'<recv response="200" rrs="true">{keep}</recv>\n'
            + told("Subscription-State: *active", "state=.full.", "<uri>sip:[^[:cntrl:]]*</uri>")
            + registered(700, first=5) + told("Subscription-State: *active", "event=.refreshed.")
            + subscribe(7, "reg", "[next_url]", theirs, 0, authorization=False) + hear(407, challenge=True)
            + subscribe(8, "reg", "[next_url]", theirs, 0) + hear(200) + told("Subscription-State: *terminated"))


CALLING = {
    "register": registered(),
    "wrong password": register(1, authorization=False) + hear(401, challenge=True) + register(2) + hear(401),
    "re-register": registered() + register(3, 700) + hear(200, holding=["Contact:[^[:cntrl:]]*;expires=700"])
                   + register(4, 0) + hear(200),
    "too brief": register(1, 1, authorization=False) + hear(401, challenge=True) + register(2, 1)
                 + hear(423, holding=["Min-Expires: *2"]),
    "expiry": registered(2) + pause(3500),
    "watches": watched(),
    "call": talk(1),
    "cancel": challenged() + hear(180) + pause(300)
              + request("CANCEL", "sip:[peer]@[domain]", 2, via="[last_Via:]") + hear(200) + hear(487) + refused(2),
    "busy": fails(486),
    "no answer": fails(480),
    "silent": fails(408, ring=False),
    "unreachable": fails(480, ring=False),
    "redirect": challenged() + hear(180) + hear(302, holding=["Contact:[^[:cntrl:]]*sip:carol@"]) + refused(2),
    "forked": talk(1, phones=2),
    "another's name": challenged(sender="mallory") + hear(403) + refused(2, sender="mallory"),
}
