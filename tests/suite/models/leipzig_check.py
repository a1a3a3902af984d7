"""Reckons measurements and scores of the Leipzig table again, without clinmill.

Arguments: the table as published, the dataset's folder, the manifest. Ends with 1 where the dataset says otherwise.
MELD and MELD-Na as in OPTN Policy 9.1.D of January 2016, with molar masses of bilirubin (C33H36N4O6) and creatinine
(C4H7N3O) summed here from atomic weights, and once more with the rounded factors of the clinic (88.4 and 17.1).
"""
import csv
import json
import math
import sys

import duckdb

raw, dataset, manifest = sys.argv[1:]
tables = json.load(open(manifest))["tables"]
base = duckdb.connect()
for name, entry in tables.items():
    files = [f"{dataset}/{f['path']}" for f in entry["base"]]
    base.execute(f"create view {name} as select * from read_parquet({files})")
C, H, N, O = 12.011, 1.008, 14.007, 15.999
BILIRUBIN, CREATININE = 33 * C + 36 * H + 4 * N + 6 * O, 4 * C + 7 * H + 3 * N + O
LABS = {  # columns of the table: name, and what one unit is in the unit of the dataset
    "ALAT_S": ("alanine aminotransferase", 60), "ALB_S": ("albumin", 1), "AP_S": ("alkaline phosphatase", 60),
    "ASAT_S": ("aspartate aminotransferase", 60), "B_MPV_E": ("mean platelet volume", 1), "B_PLT_E": ("platelet cell count", 1),
    "B_WBC_E": ("white blood cell count", 1), "BILI_S": ("total bilirubin", BILIRUBIN / 1e4), "BILID_S": ("direct bilirubin", 1),
    "CA_S": ("total calcium", 1), "CHE_S": ("cholinesterase", 60), "CHOLG_S": ("cholesterine", 1), "CL_S": ("chloride", 1),
    "CRE_S": ("creatinine", CREATININE / 1e4), "CRP_S": ("C-reactive protein", 1), "CYSC_S": ("cystatin C", 1),
    "GGT_S": ("gamma-glutamyltransferase", 60), "IL6_S": ("interleukin 6", 1),
    "INR_C": ("international normalized ratio", 1), "NA_S": ("sodium", 1), "P_S": ("phosphate", 1), "PALB_S": ("pre-albumin", 1000),
    "PROT_S": ("total protein", 1), "PTH_S": ("parathyreoid hormone", 1), "VDT_OH_S": ("vitamin D 25-OH", 1),
}
rows = list(csv.DictReader(open(raw, encoding="utf-8")))
wrong = []

# Measurements: per test and unit, how many, their sum, the least and the largest.
found = {
    name: rest
    for name, *rest in base.execute(
        "select measurement_source_value, count(value_as_number), sum(value_as_number), min(value_as_number),"
        " max(value_as_number), count(distinct coalesce(value_as_number_unit, unit_source_value, ''))"
        " from measurement group by 1"
    ).fetchall()
}
total = 0
for column, (name, factor) in LABS.items():
    values = [float(row[column]) * factor for row in rows if row[column] != ""]
    total += len(values)
    wanted = [len(values), sum(values), min(values), max(values), 1]
    close = name in found and all(math.isclose(a, b, rel_tol=1e-5) for a, b in zip(wanted, found[name]))
    if not close:
        wrong.append(f"{name}: {wanted} wanted, {found.get(name)} found")
if set(found) != {name for name, _ in LABS.values()}:
    wrong.append(f"other tests: {sorted(found)}")


def meld(row, bilirubin, creatinine):
    """MELD, MELD-Na, and MELD(i) before it is rounded."""
    if row["INR_C"] == "":
        return None, None, None
    kidneys = min(max(float(row["CRE_S"]) / creatinine, 1), 4)
    kidneys = 4 if row["Dialysis"] == "1" else kidneys
    blood, inr = max(float(row["BILI_S"]) / bilirubin, 1), max(float(row["INR_C"]), 1)
    exact = 3.78 * math.log(blood) + 11.2 * math.log(inr) + 9.57 * math.log(kidneys) + 6.43
    score = math.floor(exact + 0.5)
    if score <= 11:
        return score, score, exact
    if row["NA_S"] == "":
        return min(score, 40), None, exact
    lack = 137 - min(max(float(row["NA_S"]), 125), 137)
    with_sodium = score + 1.32 * lack - 0.033 * score * lack
    return min(score, 40), min(math.floor(with_sodium + 0.5), 40), exact


# Rows of the wide table have no number of the source: compared as many alike.
def key(row, scores):
    return (int(row["Age"]), row["Sex"], int(row["DaysAtRisk"]), int(row["Deceased"]), int(row["LTx"]), *scores)


wanted, moved, between = [], 0, []
for row in rows:
    score, with_sodium, exact = meld(row, 1e4 / BILIRUBIN, 1e4 / CREATININE)
    wanted.append(key(row, (score, with_sodium)))
    rounded, _, about = meld(row, 17.1, 88.4)
    if rounded != score:
        moved += 1
        between.append(round(exact, 4))
        # Only where the score stands so near the middle that the fourth digit of a factor decides.
        if abs(rounded - score) > 1 or abs(exact - about) > 0.01:
            wrong.append(f"MELD {score} and {rounded} by rounded factors, from {exact} and {about}")
published = base.execute(
    "select age, sex, days_at_risk, deceased, transplanted, meld, meld_na from liver_evaluation"
).fetchall()
if sorted(wanted, key=str) != sorted(published, key=str):
    odd = [row for row in published if row not in wanted][:3]
    wrong.append(f"scores: such as {odd}")
unsaid = base.execute(
    "select count(*) from liver_evaluation where child_pugh is not null"
    " or child_pugh_missing not like '%ascites, encephalopathy'"
).fetchone()[0]
if unsaid:
    wrong.append(f"Child-Pugh without ascites and encephalopathy: {unsaid}")
for line in wrong:
    print(line, file=sys.stderr)
scores = [row[5] for row in wanted]
print(
    json.dumps(
        {
            "measurement": total,
            "meld": sum(score is not None for score in scores),
            "without": sum(score is None for score in scores),
            "meld_na": sum(row[6] is not None for row in wanted),
            "moved_by_rounded_factors": moved,
            "between": between,
        }
    )
)
sys.exit(1 if wrong else 0)
