# The demo of MIMIC-III, counted again: rows, sums, minima and maxima per code and unit, with factors of its own: molar masses
# of IUPAC's abridged atomic weights, in g/mol. Runs behind recount.py.
read({
    "patients": "PATIENTS.csv",
    "admissions": "ADMISSIONS.csv",
    "diagnoses": "DIAGNOSES_ICD.csv",
    "events": "LABEVENTS.csv.gz",
    "items": "D_LABITEMS.csv",
})
# By item: the unit of the hospital, the one that is published, its concept, and what a number is multiplied with.
factors = {
    "50931": ("mg/dL", "mmol/L", 8753, 10 / 180.156),  # glucose
    "50912": ("mg/dL", "umol/L", 8749, 10_000 / 113.120),  # creatinine
    "51006": ("mg/dL", "mmol/L", 8753, 10 / 28.014),  # urea nitrogen: two atoms in a mole of urea
    "51007": ("mg/dL", "umol/L", 8749, 10_000 / 168.112),  # uric acid
    "50885": ("mg/dL", "umol/L", 8749, 10_000 / 584.673),  # bilirubin
    "50893": ("mg/dL", "mmol/L", 8753, 10 / 40.078),  # calcium
    "50960": ("mg/dL", "mmol/L", 8753, 10 / 24.305),  # magnesium
    "50970": ("mg/dL", "mmol/L", 8753, 10 / 30.974),  # phosphate
    "50983": ("mEq/L", "mmol/L", 8753, 1),  # sodium
    "50971": ("mEq/L", "mmol/L", 8753, 1),  # potassium
    "50902": ("mEq/L", "mmol/L", 8753, 1),  # chloride
    "51222": ("g/dL", "g/L", 8636, 10),  # haemoglobin
    "50811": ("g/dL", "g/L", 8636, 10),  # haemoglobin of a blood gas
    "50862": ("g/dL", "g/L", 8636, 10),  # albumin
    "51221": ("%", "L/L", 44777604, 0.01),  # haematocrit
    "51301": ("K/uL", "10*9/L", 9444, 1),  # leucocytes
    "51265": ("K/uL", "10*9/L", 9444, 1),  # platelets
    "51279": ("m/uL", "10*12/L", 8734, 1),  # erythrocytes
    "50878": ("IU/L", "U/L", 8645, 1),  # AST
}
base.execute("create table factors (item varchar, unit varchar, code varchar, concept bigint, factor double)")
base.executemany("insert into factors values (?, ?, ?, ?, ?)", [(item, *of) for item, of in factors.items()])
# All other numbers stay in the hospital's unit; here as UCUM writes it.
kept = {
    "%": ("%", 8554),
    "mg/dL": ("mg/dL", 8840),
    "g/dL": ("g/dL", 8713),
    "mEq/L": ("meq/L", 9557),
    "mmol/L": ("mmol/L", 8753),
    "umol/L": ("umol/L", 8749),
    "ng/mL": ("ng/mL", 8842),
    "ng/ml": ("ng/mL", 8842),
    "ug/mL": ("ug/mL", 8859),
    "ug/dL": ("ug/dL", 8837),
    "pg/mL": ("pg/mL", 8845),
    "IU/L": ("[IU]/L", 8923),
    "K/uL": ("10*3/uL", 8848),
    "mm Hg": ("mm[Hg]", 8876),
    "sec": ("s", 8555),
    "SECONDS": ("s", 8555),
    "fL": ("fL", 8583),
    "pg": ("pg", 8564),
    "#/hpf": ("/[HPF]", 8786),
}
base.execute("create table kept (unit varchar, code varchar, concept bigint)")
base.executemany("insert into kept values (?, ?, ?)", [(unit, *of) for unit, of in kept.items()])
# A result is the number that the hospital read from its own text, or one behind a comparison with nothing but a unit after it.
bound = "'^(<=|>=|<|>|LESS THAN|GREATER THAN) ?([0-9.]+)( NG/ML)?$'"
base.execute(
    "create view labs as select *, coalesce(valuenum, nullif(regexp_extract(value, " + bound + ", 2), ''))::double as number,"
    " coalesce(regexp_extract(value, " + bound + ", 1), '') as comparison from events"
)
# Codes of D_LABITEMS that nobody is to take: one with a wrong check digit, the shares and the counts of CD3 and CD8, which are
# exchanged, counts for what is measured in %, and a mass per volume in %.
wrong = ["51237", "51130", "51132", "51176", "51146", "51200", "51244", "51254", "51249"]
compare({
    "person": (
        "select gender, year(dob::timestamp), month(dob::timestamp), day(dob::timestamp), count(*) from patients group by all",
        "select gender_source_value, year_of_birth, month_of_birth, day_of_birth, count(*) from person group by all",
    ),
    "death": (
        "select dod::timestamp, count(*) from patients where dod is not null group by all",
        "select death_datetime, count(*) from death group by all",
    ),
    "visit_occurrence": (
        "select hadm_id, admission_type, admittime::timestamp, dischtime::date from admissions",
        "select hadm_id, visit_source_value, visit_start_datetime, visit_end_date from visit_occurrence",
    ),
    "observation_period": (
        "select min(day), max(day) from (select subject_id, unnest([admittime, dischtime])::date as day from admissions"
        " union all select subject_id, charttime::date from labs) group by subject_id",
        "select observation_period_start_date, observation_period_end_date from observation_period join person using (person_id)",
    ),
    "condition_occurrence": (
        "select d.icd9_code, d.hadm_id, a.admittime::date, count(*) from diagnoses d join admissions a using (hadm_id) group by all",
        "select c.condition_source_value, v.hadm_id, c.condition_start_date, count(*) from condition_occurrence c"
        " join visit_occurrence v using (visit_occurrence_id, person_id) group by all",
    ),
    "measurement": (
        "select itemid, valueuom, coalesce(f.code, k.code), coalesce(f.concept, k.concept),"
        " replace(replace(comparison, 'LESS THAN', '<'), 'GREATER THAN', '>'), count(*), count(number),"
        " round(sum(number * coalesce(factor, 1)), 4), round(min(number * coalesce(factor, 1)), 6),"
        " round(max(number * coalesce(factor, 1)), 6), min(charttime::timestamp), max(charttime::timestamp), count(hadm_id)"
        " from labs left join factors f on itemid = f.item and valueuom = f.unit left join kept k on valueuom = k.unit group by all",
        "select measurement_source_value, unit_source_value, if(listed, value_as_number_unit, null), if(listed, unit_concept_id, null),"
        " case operator_concept_id when 4171756 then '<' when 4171754 then '<=' when 4172704 then '>' when 4171755 then '>=' else '' end,"
        " count(*), count(value_as_number), round(sum(value_as_number), 4), round(min(value_as_number), 6),"
        " round(max(value_as_number), 6), min(measurement_datetime), max(measurement_datetime), count(visit_occurrence_id)"
        " from (select *, unit_source_value in (select unit from kept) or measurement_source_value in (select item from factors)"
        " as listed from measurement) group by all",
    ),
    "codes": (
        f"select itemid, loinc_code, count(*) from labs join items using (itemid) where itemid not in {tuple(wrong)}"
        " and loinc_code is not null group by all",
        "select measurement_source_value, loinc_code, count(*) from measurement where loinc_code is not null group by all",
    ),
    "source values": (
        "select row_id, value, valueuom from events",
        "select row_id, value_source_value, unit_source_value from measurement",
    ),
})
