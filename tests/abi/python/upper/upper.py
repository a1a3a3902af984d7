#!/usr/bin/env python3
"""A transform in Python, as a process: texts of a column in upper case; empty texts are rejected.

Protocol 1 of clinmill's process plugins: a message is one line of JSON, whose key "bytes" says how many bytes follow.
Options: {"column": "name"}. Needs pyarrow.
"""

import json
import sys

import pyarrow as pa
import pyarrow.compute as pc

stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
# The number of the message that was read last: every reply repeats it.
asked = None

DESCRIPTION = {
    "protocol": 1,
    "kind": "transform",
    "name": "upper",
    "version": "1.0.0",
    "summary": "Puts a text in upper case",
    "capabilities": ["row-wise", "rejects", "deterministic"],
    "schema": {
        "type": "object",
        "additionalProperties": False,
        "required": ["column"],
        "properties": {"column": {"type": "string", "description": "The column of text."}},
    },
}


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
        raise Failure("invalid_config", "UPPER_OPTION", f"the option {name} is missing or of another type", f"/{name}")
    return value


def send(head, body=b""):
    head["id"] = asked
    if body:
        head["bytes"] = len(body)
    stdout.write(json.dumps(head).encode() + b"\n" + body)
    stdout.flush()


def stream(schema, batch=None):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        if batch is not None:
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


class Upper:
    def bind(self, message, body):
        self.schema = pa.ipc.open_stream(body).schema
        self.column = self.schema.get_field_index(option(message["options"], "column", str))
        if self.column < 0 or self.schema.field(self.column).type != pa.string():
            raise Failure("invalid_config", "UPPER_COLUMN", "there is no such column of text", "/column")
        return stream(self.schema)

    def process(self, body):
        for batch in pa.ipc.open_stream(body):
            text = batch.column(self.column)
            empty = pc.fill_null(pc.equal(text, ""), False)
            rows = pa.array(range(batch.num_rows), pa.uint64())
            columns = batch.columns
            columns[self.column] = pc.utf8_upper(text)
            columns.append(pa.array([[row] for row in rows.to_pylist()], pa.list_(pa.uint64())))
            schema = self.schema.append(pa.field("_in", pa.list_(pa.uint64())))
            kept = pa.record_batch(columns, schema=schema).filter(pc.invert(empty))
            send({"reply": "rows"}, stream(schema, kept))
            bad = rows.filter(empty).cast(pa.uint32())
            if len(bad):
                rejected = pa.record_batch(
                    {"row": bad, "code": ["UPPER_EMPTY"] * len(bad), "message": ["the text is empty"] * len(bad)}
                )
                send({"reply": "rejected"}, stream(rejected.schema, rejected))


def answer(plugin, message, body):
    call = message["call"]
    if call == "describe":
        return dict(DESCRIPTION), b""
    if call == "check":
        return {"findings": []}, b""
    if call == "bind":
        return {}, plugin.bind(message, body)
    if call == "process":
        plugin.process(body)
    return {}, b""


def main():
    global asked
    plugin = Upper()
    while line := stdin.readline():
        message = json.loads(line)
        asked = message["id"]
        body = stdin.read(message.get("bytes", 0))
        if message["call"] == "resource":
            continue
        try:
            head, out = answer(plugin, message, body)
        except Failure as failure:
            send({"reply": "error", **failure.said})
            continue
        send({"reply": "done", **head}, out)


main()
