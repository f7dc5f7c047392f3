"""The smallest HTTP/2 client that can hold a hundred calls open on a connection. Standard library only."""

import socket
import ssl
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
ACK, END_STREAM, END_HEADERS = 0x1, 0x1, 0x4
STREAMS = 100
# RFC 7541, appendix B: digits.
DIGITS = {str(d): (d, 5) if d < 3 else (0x19 + d - 3, 6) for d in range(10)}
# RFC 7541, appendix A: statuses with an index of their own.
INDEXED = {0x88: 200, 0x89: 204, 0x8a: 206, 0x8b: 304, 0x8c: 400, 0x8d: 404, 0x8e: 500}


def huffman(digits):
    bits = "".join(format(code, f"0{n}b") for code, n in (DIGITS[d] for d in digits))
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


# How a status without an index may stand in a header block: as it is, or Huffman-coded.
SPELT = {}
for _status in range(100, 600):
    _text = str(_status)
    SPELT[bytes([len(_text)]) + _text.encode()] = _status
    _coded = huffman(_text)
    SPELT[bytes([0x80 | len(_coded)]) + _coded] = _status


def status_of(block):
    """The status is the first field; a change of the table's size may stand before it."""
    at = 0
    while block[at] & 0xe0 == 0x20:
        at += 1
    if block[at] in INDEXED:
        return INDEXED[block[at]]
    return next((SPELT[block[at + 1:at + 1 + n]] for n in (3, 4) if block[at + 1:at + 1 + n] in SPELT), 0)


def literal(value):
    assert len(value) < 127
    return bytes([len(value)]) + value.encode()


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


class Connection:
    """GETs `path` again and again, up to a hundred at a time."""

    def __init__(self, address, context, path, token):
        host, port = address.rsplit(":", 1)
        context.set_alpn_protocols(["h2"])
        self.tcp = context.wrap_socket(socket.create_connection((host, int(port)), 30), server_hostname=host)
        if self.tcp.selected_alpn_protocol() != "h2":
            raise OSError("no HTTP/2")
        # No table of headers; a window that no answer fills.
        self.tcp.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HIHI", 1, 0, 4, 0x7fffffff)))
        self.head = b"\x82\x87\x04" + literal(path) + b"\x01" + literal(address) + b"\x0f\x08" + literal("Bearer " + token)
        self.open = {}
        self.next = 1
        self.closed = False

    def ask(self, calls):
        """Begins as many calls as there is room for, and answers how many."""
        begun = min(calls, STREAMS - len(self.open))
        out = b""
        for _ in range(begun):
            out += frame(HEADERS, END_HEADERS | END_STREAM, self.next, self.head)
            self.open[self.next] = 0
            self.next += 2
        if out:
            self.tcp.sendall(out)
        return begun

    def receive(self, wait):
        """The statuses of the calls that ended within `wait` seconds; 0 for one without an answer."""
        done = []
        self.tcp.settimeout(wait)
        try:
            while True:
                head = self._exactly(9)
                length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
                stream = int.from_bytes(head[5:], "big") & 0x7fffffff
                # What has begun to arrive will arrive.
                self.tcp.settimeout(30)
                self._frame(kind, flags, stream, self._exactly(length), done)
                self.tcp.settimeout(wait)
        except (TimeoutError, ssl.SSLWantReadError):
            pass
        except (OSError, EOFError):
            self.closed = True
            done += list(self.open.values())
            self.open = {}
        return done

    def _frame(self, kind, flags, stream, payload, done):
        if kind == HEADERS:
            self.open[stream] = status_of(payload)
        if kind == SETTINGS and not flags & ACK:
            self.tcp.sendall(frame(SETTINGS, ACK, 0))
        if kind == PING and not flags & ACK:
            self.tcp.sendall(frame(PING, ACK, 0, payload))
        if kind == GOAWAY:
            self.closed = True
        if stream in self.open and (kind == RST_STREAM or kind in (DATA, HEADERS) and flags & END_STREAM):
            done.append(self.open.pop(stream))

    def _exactly(self, n):
        got = b""
        while len(got) < n:
            part = self.tcp.recv(n - len(got))
            if not part:
                raise EOFError
            got += part
        return got

    def close(self):
        self.tcp.close()
