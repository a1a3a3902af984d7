#!/usr/bin/env python3
"""A source in Python, as a process: lines of an identifier, a tab and a text.

Protocol 1 of clinmill's process plugins: a message is one line of JSON, whose key "bytes" says how many bytes follow.
Options: {"issuer": "MRN"}, and maybe {"part": 1000000}. Needs pyarrow.
"""

import json
import sys

import pyarrow as pa

stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
# The number of the message that was read last: every reply repeats it.
asked = None

BLOCK = 1 << 20

DESCRIPTION = {
    "protocol": 1,
    "kind": "source",
    "name": "lines",
    "version": "1.0.0",
    "summary": "Reads lines of an identifier, a tab and a text",
    "capabilities": ["splits", "rejects", "deterministic"],
    "schema": {
        "type": "object",
        "additionalProperties": False,
        "required": ["issuer"],
        "properties": {
            "issuer": {"type": "string", "description": "Who issued the identifiers."},
            "part": {"type": "integer", "minimum": 1, "default": 16777216, "description": "Bytes of one split, about."},
        },
    },
}

RECORD = pa.schema([("text", pa.string())])
ROWS = pa.schema(
    [
        ("text", pa.string()),
        ("_issuer", pa.string()),
        ("_subject", pa.string()),
        ("_version", pa.string()),
        ("_void", pa.uint8()),
        ("_offset", pa.uint64()),
        ("_length", pa.uint64()),
        ("_row", pa.uint64()),
        ("_part", pa.uint32()),
        ("_cell", pa.uint32()),
    ]
)
REJECTED = pa.schema(
    [
        ("kind", pa.uint32()),
        ("code", pa.string()),
        ("message", pa.string()),
        ("offset", pa.uint64()),
        ("length", pa.uint64()),
        ("row", pa.uint64()),
        ("part", pa.uint32()),
        ("cell", pa.uint32()),
    ]
)


class Failure(Exception):
    def __init__(self, status, code, message, pointer=None):
        super().__init__(message)
        self.said = {"status": status, "code": code, "message": message}
        if pointer is not None:
            self.said["pointer"] = pointer


def option(options, name, kind, default=None):
    """An option of this type. The host checks options by the schema before; who calls directly may not."""
    value = options.get(name, default) if isinstance(options, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise Failure("invalid_config", "LINES_OPTION", f"the option {name} is missing or of another type", f"/{name}")
    return value


def send(head, body=b""):
    head["id"] = asked
    if body:
        head["bytes"] = len(body)
    stdout.write(json.dumps(head).encode() + b"\n" + body)
    stdout.flush()


def receive():
    global asked
    line = stdin.readline()
    if not line:
        return None, b""
    message = json.loads(line)
    asked = message["id"]
    return message, stdin.read(message.get("bytes", 0))


def stream(schema, rows=None):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        if rows is not None:
            columns = zip(*rows)
            writer.write_batch(pa.record_batch([pa.array(c, f.type) for c, f in zip(columns, schema)], schema=schema))
    return sink.getvalue().to_pybytes()


def input_bytes(offset, end):
    """The bytes of the input from `offset` to `end`, in blocks."""
    while offset < end:
        send({"reply": "bytes", "offset": offset, "length": min(BLOCK, end - offset)})
        _, block = receive()
        if not block:
            return
        yield block
        offset += len(block)


def input_lines(start, end):
    """Offset and bytes of each line that begins in this part of the input, without its end."""
    rest, at = b"", start
    for block in input_bytes(start, end):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            yield at, line
            at += len(line) + 1
    if rest:
        yield at, rest


class Lines:
    def bind(self, options):
        self.issuer = option(options, "issuer", str)
        self.part = max(option(options, "part", int, 1 << 24), 1)
        send({"reply": "record", "name": "", "key": "content", "fold": "replace", "subject": True}, stream(RECORD))

    def splits(self, message):
        """Parts that end behind a line's end."""
        size, start, parts = message["size"], 0, []
        while start < size:
            end = min(start + self.part, size)
            for block in input_bytes(end, size):
                found = block.find(b"\n")
                end += len(block) if found < 0 else found + 1
                if found >= 0:
                    break
            parts.append([start, end])
            start = end
        return parts

    def read(self, message):
        row = 1 + sum(block.count(b"\n") for block in input_bytes(0, message["start"]))
        rows, rejected, empty = [], [], 0
        for offset, line in input_lines(message["start"], message["end"]):
            subject, tab, text = line.partition(b"\t")
            at = (offset, len(line), row, 0, None)
            try:
                if not line:
                    empty += 1
                elif not tab or not subject:
                    rejected.append((0, "LINES_TAB", "the line has no identifier and tab", *at))
                else:
                    rows.append((text.decode(), self.issuer, subject.decode(), None, 0, *at))
            except UnicodeDecodeError:
                rejected.append((0, "LINES_UTF8", "the line is not UTF-8", *at))
            row += 1
            if len(rows) >= message["batch_rows"]:
                send({"reply": "rows", "kind": 0}, stream(ROWS, rows))
                rows = []
        if rows:
            send({"reply": "rows", "kind": 0}, stream(ROWS, rows))
        if rejected:
            send({"reply": "rejected"}, stream(REJECTED, rejected))
        if empty:
            send({"reply": "filtered", "rule": "empty line", "n": empty})
        send({"reply": "progress", "n": message["end"] - message["start"]})


def answer(plugin, message):
    call = message["call"]
    if call == "describe":
        return dict(DESCRIPTION)
    if call == "check":
        return {"findings": []}
    if call == "bind":
        plugin.bind(message["options"])
    elif call == "splits":
        return {"splits": plugin.splits(message)}
    elif call == "read":
        plugin.read(message)
    return {}


def main():
    plugin = Lines()
    while True:
        message, _ = receive()
        if message is None:
            return
        if message["call"] == "resource":
            continue
        try:
            head = answer(plugin, message)
        except Failure as failure:
            send({"reply": "error", **failure.said})
            continue
        send({"reply": "done", **head})


main()
