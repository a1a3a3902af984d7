"""Loads the published OMOP tables into DuckDB under the CDM's own constraints: types, NOT NULL, keys, references.

Arguments: the field list of the CDM (CSV of OHDSI's DataQualityDashboard), the dataset's folder, the manifest.
"""
import csv
import json
import sys

import duckdb

fields, dataset, manifest = sys.argv[1:]
tables = json.load(open(manifest))["tables"]
rows = list(csv.DictReader(open(fields, encoding="utf-8-sig")))
yes = lambda row, key: row[key].strip().lower() == "yes"
# Ids are numbers of 64 bits, texts are as long as they are; the rest is the CDM's.
kinds = {"integer": "BIGINT", "bigint": "BIGINT", "float": "DOUBLE", "date": "DATE", "datetime": "TIMESTAMP"}
here = {}
for row in rows:
    name = row["cdmTableName"].lower()
    if name in tables:
        here.setdefault(name, []).append(row)
base = duckdb.connect()
made, seen = [], set()


def make(name):
    if name in seen:
        return
    seen.add(name)
    parts = []
    for row in here[name]:
        column = row["cdmFieldName"].lower().strip('"')
        kind = kinds.get(row["cdmDatatype"].lower(), "VARCHAR")
        part = f'"{column}" {kind}'
        part += " NOT NULL" if yes(row, "isRequired") else ""
        part += " PRIMARY KEY" if yes(row, "isPrimaryKey") else ""
        other = (row["fkTableName"] or "").lower()
        if yes(row, "isForeignKey") and other in here and other != name:
            make(other)
            part += f' REFERENCES {other}("{row["fkFieldName"].lower()}")'
        parts.append(part)
    base.execute(f"create table {name} ({', '.join(parts)})")
    made.append(name)


for name in here:
    make(name)
counts = {}
for name in made:
    files = [f"{dataset}/{f['path']}" for f in tables[name]["base"]]
    assert not tables[name]["overlay"], "small tables have a base alone"
    columns = ", ".join('"' + r["cdmFieldName"].lower().strip('"') + '"' for r in here[name])
    if files:
        base.execute(f"insert into {name} ({columns}) select {columns} from read_parquet({files})")
    counts[name] = base.execute(f"select count(*) from {name}").fetchone()[0]
print(json.dumps(counts))
