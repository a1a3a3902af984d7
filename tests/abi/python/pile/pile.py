#!/usr/bin/env python3
"""A sink in Python, as a process: rows as lines of JSON, one file for each release.

Protocol 1 of clinmill's process plugins: a message is one line of JSON, whose key "bytes" says how many bytes follow.
Options: {"folder": "/srv/exports"}. Needs pyarrow.
"""

import json
import os
import sys
import uuid

import pyarrow as pa

stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
# The number of the message that was read last: every reply repeats it.
asked = None

DESCRIPTION = {
    "protocol": 1,
    "kind": "sink",
    "name": "pile",
    "version": "1.0.0",
    "summary": "Writes rows as lines of JSON, one file for each release",
    "capabilities": ["deterministic"],
    "schema": {
        "type": "object",
        "additionalProperties": False,
        "required": ["folder"],
        "properties": {"folder": {"type": "string", "description": "Where the files go."}},
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
        raise Failure("invalid_config", "PILE_OPTION", f"the option {name} is missing or of another type", f"/{name}")
    return value


def send(head, body=b""):
    head["id"] = asked
    if body:
        head["bytes"] = len(body)
    stdout.write(json.dumps(head).encode() + b"\n" + body)
    stdout.flush()


def durable(path):
    """Makes a file or folder last."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


class Pile:
    def bind(self, options):
        self.folder = option(options, "folder", str)
        self.part = self.file = None

    def whole(self, message):
        run = message["run"]
        if not run or "/" in run or run.startswith("."):
            raise Failure("invalid_state", "PILE_RUN", "the run cannot be the name of a file")
        return os.path.join(self.folder, run + ".jsonl")

    def parts(self, message, body):
        at = 0
        for length in message["tokens"]:
            name, at = body[at : at + length].decode(), at + length
            if not name.startswith(".") or "/" in name:
                raise Failure("invalid_state", "PILE_TOKEN", "a token is not one of this sink")
            yield os.path.join(self.folder, name)

    def open(self, message):
        self.whole(message)
        self.part = f".{uuid.uuid4()}.part"
        self.file = open(os.path.join(self.folder, self.part), "xb")

    def write(self, body):
        for batch in pa.ipc.open_stream(body):
            for row in batch.to_pylist():
                self.file.write(json.dumps(row, ensure_ascii=False, default=str).encode() + b"\n")

    def prepare(self):
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        token, self.part, self.file = self.part, None, None
        return token.encode()

    def close(self):
        if self.file is not None:
            self.file.close()
            os.remove(os.path.join(self.folder, self.part))
        self.part = self.file = None

    def receipt(self, message):
        try:
            return {"bytes": os.path.getsize(self.whole(message))}
        except FileNotFoundError:
            return None

    def commit(self, message, body):
        whole = self.whole(message)
        if self.receipt(message) is None:
            made = os.path.join(self.folder, f".{uuid.uuid4()}.whole")
            with open(made, "xb") as out:
                for part in self.parts(message, body):
                    with open(part, "rb") as file:
                        out.write(file.read())
                out.flush()
                os.fsync(out.fileno())
            os.rename(made, whole)
            durable(self.folder)
        self.abort(message, body)
        return self.receipt(message)

    def abort(self, message, body):
        for part in self.parts(message, body):
            if os.path.exists(part):
                os.remove(part)


def answer(sink, message, body):
    call = message["call"]
    if call == "describe":
        return dict(DESCRIPTION), b""
    if call == "check":
        return {"findings": []}, b""
    if call == "bind":
        sink.bind(message["options"])
    elif call == "probe":
        if not os.path.isdir(sink.folder):
            raise Failure("not_found", "PILE_FOLDER", "the folder is not there")
    elif call == "open":
        sink.open(message)
    elif call == "write":
        sink.write(body)
    elif call == "prepare":
        return {}, sink.prepare()
    elif call == "close":
        sink.close()
    elif call == "commit":
        return {"receipt": sink.commit(message, body)}, b""
    elif call == "resolve":
        receipt = sink.receipt(message)
        return {"landed": receipt is not None, "receipt": receipt}, b""
    elif call == "abort":
        sink.abort(message, body)
    return {}, b""


def main():
    global asked
    sink = Pile()
    while line := stdin.readline():
        message = json.loads(line)
        asked = message["id"]
        body = stdin.read(message.get("bytes", 0))
        if message["call"] == "resource":
            continue
        try:
            head, out = answer(sink, message, body)
        except Failure as failure:
            send({"reply": "error", **failure.said})
            continue
        except OSError:
            send({"reply": "error", "status": "io", "code": "PILE_IO", "message": "a file cannot be written or read"})
            continue
        send({"reply": "done", **head}, out)


main()
