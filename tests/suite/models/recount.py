"""What the counts of a hospital's own export share: they are made without clinmill, by DuckDB, and compared.

Arguments: the folder of the export, the dataset's folder, the manifest. Ends with 1 where the dataset says otherwise.
"""
import json
import sys

import duckdb

raw, dataset, manifest = sys.argv[1:]
tables = json.load(open(manifest))["tables"]
base = duckdb.connect()
for name, entry in tables.items():
    files = [f"{dataset}/{f['path']}" for f in entry["base"]]
    base.execute(f"create view {name} as select * from read_parquet({files})")


def read(files):
    """Views of the export's own files, every column as text."""
    for name, file in files.items():
        base.execute(f"create view {name} as select * from read_csv('{raw}/{file}', all_varchar = true, header = true)")


def compare(pairs):
    """By table: a query over the export and one over the dataset, which have to say the same."""
    told, wrong = {}, []
    for name, (own, published) in pairs.items():
        wanted, found = (sorted(base.execute(q).fetchall(), key=str) for q in (own, published))
        told[name] = len(found)
        if wanted != found:
            wrong.append(name)
            known = set(map(str, wanted))
            odd = [r for r in found if str(r) not in known][:3]
            print(f"{name}: {len(wanted)} groups wanted, {len(found)} found, such as {odd}", file=sys.stderr)
    print(json.dumps(told))
    sys.exit(1 if wrong else 0)


