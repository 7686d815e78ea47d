"""SIPp as a load: calls and registrations at a rate, for benches/sip-load. Times come in SIPp's steps of 4 ms."""

import csv
import glob
import os
import time

from peers import processes

from . import scenarios as s

CALL = (s.invite(1, authorization=False).replace("<send ", '<send start_rtd="1" ', 1) + s.hear(100, optional=True)
        + s.hear(180, optional=True) + s.hear(200).replace("<recv ", '<recv rtd="1" ', 1) + s.acknowledged(1) + s.bye(2)
        + s.hear(200))
REGISTER = (s.register(1, 3600, authorization=False).replace("<send ", '<send start_rtd="1" ', 1)
            + s.hear(200).replace("<recv ", '<recv rtd="1" ', 1))
DIGEST = (s.register(1, 3600, authorization=False).replace("<send ", '<send start_rtd="1" ', 1)
          + s.hear(401, challenge=True) + s.register(2, 3600) + s.hear(200).replace("<recv ", '<recv rtd="1" ', 1))
CALLED = s.answering(0).replace('<pause milliseconds="0"/>\n', "")


def start(node, transport, user, password, core, steps, more, called=""):
    folder = os.path.join(node.folder, f"load-{user}")
    os.makedirs(folder)
    files = {}
    for name, text in (("main", steps), ("called", called)):
        files[name] = os.path.join(folder, f"{name}.xml")
        with open(files[name], "w") as out:
            out.write(s.scenario(name, text))
    arguments = ["sipp", f"127.0.0.1:{node.sip}", "-i", "127.0.0.1", "-p", str(processes.free_port()), "-nostdin",
                 "-t", {"udp": "u1", "tcp": "t1"}[transport], "-sf", files["main"], "-key", "user", user, "-key", "peer",
                 "service", "-key", "domain", node.domain, "-au", user, "-ap", password, "-auth_uri", node.domain, "-l", "8000",
                 "-trace_err", "-error_file", f"{folder}/errors", *more]
    arguments += ["-oocsf", files["called"]] if called else []
    process = processes.start(arguments, f"{folder}/screen", cwd=folder, **processes.pinned(core))
    process.folder = folder
    return process


def run(node, doing, transport, rate, seconds, core, cpu_us):
    """One load; counts, delays in microseconds and the server's CPU for each operation that succeeded."""
    steps = {"call": CALL, "register": REGISTER, "digest": DIGEST}[doing]
    if doing == "register":                             # every registration is a new user's
        steps = steps.replace("sip:[user]@", "sip:[user][call_number]@")
    user = "load0" if doing == "digest" else "caller"
    password = node.add_user(user) if doing == "digest" else "none"
    time.sleep(1)                                       # Kamailio listens before it has started its workers
    service = None
    if doing == "call":
        node.add_user("service")                        # who is called must exist
        service = start(node, transport, "service", "none", core,
                        s.register(1, authorization=False) + s.hear(200) + s.pause(600_000), ["-m", "1"], CALLED)
        time.sleep(1)
    before, began = cpu_us(), time.monotonic()
    load = start(node, transport, user, password, core, steps,
                 ["-m", str(rate * seconds), "-r", str(rate), "-trace_stat", "-fd", "1", "-stf", "stat.csv", "-trace_rtt",
                  "-rtt_freq", "2000", "-timeout", str(seconds + 30)])
    try:
        load.wait(seconds + 60)
        used = cpu_us() - before
    finally:
        for process in filter(None, (load, service)):
            processes.stop(process)
    with open(os.path.join(load.folder, "stat.csv")) as stat:
        last = list(csv.DictReader(stat, delimiter=";"))[-1]
    ok, failed = int(last["SuccessfulCall(C)"]), int(last["FailedCall(C)"])
    delays = []
    for path in glob.glob(os.path.join(load.folder, "*_rtt.csv")):
        with open(path) as rtt:
            delays += [1000 * float(line.split(";")[1]) for line in rtt if line[:1].isdigit()]
    delays.sort()
    part = (lambda share: delays[int(len(delays) * share)]) if delays else lambda share: 0.0
    return {"ok": ok, "failed": rate * seconds - ok, "seconds": time.monotonic() - began, "p50_us": part(0.5),
            "p99_us": part(0.99), "cpu_us": used / max(ok, 1), "unexpected": failed}
