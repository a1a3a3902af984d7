"""A process that does what its argument says. Needs nothing but Python."""

import base64
import json
import os
import sys
import time

deed = sys.argv[1]
# Three texts of 40 letters in a column `name`, as pyarrow 26 writes them with compression="lz4"; where the length of the
# texts stands, uncompressed.
COMPRESSED = base64.b64decode(
    "/////3AAAAAQAAAAAAAKAAwABgAFAAgACgAAAAABBAAMAAAACAAIAAAABAAIAAAABAAAAAEAAAAUAAAAEAAUAAgABgAHAAwAAAAQABAAAAAA"
    "AAEFEAAAABwAAAAEAAAAAAAAAAQAAABuYW1lAAAAAAQABAAEAAAA/////6gAAAAUAAAAAAAAAAwAGAAGAAUACAAMAAwAAAAAAwQAHAAAAFAA"
    "AAAAAAAAAAAAAAwAHAAQAAQACAAMAAwAAABYAAAAHAAAABQAAAADAAAAAAAAAAAAAAAEAAQABAAAAAMAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAnAAAAAAAAACgAAAAAAAAAIgAAAAAAAAAAAAAAAQAAAAMAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAAQiTRhgQIIQAACAAAAAACgAAABQ"
    "AAAAeAAAAAAAAAAAeAAAAAAAAAAEIk0YYECCCwAAAB9hAQBfUGFhYWFhAAAAAAAAAAAAAP////8AAAAA"
)
COMPRESSED_LENGTH = 336
stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
# The number of the message that was read last: every reply repeats it.
asked = None


def send(head, body=b""):
    head["id"] = asked
    if body:
        head["bytes"] = len(body)
    stdout.write(json.dumps(head).encode() + b"\n" + body)
    stdout.flush()


for line in stdin:
    message = json.loads(line)
    asked = message["id"]
    body = stdin.read(message.get("bytes", 0))
    call = message["call"]
    if call == "describe":
        if deed == "silent":
            time.sleep(60)
        if deed == "crash":
            sys.stderr.write("no module\x1b[2J\n" * 3)
            sys.stderr.flush()
            os.abort()
        if deed == "sibling":
            import upper.upper  # lies beside this file
        if deed == "daemon":
            # A child that is in no group or session of ours, and whose parent has gone.
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    with open(sys.argv[2] + ".new", "w") as file:
                        file.write(str(os.getpid()))
                    os.rename(sys.argv[2] + ".new", sys.argv[2])
                    for fd in range(3):
                        os.close(fd)
                    time.sleep(60)
                os._exit(0)
            os.wait()
            while not os.path.exists(sys.argv[2]):
                time.sleep(0.01)
        if deed == "daemon" and len(sys.argv) > 3:
            sys.exit(3)
        if deed == "environment":
            # Nothing of the host's: what the interpreter itself adds stays.
            assert not {"HOME", "PATH", "USER", "CARGO"} & set(os.environ)
        if deed == "not_json":
            stdout.write(b"hello\n")
            stdout.flush()
        if deed == "huge":
            send({"reply": "done", "bytes": 1 << 60})
        if deed == "memory":
            try:
                kept = bytearray(1 << 30)
            except MemoryError:
                sys.exit(7)
        if deed == "child":
            # A child of the child, which holds the pipes open.
            if os.fork() == 0:
                time.sleep(60)
            sys.exit(3)
        version = 2 if deed == "protocol" else 1
        capabilities = {"whole": ["dataset-wise"], "capability": ["row_wise"]}.get(deed, [])
        name = "other" if deed == "name" else "hostile"
        schema = {"type": "object", "not": {"required": ["x"]}} if deed == "keyword" else {"type": "object"}
        send({"reply": "done", "protocol": version, "kind": "transform", "name": name, "version": "1",
              "summary": "", "capabilities": capabilities, "schema": schema})
    elif call == "bind":
        send({"reply": "done"}, body if deed != "bind" else b"no stream")
    elif call == "process":
        kept = body
        if deed == "late":
            send({"reply": "done"})
        if deed == "crash_later":
            sys.stderr.write("王小明\n" * 3)
            sys.stderr.flush()
            os.abort()
        if deed == "names":
            for n in range(1000):
                send({"reply": "count", "name": f"n{n}", "n": 1})
        if deed == "large":
            send({"reply": "rows", "bytes": 300 << 20})
        if deed == "heavy":
            # Each of them holds less than it may.
            for _ in range(4):
                if os.fork() == 0:
                    kept = bytearray(os.urandom(1 << 20)) * 150
                    time.sleep(60)
            time.sleep(60)
        if deed == "chatter":
            while True:
                send({"reply": "count", "name": "x", "n": 1})
        if deed == "hang":
            time.sleep(60)
        if deed == "exit":
            sys.exit(5)
        if deed == "garbage":
            send({"reply": "rows"}, os.urandom(300))
        if deed == "compressed":
            length = (1 << 40).to_bytes(8, "little")
            send({"reply": "rows"}, COMPRESSED[:COMPRESSED_LENGTH] + length + COMPRESSED[COMPRESSED_LENGTH + 8:])
        if deed == "cancelled":
            send({"reply": "error", "status": "cancelled", "code": "CANCELLED", "message": ""})
        if deed == "say_value":
            send({"reply": "error", "status": "invalid_data", "code": "HOSTILE_VALUE", "message": "王小明"})
        if deed == "count_value":
            send({"reply": "count", "name": "王小明", "n": 1})
        if deed == "strange_code":
            send({"reply": "error", "status": "internal", "code": "\x1b[2J", "message": ""})
        if deed == "flip":
            for at in range(0, len(body), 7):
                send({"reply": "rows"}, body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1:])
        send({"reply": "done"})
    elif call != "resource":
        if call == "finish" and deed == "rows_in_finish":
            send({"reply": "rows"}, kept)
        send({"reply": "done", "findings": []})
