"""What a checker says of a target, and the schedule: the reference of the rules that
docs/plugins.md has in words."""

import errno
import heapq
import ipaddress
import json
import logging
import queue
import socket
import threading
import time
import zlib

from poise.check.v1 import check_pb2
from poise.plugin.v1 import plugin_pb2

# A probe that has not returned by its timeout and this is the fault of the checker.
SLACK = 0.05
# Probes that run at once; what is due above it waits.
WORKERS = 64

# Errors of connect and send that are this machine's.
LOCAL = (errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM, errno.EACCES)

log = logging.getLogger("poise")

_V = check_pb2
NONE, STATE_UP = _V.VERDICT_STATE_UNSPECIFIED, _V.VERDICT_STATE_UP
STATE_DOWN, STATE_UNKNOWN = _V.VERDICT_STATE_DOWN, _V.VERDICT_STATE_UNKNOWN


class Result:
    """What one probe found. reason is for people, and required unless up."""

    def __init__(self, state, reason="", weight=0, weight_mode=0, admin=0):
        self.state, self.reason = state, reason
        self.weight, self.weight_mode, self.admin = weight, weight_mode, admin

    def what(self):
        return (self.weight, self.weight_mode, self.admin)


UP = Result(STATE_UP)


def down(reason):
    """What the target does wrong."""
    return Result(STATE_DOWN, str(reason))


def unknown(reason):
    """What kept us from asking the target."""
    return Result(STATE_UNKNOWN, str(reason))


class Refused(Exception):
    """Says what is wrong with parameters, and where, as a JSON pointer."""

    def __init__(self, message, path=""):
        super().__init__(message)
        self.path = path


class LocalError(Exception):
    """A step that failed on this machine: the probe has not been made."""


def options(parameters, defaults):
    """Reads parameters strictly: a key that defaults does not have is refused."""
    out = dict(defaults)
    for key, value in parameters.items():
        if key not in defaults:
            raise Refused(f"there is no parameter {key!r}; there are {', '.join(sorted(defaults)) or 'none'}", "/" + key)
        if type(value) is not type(defaults[key]):
            raise Refused(f"want a {type(defaults[key]).__name__}, got {json.dumps(value)}", "/" + key)
        out[key] = value
    return out


def decode(parameters_json):
    """The parameters as a dict."""
    if not parameters_json.strip():
        return {}
    try:
        out = json.loads(parameters_json)
    except ValueError as e:
        raise Refused(f"not JSON: {e}") from e
    if out is None:
        return {}
    if not isinstance(out, dict):
        raise Refused("want a JSON object")
    return out


# --- a target -----------------------------------------------------------------


class Target:
    """What to probe, and from where. trace takes a line of `poise probe`'s transcript."""

    def __init__(self, wire, trace=lambda line: None):
        self.trace = trace
        try:
            self.address = str(ipaddress.ip_address(wire.address)) if wire.address else ""
            self.source = str(ipaddress.ip_address(wire.source_address)) if wire.source_address else ""
        except ValueError as e:
            raise Refused(str(e)) from e
        if wire.port > 65535 or wire.source_port > 65535:
            raise Refused("a port is more than 65535")
        self.port, self.source_port = wire.port, wire.source_port
        self.interface, self.fwmark = wire.interface, wire.fwmark

    def connect(self, deadline):
        """A TCP connection as the check asks for: source, interface, mark. OSError is the
        target's, LocalError this machine's. deadline is of time.monotonic."""
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        try:
            s = socket.socket(family, socket.SOCK_STREAM)
        except OSError as e:
            raise LocalError(f"socket: {e.strerror}") from e
        try:
            try:
                if self.interface:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.interface.encode())
                if self.fwmark:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self.fwmark)
                if self.source or self.source_port:
                    s.bind((self.source, self.source_port))
            except OSError as e:
                raise LocalError(f"bind to {self.source or self.interface}: {e.strerror}") from e
            s.settimeout(left(deadline))
            s.connect((self.address, self.port))
            self.trace(f"connected to {self.address}, port {self.port}")
            return s
        except BaseException:
            s.close()
            raise


def left(deadline):
    """The time left until a deadline; none left is a timeout."""
    remains = deadline - time.monotonic()
    if remains <= 0:
        raise TimeoutError("timed out")
    return remains


# --- the schedule -------------------------------------------------------------


class Check:
    """One configured check and what is known of it."""

    def __init__(self, wire, probe):
        self.id, self.probe, self.target = wire.id, probe, Target(wire.target)
        s = wire.schedule
        self.interval, self.timeout = s.interval.ToNanoseconds() / 1e9, s.timeout.ToNanoseconds() / 1e9
        self.delay, self.warmup = s.retry_delay.ToNanoseconds() / 1e9, s.warmup.ToNanoseconds() / 1e9
        self.retries = s.retries
        for name, value in (("interval", self.interval), ("timeout", self.timeout)):
            if value <= 0:
                raise Refused(f"the schedule's {name} is not more than 0")
        self.verdict = wire.known if wire.known in (STATE_UP, STATE_DOWN) else NONE
        self.told = None  # the last Verdict that the daemon was told by this process
        self.failures = self.unknowns = 0
        self.running = 0.0  # when the probe that runs must have ended; 0: none runs
        self.regular = self.due = 0.0
        self.removed = False

    def fold(self, r):
        """The rules of verdicts. Gives the state to tell, or NONE; and whether to retry."""
        if r.state == STATE_UP:
            self.failures = self.unknowns = 0
            self.verdict = STATE_UP
        elif r.state == STATE_DOWN:
            self.unknowns = 0
            if self.verdict == STATE_UP and self.failures < self.retries:
                self.failures += 1
                return NONE, True
            self.failures, self.verdict = 0, STATE_DOWN
        elif self.unknowns < self.retries:
            self.unknowns += 1
            return NONE, True
        if self.told is not None and self.told.state == r.state:
            same = (self.told.weight, self.told.weight_mode, self.told.admin) == r.what()
            if same or r.state == STATE_UNKNOWN:
                return NONE, False
        return r.state, False


class Scheduler:
    """Probes checks on their schedule and keeps what the daemon has to be told."""

    def __init__(self, parse):
        self.parse = parse
        self.lock = threading.Condition()
        self.checks, self.heap, self.sequence = {}, [], 0
        self.waiting = queue.SimpleQueue()
        self.generation = self.probes = self.failures = self.overdue = self.progress = 0
        self.lateness = 0.0
        self.beat, self.next_beat = 1.0, 0.0
        # What is to be sent: answers in order, and of each check the newest verdict.
        self.news = threading.Condition(self.lock)
        self.applied, self.unsent, self.beat_due = [], {}, False
        self.stopped = False
        for _ in range(WORKERS):
            threading.Thread(target=self.work, daemon=True).start()
        threading.Thread(target=self.loop, daemon=True).start()

    def loop(self):
        """The one loop: starts what is due, gives up what is late, beats."""
        with self.lock:
            while True:
                self.progress += 1
                now = time.monotonic()
                while self.heap and self.heap[0][0] <= now:
                    at, _, check, kind = heapq.heappop(self.heap)
                    if check.removed:
                        continue
                    if kind == "expire":
                        if check.running == at:
                            self.take(check, unknown(f"the checker hangs: its probe did not return within {check.timeout}s"))
                    elif check.due == at:
                        self.start(check, now)
                if now >= self.next_beat:
                    self.next_beat, self.beat_due = now + self.beat, True
                    self.news.notify_all()
                wake = min(self.next_beat, self.heap[0][0] if self.heap else self.next_beat)
                self.lock.wait(max(0, wake - time.monotonic()))

    def start(self, check, now):
        """Hands a check to the workers; one whose last probe still runs is left out."""
        self.lateness = max(self.lateness, now - check.due)
        if check.regular <= now:
            missed = int((now - check.regular) / check.interval)
            self.overdue += missed
            check.regular += (missed + 1) * check.interval
        self.plan(check, check.regular)
        if check.running:
            self.overdue += 1
            return
        check.running = float("inf")  # until a worker takes it
        self.waiting.put(check)

    def plan(self, check, at):
        check.due = at
        self.push(at, check, "start")

    def push(self, at, check, kind):
        self.sequence += 1
        heapq.heappush(self.heap, (at, self.sequence, check, kind))

    def work(self):
        while True:
            check = self.waiting.get()
            with self.lock:
                if check.removed:
                    continue
                check.running = mine = time.monotonic() + check.timeout + SLACK
                self.push(mine, check, "expire")
                self.lock.notify_all()
            result = safely(check.probe, check.target, check.timeout)
            with self.lock:
                # A probe that was given up has been taken already.
                if not check.removed and check.running == mine:
                    self.take(check, result)
                check.running = 0.0

    def take(self, check, r):
        """Folds a result into the verdict. A probe that is given up stays running: its check
        is not probed again before it returns."""
        self.probes += 1
        self.failures += r.state != STATE_UP
        check.running = -1.0
        state, retry = check.fold(r)
        if retry:
            self.plan(check, time.monotonic() + check.delay)
            self.lock.notify_all()
        if state != NONE:
            v = _V.Verdict(check_id=check.id, state=state, reason=r.reason, weight=r.weight, weight_mode=r.weight_mode, admin=r.admin)
            v.decided_at.GetCurrentTime()
            check.told = v
            self.unsent[check.id] = v
            self.news.notify_all()

    def set(self, message):
        """Carries out a SetChecks: same id, same check, undisturbed."""
        with self.lock:
            if message.generation < self.generation or self.stopped:
                self.applied.append(_V.Applied(generation=self.generation))
                self.news.notify_all()
                return
            self.generation = message.generation
            answer = _V.Applied(generation=message.generation)
            wanted, now = {}, time.monotonic()
            for wire in message.checks:
                check = self.checks.get(wire.id)
                if check is None:
                    try:
                        if not wire.id or wire.id in wanted:
                            raise Refused("the id is empty or used twice in the set")
                        check = Check(wire, self.parse(wire.type, wire.parameters_json))
                        # Spread over the warm-up by the id: the same for the same check.
                        spread = zlib.crc32(wire.id.encode()) % 10000 / 10000
                        check.regular = now + spread * check.warmup
                        self.plan(check, check.regular)
                    except Refused as e:
                        answer.rejected.add(check_id=wire.id, path=e.path, message=str(e))
                        continue
                wanted[wire.id] = check
            for id, check in self.checks.items():
                if id not in wanted:
                    check.removed = True
                    self.unsent.pop(id, None)
            self.checks = wanted
            self.applied.append(answer)
            self.lock.notify_all()

    def attach(self):
        """A new stream: every verdict is told again, without a probe."""
        with self.lock:
            self.applied = []
            self.unsent = {c.id: c.told for c in self.checks.values() if c.told is not None}
            self.next_beat = 0.0
            self.lock.notify_all()

    def set_beat(self, seconds):
        with self.lock:
            self.beat, self.next_beat = seconds, 0.0
            self.lock.notify_all()

    def stop(self):
        """Ends all checks, and returns when no probe runs."""
        with self.lock:
            self.stopped = True
            for check in self.checks.values():
                check.removed = True
            running = list(self.checks.values())
            self.checks = {}
        while any(0 < c.running < float("inf") for c in running):
            time.sleep(0.01)

    def outbox(self, alive):
        """Waits for what is to be sent, and takes it."""
        with self.lock:
            while alive() and not (self.applied or self.unsent or self.beat_due):
                self.news.wait(1.0)
            if not alive():
                return []  # what there is to tell is the new stream's
            applied, verdicts = self.applied, list(self.unsent.values())
            beat = None
            if self.beat_due:
                beat = _V.Beat(beat=plugin_pb2.Beat(progress=self.progress), probes=self.probes, failures=self.failures, overdue=self.overdue)
                beat.lateness.FromNanoseconds(int(self.lateness * 1e9))
                self.lateness = 0.0
            self.applied, self.unsent, self.beat_due = [], {}, False
        out = [_V.RunResponse(applied=a) for a in applied]
        if verdicts:
            out.append(_V.RunResponse(verdicts=_V.Verdicts(verdicts=verdicts)))
        if beat is not None:
            out.append(_V.RunResponse(beat=beat))
        return out


def safely(probe, target, timeout):
    """Runs a probe; whatever it raises is a result."""
    try:
        return probe(target, timeout)
    except LocalError as e:
        return unknown(e)
    except TimeoutError:
        return down(f"timeout after {timeout:g}s")
    except OSError as e:
        return (unknown if e.errno in LOCAL else down)(e.strerror or str(e) or type(e).__name__)
    except Exception as e:
        log.exception("the checker failed")
        return unknown(f"the checker failed: {type(e).__name__}: {e}")
