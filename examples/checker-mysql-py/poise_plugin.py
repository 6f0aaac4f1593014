"""A poise checker in Python: the part that is the same for every one.

A checker is a function that probes a target once. This module does the rest of
poise.check.v1, as the sdk does for Go: handshake, settings, schedule, retries, verdicts,
beats, and a clean end. It is the reference for other languages: docs/plugins.md has it
step by step.

    def parse(parameters):              # a dict; once for each check
        options = poise_plugin.options(parameters, {"prefix": "220"})
        return lambda target, timeout: poise_plugin.UP

    poise_plugin.serve("greeting", "1.0.0", {"greeting": parse})

Needs python3-grpcio and python3-protobuf. It cannot do go-plugin's AutoMTLS: the plugin is
configured with `tls: false`.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from concurrent import futures

import grpc

from poise.check.v1 import check_pb2 as _V
from poise.plugin.v1 import plugin_pb2
from poise_schedule import UP, LocalError, Refused, Result, Scheduler, Target, decode, down, left, options, safely, unknown

__all__ = ["UP", "LocalError", "Refused", "Result", "Target", "down", "left", "options", "serve", "unknown"]

# proto/handshake: what the daemon and a plugin agree on before the first call.
COOKIE = ("POISE_PLUGIN", "7f1c2d0e-poise-plugin-v1")
MAX_MESSAGE = 64 << 20
# A checker whose stream broke goes on for this long, for a daemon that opens another.
ORPHAN_GRACE = 10.0
log = logging.getLogger("poise")


class Services:
    """poise.plugin.v1.PluginService and poise.check.v1.CheckService."""

    def __init__(self, name, version, checkers):
        self.name, self.version, self.checkers = name, version, checkers
        self.scheduler = Scheduler(self.parse)
        self.lock = threading.Lock()
        self.stream, self.opened, self.broken = None, False, 0.0

    def parse(self, kind, parameters_json):
        if kind not in self.checkers:
            raise Refused(f"no checks of type {kind!r} here; there are {', '.join(sorted(self.checkers))}")
        return self.checkers[kind](decode(parameters_json))

    def describe(self, request, context):
        kinds = [plugin_pb2.Kind(interface=plugin_pb2.INTERFACE_CHECK, type=t) for t in sorted(self.checkers)]
        return plugin_pb2.DescribeResponse(name=self.name, version=self.version, kinds=kinds)

    def validate(self, request, context):
        out = plugin_pb2.ValidateResponse()
        for i, item in enumerate(request.items):
            try:
                if item.interface != plugin_pb2.INTERFACE_CHECK:
                    raise Refused("this plugin has checks only")
                self.parse(item.type, item.parameters_json)
            except Refused as e:
                out.problems.add(item=i, path=e.path, message=str(e), severity=plugin_pb2.SEVERITY_ERROR)
        return out

    def configure(self, request, context):
        beat = request.beat_interval.ToNanoseconds() / 1e9
        try:
            options(decode(request.parameters_json), {})
            if beat < 0.001:
                raise Refused("the beat interval is less than 1ms")
        except Refused as e:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(e))
        self.scheduler.set_beat(beat)
        return plugin_pb2.ConfigureResponse()

    def stop(self, request, context):
        if request.mode not in (plugin_pb2.STOP_MODE_LEAVE, plugin_pb2.STOP_MODE_WITHDRAW):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a stop needs a mode: leave or withdraw")
        self.scheduler.stop()
        return plugin_pb2.StopResponse()

    def probe(self, request, context):
        transcript, begun = [], time.monotonic()
        try:
            probe = self.parse(request.type, request.parameters_json)
            target = Target(request.target, lambda line: transcript.append(f"{time.monotonic() - begun:.6f}s {line}"))
            timeout = request.timeout.ToNanoseconds() / 1e9
            if timeout <= 0:
                raise Refused("the timeout is not more than 0")
        except Refused as e:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(e))
        r = safely(probe, target, timeout)
        out = _V.ProbeResponse(state=r.state, reason=r.reason, transcript=transcript, weight=r.weight, weight_mode=r.weight_mode, admin=r.admin)
        out.duration.FromNanoseconds(int((time.monotonic() - begun) * 1e9))
        return out

    def run(self, requests, context):
        """The stream. A new one takes the place of one that is open."""
        mine = object()
        with self.lock:
            self.stream, self.opened, self.broken = mine, True, 0.0
        alive = lambda: self.stream is mine and context.is_active()  # noqa: E731
        self.scheduler.attach()

        def receive():
            try:
                for request in requests:
                    if not alive():
                        return
                    if request.HasField("set_checks"):
                        self.scheduler.set(request.set_checks)
            except grpc.RpcError:
                pass  # the stream broke, which alive tells

        threading.Thread(target=receive, daemon=True).start()
        try:
            # gRPC takes the next message when the one before is on its way: while nobody
            # reads, what is new waits in the outbox, of each check the newest.
            while alive():
                yield from self.scheduler.outbox(alive)
        finally:
            with self.lock:
                if self.stream is mine:
                    self.broken = time.monotonic()

    def lost(self):
        """Whether the stream has been broken for too long."""
        with self.lock:
            return self.opened and self.broken and time.monotonic() - self.broken > ORPHAN_GRACE


def handlers(services, end):
    """The services with their methods, without code that grpc_tools would generate."""

    def unary(f, kind):
        return grpc.unary_unary_rpc_method_handler(f, kind.FromString, lambda m: m.SerializeToString())

    def shutdown(request, context):
        end.set()
        return b""

    def stdio(request, context):
        end.wait()  # nothing is written there; the stream lives as long as we do
        yield from ()

    p = plugin_pb2
    return [
        grpc.method_handlers_generic_handler("poise.plugin.v1.PluginService", {
            "Describe": unary(services.describe, p.DescribeRequest),
            "Validate": unary(services.validate, p.ValidateRequest),
            "Configure": unary(services.configure, p.ConfigureRequest),
            "Stop": unary(services.stop, p.StopRequest),
        }),
        grpc.method_handlers_generic_handler("poise.check.v1.CheckService", {
            "Probe": unary(services.probe, _V.ProbeRequest),
            "Run": grpc.stream_stream_rpc_method_handler(services.run, _V.RunRequest.FromString, lambda m: m.SerializeToString()),
        }),
        # go-plugin's own. Their messages are empty, or of no interest: bytes will do.
        grpc.method_handlers_generic_handler("plugin.GRPCController", {"Shutdown": grpc.unary_unary_rpc_method_handler(shutdown)}),
        grpc.method_handlers_generic_handler("plugin.GRPCStdio", {"StreamStdio": grpc.unary_stream_rpc_method_handler(stdio)}),
        # HealthCheckResponse{status: SERVING}
        grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(lambda r, c: b"\x08\x01")}),
    ]


class JSONLines(logging.Formatter):
    """Lines that the daemon's log takes apart: hclog's JSON."""

    LEVELS = {"WARNING": "warn", "CRITICAL": "error"}

    def format(self, record):
        line = {"@level": self.LEVELS.get(record.levelname, record.levelname.lower()), "@message": record.getMessage(), "@module": record.name}
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)
        return json.dumps(line)


def serve(name, version, checkers):
    """Serves checkers, a map of types to parse functions, until the daemon ends it or is
    gone. parse gets the parameters as a dict and gives a function of target and timeout
    (seconds) that makes one probe and returns a Result."""
    if os.environ.get(COOKIE[0]) != COOKIE[1]:
        sys.exit("this is a poise plugin: poised starts it; `poise plugin test` tries it")
    parent = os.getppid()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # What hits the whole service does not end us: we end by the daemon's word, or after it.
    for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(s, lambda *_: None)
    end = threading.Event()
    services = Services(name, version, checkers)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=96), options=[
        ("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE),
    ])
    server.add_generic_rpc_handlers(handlers(services, end))
    path = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], f"plugin{os.getpid()}")
    server.add_insecure_port("unix:" + path)
    server.start()
    # The one line that go-plugin reads: its version, ours, network, address, protocol.
    print(f"1|1|unix|{path}|grpc", flush=True)
    while not end.wait(0.5) and os.getppid() == parent and not services.lost():
        pass
    server.stop(0.2).wait()
    os._exit(0)  # without waiting for probes that hang
