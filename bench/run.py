#!/usr/bin/env python3
"""Measures clinmill beside its peers, in one run, on the same bytes, after checking that all of them read the same.

    python3 bench/run.py                     # everything; prints a Markdown table
    python3 bench/run.py --only csv,hl7 --scale 0.2
    python3 bench/run.py --only refresh

Inputs are generated into --work and kept there. Peers come from PyPI and are installed into a virtual environment in
--work when the running interpreter lacks them. Workloads of one source run on one CPU; a whole refresh uses all.
"""
import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = ["duckdb", "polars", "pyarrow", "datafusion", "openpyxl", "python-calamine"]
WORKLOADS = ["copy", "csv", "gbk", "hl7", "xlsx", "notes", "standardize", "events", "refresh"]


# ---------------------------------------------------------------------------------------------------------- measuring

def run(command, cores=None, env=None):
    """Runs a command; returns its output, wall seconds, CPU seconds and peak memory in MB."""
    def pin():
        if cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, set(list(os.sched_getaffinity(0))[:cores]))
    started = time.perf_counter()
    child = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, preexec_fn=pin,
                             env={**os.environ, **(env or {})})
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - started
    if child.returncode != 0:
        raise SystemExit(f"failed ({child.returncode}): {' '.join(map(str, command))}\n{output.decode(errors='replace')}")
    peak = usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return output, wall, usage.ru_utime + usage.ru_stime, peak


def run_until(stage, command, cores=None, env=None):
    """Runs `clinmill run`; returns wall seconds, CPU seconds and peak memory in MB at the end of one stage, and the
    report of the whole run."""
    def pin():
        if cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, set(list(os.sched_getaffinity(0))[:cores]))
    started = time.perf_counter()
    child = subprocess.Popen([str(c) for c in command] + ["--format", "json", "--log-format", "json"], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=pin,
                             env={**os.environ, **(env or {})})
    found = None
    for line in child.stderr:
        if line.startswith("{") and json.loads(line).get("stage") == stage:
            wall = time.perf_counter() - started
            stat = Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()
            status = Path(f"/proc/{child.pid}/status").read_text()
            peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
            found = wall, (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK"), peak
    output = child.stdout.read()
    if child.wait() != 0 or found is None:
        raise SystemExit(f"failed ({child.returncode}): {' '.join(map(str, command))}\n{output}")
    return *found, json.loads(output)


def cpu_until(step, command, cores=None):
    """CPU seconds of `clinmill run` up to a named step of a refresh, at which it is killed."""
    def pin():
        if cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, set(list(os.sched_getaffinity(0))[:cores]))
    child = subprocess.Popen([str(c) for c in command] + ["--quiet"], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, preexec_fn=pin,
                             env={**os.environ, "CLINMILL_KILL_AT": f"{step}:1"})
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != -9:
        raise SystemExit(f"not killed at {step} ({child.returncode}): {' '.join(map(str, command))}")
    return usage.ru_utime + usage.ru_stime


class Table:
    """The results, as Markdown."""

    def __init__(self):
        self.rows = []

    def add(self, workload, reader, size, seconds, cpu, rows, peak, note=""):
        mb = size / 1e6
        
        def short(x):
            return f"{x:,.0f}" if x >= 10 else f"{x:.1f}"

        self.rows.append([workload, reader, short(mb), short(mb / seconds) if seconds else "",
                          short(mb / cpu) if cpu else "", short(rows / seconds / 1e3) if rows and seconds else "",
                          f"{peak:,.0f}" if peak else "", note])
        print("|", " | ".join(self.rows[-1]), "|", file=sys.stderr, flush=True)

    def markdown(self):
        head = ["workload", "reader", "MB", "MB/s", "MB per CPU s", "k rows/s", "peak MB", "note"]
        align = ["---", "---", "--:", "--:", "--:", "--:", "--:", "---"]
        return "\n".join("| " + " | ".join(row) + " |" for row in [head, align, *self.rows])


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.work = Path(arguments.work).resolve()
        self.work.mkdir(parents=True, exist_ok=True)
        self.bin = build(arguments)
        self.python = interpreter(self.work)
        self.table = Table()

    def generate(self, name, program, *options):
        """A generated file or folder, made once."""
        path = self.work / name
        if not path.exists():
            part = self.work / (name + ".part")
            shutil.rmtree(part, ignore_errors=True)
            run([self.bin / program, *options, "--out", part])
            part.rename(path)
        return path

    def ours(self, plugin, options, files, workload, rows_of, note="to Arrow columns"):
        """Bytes to Arrow columns by one of clinmill's plugins; returns what it counted."""
        file = self.work / f"{workload}-options.json"
        file.write_text(json.dumps(options, ensure_ascii=False))
        output, _, _, peak = run([self.bin / "read", "--plugin", plugin, "--options", file, "--repeat",
                                  self.arguments.repeat, *files], cores=1)
        found = json.loads(output)
        rows = sum(found["records"]["kinds"][kind]["rows"] for kind in rows_of)
        self.table.add(workload, f"clinmill {plugin}", found["bytes"], found["seconds"], found["cpu_seconds"], rows,
                       peak, note)
        return found["records"]

    def peer(self, name, workload, files, note=""):
        """The same by a peer; returns what it counted."""
        env = {"POLARS_MAX_THREADS": "1", "RAYON_NUM_THREADS": "1"}
        best = None
        for _ in range(self.arguments.repeat):
            output, _, _, peak = run([self.python, HERE / "peers.py", name, self.work, *files], cores=1, env=env)
            found = json.loads(output) | {"peak": peak}
            if best is None or found["seconds"] < best["seconds"]:
                best = found
        size = sum(Path(f).stat().st_size for f in files)
        self.table.add(workload, best["label"], size, best["seconds"], best["cpu_seconds"], best["rows"], best["peak"],
                       note or best.get("note", ""))
        return best


def agree(what, *counts):
    """All readers must have seen the same, or the figures mean nothing."""
    first = counts[0]
    for other in counts[1:]:
        keys = first.keys() & other.keys()
        if not keys or "rows" in first.keys() ^ other.keys():
            raise SystemExit(f"{what}: there is nothing to compare")
        for key in keys:
            a, b = first[key], other[key]
            if a is None or b is None:
                continue
            if abs(a - b) > 1e-6 * max(abs(a), abs(b), 1):
                raise SystemExit(f"{what}: the readers disagree on {key}: {a} and {b}")


# ---------------------------------------------------------------------------------------------------------- workloads

def copy(bench):
    file = lab_csv(bench)
    best = None
    for _ in range(bench.arguments.repeat):
        started, busy = time.perf_counter(), time.process_time()
        with open(file, "rb", buffering=0) as source, open(bench.work / "copy.out", "wb", buffering=0) as target:
            while block := source.read(1 << 20):
                target.write(block)
        best = min(best or (1e9, 0), (time.perf_counter() - started, time.process_time() - busy))
    (bench.work / "copy.out").unlink()
    bench.table.add("copy", "read and write 1 MiB blocks", file.stat().st_size, best[0], best[1], 0, 0)


LAB = {"patient_id": "integer", "visit_id": "string", "sample_id": "string", "sampled_at": "timestamp",
       "reported_at": "timestamp", "test_code": "string", "test_name": "string", "loinc": "string", "value": "number",
       "unit": "string", "low": "number", "high": "number", "flag": "string"}
CHINESE = dict(zip("病案号,住院号,标本号,采样时间,报告时间,项目代码,项目名称,标准代码,结果,单位,下限,上限,标志".split(","), LAB))


def lab_csv(bench):
    return bench.generate(f"lab-{rows(bench)}.csv", "generate-table", "--rows", rows(bench))


def rows(bench):
    return max(10_000, int(3_600_000 * bench.arguments.scale))


def lab_options(headers, encoding):
    subject = next(iter(headers))
    def column(name):
        kind = LAB[name]
        return {"name": name, "type": kind, **({"format": "iso"} if kind == "timestamp" else {})}
    return {"encoding": encoding, "subject": {"id": subject, "issuer": "MRN"},
            "columns": {header: column(name) for header, name in headers.items()}}


def lab_counts(records):
    """What our reader counted, as the peers count it."""
    kind = records["kinds"][""]
    return {"rows": kind["rows"], **{f"values {n}": c["values"] for n, c in kind["columns"].items()},
            **{f"sum {n}": c["sum"] for n, c in kind["columns"].items() if c["sum"] is not None}}


def csv(bench):
    file = lab_csv(bench)
    ours = bench.ours("table", lab_options({n: n for n in LAB}, "utf-8"), [file], "csv", [""])
    peers = [bench.peer(name, "csv", [file]) for name in
             ["csv-pyarrow-arrow", "csv-duckdb", "csv-datafusion", "csv-polars", "csv-pyarrow"]]
    agree("csv", lab_counts(ours), *[p["counts"] for p in peers])


def gbk(bench):
    count = max(10_000, rows(bench) // 3)
    file = bench.generate(f"lab-gbk-{count}.csv", "generate-table", "--rows", count, "--encoding", "gb18030")
    ours = bench.ours("table", lab_options(CHINESE, "gb18030"), [file], "gbk csv", [""])
    peers = [bench.peer(name, "gbk csv", [file]) for name in ["gbk-pyarrow", "gbk-polars"]]
    agree("gbk csv", lab_counts(ours), *[p["counts"] for p in peers])


HL7 = {"subject": {"id": "PID-3.1", "issuer": "PID-3.4"}, "records": {"result": {
    "per": "OBX", "key": ["order_no", "test_code"], "fields": {
        "order_no": "OBR-3.1", "visit_no": "PV1-19.1", "test_code": "OBX-3.1", "test_name": "OBX-3.2",
        "value": "OBX-5", "unit": "OBX-6.1", "range": "OBX-7", "status": "OBX-11", "sampled_at": "OBR-7"}}}}


def hl7(bench):
    for name, encoding in [("hl7 gb18030", "gb18030"), ("hl7 utf-8", "utf-8")]:
        file = messages(bench, encoding)
        ours = bench.ours("hl7v2", HL7, [file], name, ["result"])["kinds"]["result"]
        peer = bench.peer("hl7-split", name, [file])
        agree(name, {"rows": ours["rows"], **{n: c["values"] for n, c in ours["columns"].items()}}, peer["counts"])


def messages(bench, encoding):
    """The sample hospital's results in one file, without the broken ones."""
    folder = hospital(bench, max(200, int(6_000 * bench.arguments.scale)), draws=12)
    file = bench.work / f"{folder.name}-{encoding}.hl7"
    if not file.exists():
        run([bench.python, HERE / "peers.py", "plain-hl7", bench.work, encoding, file,
             *sorted(folder.glob("week*/hl7/oru_*.hl7"))])
    return file


def anew(place):
    """Takes away what a refresh left."""
    for folder in ["vault", "out"]:
        shutil.rmtree(place / folder, ignore_errors=True)


def events(bench):
    """From the first byte to event files in the vault: finding, hashing, reading, sorting and writing."""
    lab = lab_options({n: n for n in LAB}, "utf-8") | {"key": ["sample_id"]}
    for name, plugin, options, file, table, count in [
            ("csv to events", "table", lab, lab_csv(bench), "events", None),
            ("hl7 to events", "hl7v2", HL7, messages(bench, "utf-8"), "events.result", "result")]:
        place = bench.work / "events"
        shutil.rmtree(place, ignore_errors=True)
        (place / "inbox").mkdir(parents=True)
        os.link(file, place / "inbox" / file.name)
        source = {"plugin": plugin, "inputs": {"glob": f"inbox/{file.name}"}, "keep": "reference", **options}
        # JSON is YAML.
        (place / "pipeline.yaml").write_text(json.dumps({
            "version": 1, "name": "events", "timezone": "Asia/Shanghai", "vault": {"url": "file:./vault", "key": "auto"},
            "dataset": {"url": "file:./out"}, "sources": {"events": source}, "tables": {"rows": {"from": table}}}))
        command = [bench.bin / "clinmill", "run", place / "pipeline.yaml"]
        # What was written this moment is hashed again by its reader: whether it changes meanwhile could not be told.
        time.sleep(1)
        best = None
        for _ in range(bench.arguments.repeat):
            anew(place)
            found = cpu_until("refresh.discovered", command, cores=1)
            anew(place)
            wall, cpu, peak, report = run_until("ingest", command, cores=1)
            read = report["counts"]
            agree(name, {"rows": read["read"]}, {"rows": read["written"] + read["duplicates"]})
            if best is None or cpu < best[1]:
                best = (wall, cpu, peak, cpu - found)
        wall, cpu, peak, reading = best
        bench.table.add(name, f"clinmill {plugin}", file.stat().st_size, wall, cpu, read["read"], peak,
                        "to event files; the input is hashed, not copied")
        bench.table.add(name, "from reading on", file.stat().st_size, None, reading, read["read"], None,
                        "without start, discovery and hashing")
        shutil.rmtree(place)


def xlsx(bench):
    count = max(5_000, int(100_000 * min(1, bench.arguments.scale)))
    file = bench.work / f"lab-{count}.xlsx"
    if not file.exists():
        small = bench.generate(f"lab-{count}.csv", "generate-table", "--rows", count)
        run([bench.python, HERE / "peers.py", "write-xlsx", bench.work, small, file])
    headers = {n: n for n in LAB}
    ours = bench.ours("table", lab_options(headers, "utf-8"), [file], "xlsx", [""])
    peers = [bench.peer(name, "xlsx", [file]) for name in ["xlsx-calamine", "xlsx-openpyxl"]]
    agree("xlsx", lab_counts(ours), *[p["counts"] for p in peers])


def notes(bench):
    folder = hospital(bench, max(200, int(6_000 * bench.arguments.scale)), draws=12)
    calls = sorted(folder.glob("week*/dialogue/*.jsonl"))
    options = {"format": "jsonl", "encoding": "utf-8", "subject": {"id": "mrn", "issuer": "MRN"}, "key": ["call_no"]}
    ours = bench.ours("notes", options, calls, "notes jsonl", [""])
    peer = bench.peer("jsonl-python", "notes jsonl", calls)
    agree("notes jsonl", {"rows": ours["kinds"][""]["rows"]}, peer["counts"])
    # One patient's name for all: this workload is about texts.
    files = [f for f in sorted(folder.glob("week1/notes/*/*.txt")) if "/99999" not in str(f)][:20_000]
    options = {"encoding": "auto", "subject": {"id": "mrn", "issuer": "MRN"}}
    ours = bench.ours("notes", options, ["--capture", "mrn=1", *files], "notes files", [""])
    peer = bench.peer("notes-python", "notes files", files)
    agree("notes files", {"rows": ours["kinds"][""]["rows"]}, peer["counts"])


def standardize(bench):
    """Values, codes and units of laboratory rows in memory, beside a join of the same rows with the same tables."""
    count, file = rows(bench), bench.work / "standardize.csv"
    output, _, _, peak = run([bench.bin / "standardize", "--rows", count, "--repeat", bench.arguments.repeat,
                              "--mappings", ROOT / "mappings", "--write", file], cores=1)
    found = json.loads(output)
    bench.table.add("standardize", "labvalue, terminology, units", file.stat().st_size, found["seconds"],
                    found["cpu_seconds"], found["rows"], peak, "in memory")
    peer = bench.peer("join-duckdb", "standardize", [file, *(ROOT / "mappings" / name / "map.csv" for name in
                      ("lab-zh__loinc", "units-local__ucum"))], "in memory: a join by name and by spelling, a cast")
    agree("standardize", {"rows": found["rows"], "mapped": found["counts"]["mapped"]}, peer["counts"])


def hospital(bench, patients, draws):
    return bench.generate(f"hospital-{patients}-{draws}", "generate", "--patients", patients, "--draws", draws)


def refresh(bench):
    base = max(50, int(1_000 * bench.arguments.scale))
    for times in (1, 2, 4):
        folder = hospital(bench, base * times, draws=12)
        place = bench.work / "refresh"
        shutil.rmtree(place, ignore_errors=True)
        (place / "pipelines").mkdir(parents=True)
        pipeline = place / "pipelines" / "carotid-stenting"
        pipeline.mkdir()
        shutil.copy(ROOT / "pipelines/carotid-stenting/pipeline.yaml", pipeline)
        shutil.copytree(folder, pipeline / "inbox", copy_function=os.link)
        shutil.copytree(ROOT / "mappings", place / "mappings")
        size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and f.name != "truth.json")
        output, wall, cpu, peak = run([bench.bin / "clinmill", "run", pipeline / "pipeline.yaml", "--format", "json"],
                                      env={"CLINMILL_HOME": str(place), "DATASET_URL": f"file:{place / 'out'}"})
        report = json.loads(output)
        truth = json.loads((folder / "truth.json").read_text())["weeks"][-1]["rows"]
        made = {name: table["rows"] for name, table in report["tables"].items()} | {"rows": report["release"]}
        agree("refresh", made, {"rows": 1, "person": truth["person"], "visit": truth["visit"],
                                "measurement": truth["result_hl7"] + truth["result_lis"],
                                "carotid_stenting": truth["carotid_stenting"],
                                "note": truth["note"] + truth["dialogue"]})
        bench.table.add(f"refresh {times}x", "clinmill run", size, wall, cpu, report["counts"]["read"], peak,
                        f"{base * times} patients, {sum(made.values()) - 1:,} rows released")
    shutil.rmtree(bench.work / "refresh", ignore_errors=True)


# -------------------------------------------------------------------------------------------------------------- setup

def build(arguments):
    """The folder of the release binaries, built when not told otherwise."""
    if arguments.bin:
        return Path(arguments.bin).resolve()
    packages = ["-p", "clinmill-bench"] + (["-p", "clinmill-cli"] if {"events", "refresh"} & set(arguments.only) else [])
    subprocess.run(["cargo", "build", "--release", *packages], cwd=ROOT, check=True)
    meta = subprocess.run(["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=ROOT, check=True,
                          stdout=subprocess.PIPE)
    return Path(json.loads(meta.stdout)["target_directory"]) / "release"


def interpreter(work):
    """A Python that has the peers."""
    check = "import duckdb, polars, pyarrow, datafusion, openpyxl, python_calamine"
    if subprocess.run([sys.executable, "-c", check], stderr=subprocess.DEVNULL).returncode == 0:
        return sys.executable
    python = work / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", work / "venv"], check=True)
    if subprocess.run([python, "-c", check], stderr=subprocess.DEVNULL).returncode != 0:
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS], check=True)
    return python


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(WORKLOADS), help="workloads, with commas: " + ", ".join(WORKLOADS))
    parser.add_argument("--scale", type=float, default=1.0, help="1: 3.6 million CSV rows, 6,000 HL7 patients")
    parser.add_argument("--repeat", type=int, default=3, help="the fastest of so many runs counts")
    parser.add_argument("--work", default=str(ROOT / "target" / "bench"), help="folder for inputs and the environment")
    parser.add_argument("--bin", help="folder of the release binaries; left out: they are built")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",")
    unknown = set(arguments.only) - set(WORKLOADS)
    if unknown:
        parser.error(f"unknown workloads: {', '.join(sorted(unknown))}")
    bench = Bench(arguments)
    for name in WORKLOADS:
        if name in arguments.only:
            globals()[name](bench)
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    print(f"{os.cpu_count()} CPUs, {platform.machine()}, {platform.system()}; load averages at the end {load}; "
          f"scale {arguments.scale}, fastest of {arguments.repeat}\n")
    print(bench.table.markdown())


if __name__ == "__main__":
    main()
