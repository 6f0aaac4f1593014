#!/usr/bin/python3
"""A poise plugin: a real server is up when its MySQL or MariaDB is.

Without a user the server's greeting is enough. Servers block a host that never logs in
after max_connect_errors such connections, so a user without privileges is the better way:

    CREATE USER poise@'192.0.2.%' IDENTIFIED BY '...';

Parameters: user, password_file (its first line; read with each probe).
"""

import hashlib
import struct
import time

import poise_plugin

PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH = 0x0200, 0x8000, 0x80000
OK, ERROR, SWITCH = 0x00, 0xFF, 0xFE
COM_QUIT, COM_PING = b"\x01", b"\x0e"
NATIVE = "mysql_native_password"


class Wrong(Exception):
    """The server answers what it should not."""


class Connection:
    """Packets: three bytes of length, one that counts, the body."""

    def __init__(self, sock, deadline):
        self.sock, self.deadline, self.count = sock, deadline, 0

    def exactly(self, n):
        data = b""
        while len(data) < n:
            self.sock.settimeout(poise_plugin.left(self.deadline))
            more = self.sock.recv(n - len(data))
            if not more:
                raise Wrong("it closed the connection")
            data += more
        return data

    def read(self):
        head = self.exactly(4)
        length, self.count = head[0] | head[1] << 8 | head[2] << 16, head[3]
        if not 0 < length <= 4096:
            raise Wrong(f"a packet of {length} bytes is not MySQL's")
        body = self.exactly(length)
        if body[0] == ERROR:
            code, text = struct.unpack_from("<H", body, 1)[0] if length >= 3 else 0, body[3:]
            raise Wrong(f"error {code}: {text[:200].decode('utf-8', 'replace')}")
        return body

    def write(self, body, count=None):
        self.count = self.count + 1 if count is None else count
        self.sock.settimeout(poise_plugin.left(self.deadline))
        self.sock.sendall(struct.pack("<I", len(body))[:3] + bytes([self.count % 256]) + body)


def scramble(password, salt):
    """mysql_native_password: SHA1(password) XOR SHA1(salt + SHA1(SHA1(password)))."""
    if not password:
        return b""
    once = hashlib.sha1(password).digest()
    mask = hashlib.sha1(salt + hashlib.sha1(once).digest()).digest()
    return bytes(a ^ b for a, b in zip(once, mask))


def greeting(body):
    """The server's version and salt (protocol 10)."""
    if body[0] != 10:
        raise Wrong(f"it greets with protocol {body[0]}, not 10")
    version, _, rest = body[1:].partition(b"\0")
    if len(rest) < 4 + 8 + 1 + 18:
        raise Wrong("its greeting is too short")
    return version.decode("ascii", "replace"), rest[4:12] + rest[31:].partition(b"\0")[0][:12]


def login(conn, salt, user, password):
    flags = PROTOCOL_41 | SECURE_CONNECTION | PLUGIN_AUTH
    answer = scramble(password, salt)
    conn.write(struct.pack("<IIB23x", flags, 4096, 45) + user.encode() + b"\0" + bytes([len(answer)]) + answer + NATIVE.encode() + b"\0")
    body = conn.read()
    if body[0] == SWITCH:
        plugin, _, data = body[1:].partition(b"\0")
        if plugin.decode("ascii", "replace") != NATIVE:
            raise Wrong(f"user {user} has to log in by {plugin.decode('ascii', 'replace')}: make it one with {NATIVE}")
        conn.write(scramble(password, data.rstrip(b"\0")))
        body = conn.read()
    if body[0] != OK:
        raise Wrong(f"it answers the login with a packet of type {body[0]}")


def first_line(path):
    try:
        with open(path, "rb") as f:
            return f.readline(4096).rstrip(b"\r\n")
    except OSError as e:
        raise poise_plugin.LocalError(f"read the password: {path}: {e.strerror}") from e


def parse(parameters):
    options = poise_plugin.options(parameters, {"user": "", "password_file": ""})
    user, password_file = options["user"], options["password_file"]
    if password_file and not user:
        raise poise_plugin.Refused("a password needs a user", "/password_file")
    if password_file and not password_file.startswith("/"):
        raise poise_plugin.Refused("is not an absolute path", "/password_file")

    def probe(target, timeout):
        deadline = time.monotonic() + timeout
        password = first_line(password_file) if password_file else b""
        with target.connect(deadline) as sock:
            conn = Connection(sock, deadline)
            try:
                version, salt = greeting(conn.read())
                target.trace(f"greeted by {version}")
                if user:
                    login(conn, salt, user, password)
                    target.trace(f"logged in as {user}")
                    conn.write(COM_PING, 0)
                    if conn.read()[0] != OK:
                        raise Wrong("it does not answer a ping with OK")
                    target.trace("it answers a ping")
                    conn.write(COM_QUIT, 0)
            except Wrong as e:
                target.trace(str(e))
                return poise_plugin.down(e)
        return poise_plugin.UP

    return probe


if __name__ == "__main__":
    poise_plugin.serve("mysql", "1.0.0", {"mysql": parse})
