"""Runs the checks of OHDSI's DataQualityDashboard that need no vocabulary over the published OMOP tables, with DuckDB.

Arguments: the folder of the dashboard's lists (CSV), the dataset's folder, the manifest. Prints, by check, how often it was
run and what did not pass; a check passes where the share of failing rows, in percent, is not above its threshold.
"""
import csv
import json
import sys

import duckdb

lists, dataset, manifest = sys.argv[1:]
tables = json.load(open(manifest))["tables"]
rows = lambda level: csv.DictReader(open(f"{lists}/OMOP_CDMv5.4_{level}_Level.csv", encoding="utf-8-sig"))
base = duckdb.connect()
for name, entry in tables.items():
    files = [f"{dataset}/{f['path']}" for f in entry["base"]]
    base.execute(f"create view {name} as select * from read_parquet({files})")
columns = {name: {c[0]: c[1] for c in base.execute(f"describe {name}").fetchall()} for name in tables}
ran, failed = {}, []


def check(kind, what, threshold, about, fails):
    """`about`: from and where of the rows it is about; `fails`: the condition of those that fail."""
    total, bad = base.execute(f"select count(*), count(*) filter (where {fails}) from {about}").fetchone()
    ran[kind] = ran.get(kind, 0) + 1
    if total and 100 * bad / total > float(threshold or 0):
        failed.append(f"{kind} {what}: {bad} of {total}")


yes = lambda row, key: row[key].strip().lower() == "yes"
for row in rows("Table"):
    table = row["cdmTableName"].lower()
    if table not in tables:
        continue
    ran["cdmTable"] = ran.get("cdmTable", 0) + 1
    if yes(row, "measurePersonCompleteness") and "person_id" in columns[table]:
        about = f"person p left join (select distinct person_id from {table}) t using (person_id)"
        check("measurePersonCompleteness", table, row["measurePersonCompletenessThreshold"], about,
              f"p.person_id not in (select person_id from {table})")
for row in rows("Field"):
    table, field = row["cdmTableName"].lower(), row["cdmFieldName"].lower().strip('"')
    if table not in tables:
        continue
    what, here = f"{table}.{field}", columns[table]
    own = lambda kind, about, fails: check(kind, what, row[f"{kind}Threshold"], about, fails)
    ran["cdmField"] = ran.get("cdmField", 0) + 1
    if field not in here:
        failed.append(f"cdmField {what}")
        continue
    field = f't."{field}"'
    given = f"{table} t where {field} is not null"
    if yes(row, "isRequired"):
        own("isRequired", f"{table} t", f"{field} is null")
    if row["cdmDatatype"] == "integer":
        own("cdmDatatype", given, f"try_cast({field} as bigint) is null or {field}::varchar like '%.%'")
    if yes(row, "isPrimaryKey"):
        own("isPrimaryKey", f"{table} t", f"{field} in (select {field} from {table} t group by 1 having count(*) > 1)")
    other = (row["fkTableName"] or "").lower()
    if yes(row, "isForeignKey") and other in tables:
        key = row["fkFieldName"].lower()
        own("isForeignKey", given, f"{field} not in (select {key} from {other})")
    if yes(row, "measureValueCompleteness"):
        own("measureValueCompleteness", f"{table} t", f"{field} is null")
    # Today is the dashboard's bound of dates; `year` of birth has one of its own.
    bound = lambda text: text.replace("DATEADD(dd,1,GETDATE())", "current_date + 1").replace("GETDATE()", "current_date")
    date = lambda text: f"strptime({text}, '%Y%m%d')" if text.startswith("'") else text
    if low := row["plausibleValueLow"].strip():
        own("plausibleValueLow", given, f"{field} < {date(bound(low))}")
    if high := row["plausibleValueHigh"].strip():
        own("plausibleValueHigh", given, f"{field} > {date(bound(high))}")
    # A birth of which the year alone is known is at its beginning, a death is on its day.
    born = "coalesce(p.birth_datetime, make_date(p.year_of_birth::int, coalesce(p.month_of_birth, 1)::int, coalesce(p.day_of_birth, 1)::int))"
    persons = f"{table} t join person p using (person_id) where {field} is not null"
    if yes(row, "plausibleTemporalAfter"):
        other, key = row["plausibleTemporalAfterTableName"].lower(), row["plausibleTemporalAfterFieldName"].lower()
        if other == table:
            own("plausibleTemporalAfter", given, f"{field}::date < t.{key}::date")
        elif other == "person" and "person" in tables:
            own("plausibleTemporalAfter", persons, f"{field}::date < {born}::date")
    if yes(row, "plausibleStartBeforeEnd"):
        key = row["plausibleStartBeforeEndFieldName"].lower()
        if key in here:
            own("plausibleStartBeforeEnd", f"{given} and t.{key} is not null", f"{field}::date > t.{key}::date")
    if yes(row, "plausibleAfterBirth") and "person" in tables:
        own("plausibleAfterBirth", persons, f"{field}::date < {born}::date")
    for kind in ("plausibleBeforeDeath", "plausibleDuringLife"):
        if yes(row, kind) and "death" in tables:
            deaths = f"{table} t join death d using (person_id) where {field} is not null"
            own(kind, deaths, f"{field}::date > d.death_date + 60")
    if yes(row, "withinVisitDates") and "visit_occurrence" in tables and "visit_occurrence_id" in here:
        visits = f"{table} t join visit_occurrence v using (visit_occurrence_id) where {field} is not null"
        own("withinVisitDates", visits, f"{field}::date < v.visit_start_date - 7 or {field}::date > v.visit_end_date + 7")
print(json.dumps({"ran": ran, "failed": sorted(failed)}, indent=1))
