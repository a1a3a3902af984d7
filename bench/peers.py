"""The peers, one call each: `peers.py NAME WORK FILE…`. Prints seconds, CPU seconds, rows and counts as JSON.

Imports are not timed. CSV and XLSX come out as Parquet (zstd level 1) where the name does not say otherwise, since that
is what these tools are used for; the counts are taken from that file, outside the measured time.
"""
import json
import sys
import time
from pathlib import Path

TYPES = ["patient_id", "visit_id", "sample_id", "sampled_at", "reported_at", "test_code", "test_name", "loinc", "value",
         "unit", "low", "high", "flag"]
NUMBERS = {"value", "low", "high"}
TIMES = {"sampled_at", "reported_at"}


def timed(work):
    started, busy = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - started, time.process_time() - busy


def report(label, seconds, cpu, counts, note=""):
    print(json.dumps({"label": label, "seconds": seconds, "cpu_seconds": cpu, "rows": counts["rows"], "counts": counts,
                      "note": note}))


def count_table(table):
    """Rows, non-null values per column, sums of numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc
    table = table.rename_columns(TYPES)
    counts = {"rows": table.num_rows}
    for name in TYPES:
        column = table[name]
        counts[f"values {name}"] = len(column) - column.null_count
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            counts[f"sum {name}"] = float(pc.sum(pc.cast(column, pa.float64())).as_py())
    return counts


def count_parquet(file):
    import pyarrow.parquet as pq
    return count_table(pq.read_table(file))


def arrow_options(encoding, names):
    import pyarrow as pa
    from pyarrow import csv
    kinds = {name: pa.int64() if kind == "patient_id" else pa.float64() if kind in NUMBERS else pa.timestamp("us")
             if kind in TIMES else pa.string() for name, kind in zip(names, TYPES)}
    return {"read_options": csv.ReadOptions(use_threads=False, encoding=encoding, block_size=4 << 20),
            "convert_options": csv.ConvertOptions(column_types=kinds, null_values=[""], strings_can_be_null=True)}


def header(file, encoding):
    with open(file, encoding=encoding) as lines:
        return next(lines).strip().split(",")


def csv_pyarrow_arrow(work, file, encoding="utf-8"):
    import pyarrow as pa
    from pyarrow import csv
    pa.set_cpu_count(1)
    options = arrow_options(encoding, header(file, encoding))
    table, seconds, cpu = timed(lambda: csv.read_csv(file, **options))
    report(f"pyarrow {pa.__version__}", seconds, cpu, count_table(table), "to Arrow columns")


def csv_pyarrow(work, file, encoding="utf-8"):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import csv
    pa.set_cpu_count(1)
    options, out = arrow_options(encoding, header(file, encoding)), work / "peer.parquet"

    def convert():
        with csv.open_csv(file, **options) as reader, \
                pq.ParquetWriter(out, reader.schema, compression="zstd", compression_level=1) as writer:
            for batch in reader:
                writer.write_batch(batch)

    _, seconds, cpu = timed(convert)
    report(f"pyarrow {pa.__version__}", seconds, cpu, count_parquet(out), "to Parquet")


def gbk_pyarrow(work, file):
    csv_pyarrow(work, file, "gb18030")


def csv_duckdb(work, file):
    import duckdb
    out = work / "peer.parquet"
    connection = duckdb.connect(config={"threads": 1})
    kinds = {n: "BIGINT" if n == "patient_id" else "DOUBLE" if n in NUMBERS else "TIMESTAMP" if n in TIMES else "VARCHAR"
             for n in TYPES}
    query = f"COPY (SELECT * FROM read_csv('{file}', header=true, columns={kinds})) TO '{out}' " \
            "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
    _, seconds, cpu = timed(lambda: connection.execute(query))
    report(f"duckdb {duckdb.__version__}", seconds, cpu, count_parquet(out), "to Parquet")


def join_duckdb(work, file, names, units):
    """Rows in memory, joined with the table of names and that of units as written; numbers are cast."""
    import duckdb
    connection = duckdb.connect(config={"threads": 1})
    read = "read_csv(?, all_varchar = true, header = true, nullstr = '')"
    connection.execute(f"create table labs as from {read}", [file])
    connection.execute(f"create table names as select * from {read} where status = 'accepted' "
                       "and (when_unit is null or when_unit like '*%') and (when_specimen is null or when_specimen like '*%')", [names])
    connection.execute(f"create table units as select * from {read} where status = 'accepted'", [units])
    query = """create or replace temp table joined as
        select labs.*, try_cast(result as decimal(38, 10)) as number, n.target_code as code, n.target_system as system,
               n.target_name as name, n.unit as wanted, u.target_code as ucum
        from labs left join names n on test = n.source_name left join units u on labs.unit = u.source_name"""
    _, seconds, cpu = timed(lambda: connection.execute(query))
    rows, mapped = connection.execute("select count(*), count(code) from joined").fetchone()
    report(f"duckdb {duckdb.__version__}", seconds, cpu, {"rows": rows, "mapped": mapped})


def csv_datafusion(work, file):
    import datafusion
    import pyarrow as pa
    out = work / "peer.parquet"
    out.unlink(missing_ok=True)
    context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(1))
    schema = pa.schema([(n, pa.int64() if n == "patient_id" else pa.float64() if n in NUMBERS else pa.timestamp("us")
                         if n in TIMES else pa.string()) for n in TYPES])
    context.register_csv("lab", str(file), schema=schema)
    query = f"COPY lab TO '{out}' STORED AS PARQUET OPTIONS ('format.compression' 'zstd(1)')"
    _, seconds, cpu = timed(lambda: context.sql(query).collect())
    report(f"datafusion {datafusion.__version__}", seconds, cpu, count_parquet(out), "to Parquet")


def polars_types():
    import polars as pl
    return {n: pl.Int64 if n == "patient_id" else pl.Float64 if n in NUMBERS else pl.Datetime("us") if n in TIMES
            else pl.String for n in TYPES}


def csv_polars(work, file):
    import polars as pl
    out = work / "peer.parquet"
    lazy = pl.scan_csv(file, schema=polars_types())
    _, seconds, cpu = timed(lambda: lazy.sink_parquet(out, compression="zstd", compression_level=1))
    report(f"polars {pl.__version__}", seconds, cpu, count_parquet(out), "to Parquet")


def gbk_polars(work, file):
    import polars as pl
    out = work / "peer.parquet"
    kinds = dict(zip(header(file, "gb18030"), polars_types().values()))

    def convert():
        pl.read_csv(file, encoding="gb18030", schema=kinds).write_parquet(out, compression="zstd", compression_level=1)

    _, seconds, cpu = timed(convert)
    report(f"polars {pl.__version__}", seconds, cpu, count_parquet(out), "to Parquet")


def hl7_split(work, file):
    """HL7 by hand: what a careful script does with str.split."""
    def read():
        data = Path(file).read_bytes()
        text = data.decode("utf-8" if b"UNICODE UTF-8" in data[:200] else "gb18030")
        columns = [[] for _ in range(9)]
        visit = order = sampled = ""
        for segment in text.split("\r"):
            kind = segment[:3]
            if kind == "OBX":
                f = segment.split("|")
                code = f[3].split("^")
                row = (order, visit, code[0], code[1], f[5], f[6].split("^")[0], f[7], f[11], sampled)
                for column, value in zip(columns, row):
                    column.append(value.replace("\\S\\", "^") if "\\" in value else value)
            elif kind == "OBR":
                f = segment.split("|")
                order, sampled = f[3].split("^")[0], f[7]
            elif kind == "PV1":
                visit = segment.split("|")[19].split("^")[0]
        return columns

    columns, seconds, cpu = timed(read)
    names = ["order_no", "visit_no", "test_code", "test_name", "value", "unit", "range", "status", "sampled_at"]
    counts = {"rows": len(columns[0]), **{n: sum(1 for v in c if v) for n, c in zip(names, columns)}}
    report("Python, str.split by hand", seconds, cpu, counts, "to lists; no repetitions, no other escapes")


def plain_hl7(work, encoding, target, *files):
    """Messages without the broken ones, in one encoding."""
    with open(target, "wb") as out:
        for file in files:
            text = Path(file).read_bytes().decode("gb18030", errors="replace")
            messages = ["MSH" + m for m in text.split("MSH")[1:]]
            good = "".join(m for m in messages if "\ufffd" not in m and "\rOBX" in m and "\rPID|1||||" not in m)
            if encoding == "utf-8":
                good = good.replace("GB 18030-2000", "UNICODE UTF-8")
            out.write(good.encode(encoding))


def xlsx_rows(rows):
    """Counts over rows of cells, the header left out."""
    import datetime
    counts, sums = [0] * len(TYPES), [0.0] * len(TYPES)
    n = 0
    for row in rows:
        n += 1
        for i, value in enumerate(row):
            if value is not None and value != "":
                counts[i] += 1
                if isinstance(value, (int, float)) and not isinstance(value, datetime.datetime):
                    sums[i] += value
    found = {"rows": n, **{f"values {name}": c for name, c in zip(TYPES, counts)}}
    return found | {f"sum {name}": s for name, s in zip(TYPES, sums) if name in NUMBERS}


def xlsx_calamine(work, file):
    import python_calamine
    rows, seconds, cpu = timed(lambda: python_calamine.load_workbook(str(file)).get_sheet_by_index(0).to_python())
    report("python-calamine", seconds, cpu, xlsx_rows(rows[1:]), "to lists")


def xlsx_openpyxl(work, file):
    import openpyxl
    rows, seconds, cpu = timed(lambda: list(openpyxl.load_workbook(file, read_only=True).active.values))
    report(f"openpyxl {openpyxl.__version__}", seconds, cpu, xlsx_rows(rows[1:]), "to tuples")


def write_xlsx(work, source, target):
    """A workbook as spreadsheets write it: shared strings, numbers as numbers, dates as text."""
    import zipfile
    from xml.sax.saxutils import escape
    shared, strings = {}, []

    def cell(value, name, ref):
        if value == "":
            return ""
        if name in NUMBERS or name == "patient_id":
            return f'<c r="{ref}"><v>{value}</v></c>'
        if value not in shared:
            shared[value] = len(strings)
            strings.append(value)
        return f'<c r="{ref}" t="s"><v>{shared[value]}</v></c>'

    letters = "ABCDEFGHIJKLM"
    spread = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as book:
        with book.open("xl/worksheets/sheet1.xml", "w") as sheet, open(source) as lines:
            sheet.write(f'<?xml version="1.0" encoding="UTF-8"?><worksheet xmlns="{spread}"><sheetData>'.encode())
            for number, line in enumerate(lines, 1):
                names = [""] * 13 if number == 1 else TYPES
                cells = "".join(cell(value, name, f"{letter}{number}")
                                for value, name, letter in zip(line.rstrip("\n").split(","), names, letters))
                sheet.write(f'<row r="{number}">{cells}</row>'.encode())
            sheet.write(b"</sheetData></worksheet>")
        book.writestr("xl/sharedStrings.xml", f'<?xml version="1.0" encoding="UTF-8"?><sst xmlns="{spread}">' + "".join(
            f"<si><t>{escape(s)}</t></si>" for s in strings) + "</sst>")
        book.writestr("xl/workbook.xml", f'<?xml version="1.0" encoding="UTF-8"?><workbook xmlns="{spread}" '
                      f'xmlns:r="{office}"><sheets><sheet name="Sheet1" sheetId="1" r:id="rId1"/></sheets></workbook>')
        book.writestr("xl/_rels/workbook.xml.rels", f'<?xml version="1.0" encoding="UTF-8"?><Relationships '
                      f'xmlns="{package}/relationships"><Relationship Id="rId1" Type="{office}/worksheet" '
                      f'Target="worksheets/sheet1.xml"/><Relationship Id="rId2" Type="{office}/sharedStrings" '
                      'Target="sharedStrings.xml"/></Relationships>')
        book.writestr("_rels/.rels", f'<?xml version="1.0" encoding="UTF-8"?><Relationships '
                      f'xmlns="{package}/relationships"><Relationship Id="rId1" Type="{office}/officeDocument" '
                      'Target="xl/workbook.xml"/></Relationships>')
        kind = "application/vnd.openxmlformats-officedocument.spreadsheetml."
        book.writestr("[Content_Types].xml", '<?xml version="1.0" encoding="UTF-8"?><Types '
                      f'xmlns="{package}/content-types"><Default Extension="rels" '
                      'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
                      f'<Override PartName="/xl/workbook.xml" ContentType="{kind}sheet.main+xml"/>'
                      f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kind}worksheet+xml"/>'
                      f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kind}sharedStrings+xml"/></Types>')


def jsonl_python(work, *files):
    def read():
        found = []
        for file in files:
            for line in open(file, encoding="utf-8"):
                try:
                    call = json.loads(line)
                except ValueError:
                    continue
                if call.get("mrn"):
                    found.append((call["mrn"], call["call_no"], call["text"]))
        return found

    found, seconds, cpu = timed(read)
    report("Python json", seconds, cpu, {"rows": len(found)}, "to tuples")


def notes_python(work, *files):
    def read():
        texts = []
        for file in files:
            data = Path(file).read_bytes()
            try:
                texts.append(data.decode("utf-8"))
            except UnicodeDecodeError:
                texts.append(data.decode("gb18030"))
        return texts

    texts, seconds, cpu = timed(read)
    report("Python read and decode", seconds, cpu, {"rows": len(texts)}, "to texts")


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")](Path(sys.argv[2]), *sys.argv[3:])
