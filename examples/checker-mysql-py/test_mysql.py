"""Tests that need no server: python3 -m unittest, in this folder."""

import socket
import struct
import threading
import time
import unittest

import mysql
import poise_plugin
import poise_schedule
from poise.check.v1 import check_pb2

U, D, N = poise_schedule.STATE_UP, poise_schedule.STATE_DOWN, poise_schedule.STATE_UNKNOWN


def check(retries, known=poise_schedule.NONE):
    wire = check_pb2.Check(id="a", known=known)
    wire.schedule.interval.FromSeconds(1)
    wire.schedule.timeout.FromSeconds(1)
    wire.schedule.retries = retries
    return poise_schedule.Check(wire, None)


class Verdicts(unittest.TestCase):
    def test_rules(self):
        none = poise_schedule.NONE
        cases = [
            ("first failure decides", 2, none, [(D, D, False)]),
            ("retries with a verdict", 2, U, [(D, none, True), (D, none, True), (D, D, False), (D, none, False)]),
            ("success ends the row", 1, U, [(D, none, True), (U, U, False), (D, none, True), (D, D, False)]),
            ("one success is up", 3, D, [(U, U, False), (U, none, False)]),
            ("known down is not retried", 3, D, [(D, D, False), (D, none, False)]),
            ("unknown after retries", 1, U, [(N, none, True), (N, N, False), (N, none, False), (U, U, False)]),
        ]
        for name, retries, known, steps in cases:
            c = check(retries, known)
            for i, (found, tell, retry) in enumerate(steps):
                r = poise_plugin.Result(found, "test")
                with self.subTest(name, step=i):
                    self.assertEqual(c.fold(r), (tell, retry))
                if tell != none:
                    c.told = check_pb2.Verdict(state=tell)

    def test_weight_is_told_again(self):
        c = check(0)
        c.told = check_pb2.Verdict(state=U, weight=1)
        self.assertEqual(c.fold(poise_plugin.Result(U, weight=2)), (U, False))


def body(payload, count=0):
    return struct.pack("<I", len(payload))[:3] + bytes([count]) + payload


GREETING = b"\x0a10.11-test\0" + b"\1\0\0\0" + b"saltsalt" + b"\0" + bytes(18) + b"moresaltmore\0"


class Server:
    """Says one thing to everybody."""

    def __init__(self, *answers):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, args=answers, daemon=True).start()

    def serve(self, *answers):
        while True:
            c, _ = self.listener.accept()
            with c:
                for i, a in enumerate(answers):
                    if i:
                        c.recv(4096)
                    c.sendall(a)


class Probe(unittest.TestCase):
    def probe(self, parameters, *answers):
        wire = check_pb2.Target(address="127.0.0.1", port=Server(*answers).port)
        told = []
        run = mysql.parse(parameters)
        return poise_schedule.safely(run, poise_plugin.Target(wire, told.append), 2.0), told

    def test_answers(self):
        ok = b"\0\0\0\2\0\0\0"
        user = {"user": "poise"}
        for name, parameters, answers, state, reason in [
            ("greeting", {}, [body(GREETING)], U, ""),
            ("login and ping", user, [body(GREETING), body(ok, 2), body(ok, 1)], U, ""),
            ("switched", user, [body(GREETING), body(b"\xfemysql_native_password\0" + b"x" * 20 + b"\0", 2), body(ok, 4), body(ok, 1)], U, ""),
            ("other login", user, [body(GREETING), body(b"\xfecaching_sha2_password\0" + b"x" * 20, 2)], D, "caching_sha2"),
            ("too many connections", {}, [body(b"\xff\x10\x04Too many connections")], D, "error 1040: Too many"),
            ("other protocol", {}, [body(b"\x09x\0")], D, "protocol 9"),
            ("short greeting", {}, [body(b"\x0ax\0")], D, "too short"),
            ("no MySQL", {}, [b"220 hello and more\r\n"], D, "is not MySQL's"),
            ("hangs up", {}, [], D, "closed"),
        ]:
            with self.subTest(name):
                r, _ = self.probe(parameters, *answers)
                self.assertEqual(r.state, state, r.reason)
                self.assertIn(reason, r.reason)

    def test_silence(self):
        begun = time.monotonic()
        listener = socket.create_server(("127.0.0.1", 0))
        wire = check_pb2.Target(address="127.0.0.1", port=listener.getsockname()[1])
        r = poise_schedule.safely(mysql.parse({}), poise_plugin.Target(wire), 0.2)
        self.assertEqual((r.state, r.reason), (D, "timeout after 0.2s"))
        self.assertLess(time.monotonic() - begun, 2)

    def test_password_file(self):
        r, told = self.probe({"user": "poise", "password_file": "/nowhere"}, body(GREETING))
        self.assertEqual(r.state, N)
        self.assertIn("read the password", r.reason)

    def test_parse(self):
        for parameters, path in [({"colour": "red"}, "/colour"), ({"user": 1}, "/user"), ({"password_file": "/x"}, "/password_file"), ({"user": "a", "password_file": "x"}, "/password_file")]:
            with self.assertRaises(poise_plugin.Refused) as e:
                mysql.parse(parameters)
            self.assertEqual(e.exception.path, path)


if __name__ == "__main__":
    unittest.main()
