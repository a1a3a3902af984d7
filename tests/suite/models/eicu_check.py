# The demo of eICU, counted again: rows, sums, minima and maxima per code and unit, with factors of its own: molar masses
# of IUPAC's abridged atomic weights, in g/mol. Runs behind recount.py.
read({"patients": "patient.csv", "diagnoses": "diagnosis.csv", "results": "lab.csv"})
mass, grams = ["mg/dL", "mg/dl", "MG/DL"], ["g/dL", "g/dl", "G/dL", "G/DL", "gm/dL", "GM/DL"]
thousands = ["K/uL", "k/uL", "K/mcL", "K/mm3", "k/mm3", "K/MM3", "k/MM3", "k/mm cu", "K/cmm", "K/CMM", "TH/uL", "th/uL", "TH/cmm"]
thousands += ["THOU/UL", "thou/cumm", "10*3/uL", "10E3/mcL", "10(3)/mcL", "10(3)mcL", "x10 3/uL"]
units = ["U/L", "u/l", "IU/L", "Units/L", "unit/L"]
# By test: the unit that is published, its concept, and by the spellings of the hospitals what a number is multiplied with.
factors = {
    "glucose": ("mmol/L", 8753, [(mass, 10 / 180.156)]),
    "bedside glucose": ("mmol/L", 8753, [(mass, 10 / 180.156)]),
    "creatinine": ("umol/L", 8749, [(mass, 10_000 / 113.120)]),
    "calcium": ("mmol/L", 8753, [(mass, 10 / 40.078)]),
    # Most is in moles, though the system's unit is mg/dL, into which labresult was converted.
    "ionized calcium": ("mmol/L", 8753, [(["mmol/L"], 1), (mass, 10 / 40.078)]),
    "magnesium": ("mmol/L", 8753, [(mass, 10 / 24.305), (["meq/L"], 0.5)]),
    "phosphate": ("mmol/L", 8753, [(mass, 10 / 30.974)]),
    "total bilirubin": ("umol/L", 8749, [(mass, 10_000 / 584.673)]),
    "CRP": ("mg/L", 8751, [(["mg/L"], 1), (mass, 10)]),
    "Hgb": ("g/L", 8636, [(grams, 10)]),
    "albumin": ("g/L", 8636, [(grams, 10)]),
    "WBC x 1000": ("10*9/L", 9444, [(thousands, 1)]),
    "platelets x 1000": ("10*9/L", 9444, [(thousands, 1)]),
    "AST (SGOT)": ("U/L", 8645, [(units, 1)]),
}
base.execute("create table factors (test varchar, unit varchar, code varchar, concept bigint, factor double)")
for test, (code, concept, spelled) in factors.items():
    rows = [(test, unit, code, concept, factor) for spellings, factor in spelled for unit in spellings]
    base.executemany("insert into factors values (?, ?, ?, ?, ?)", rows)
# Minutes are counted from the admission to the unit, of which the year and the time of day are told.
base.execute(
    "create view stays as select *, (hospitaldischargeyear || '-01-01 ' || unitadmittime24)::timestamp as admitted from patients"
)
# A result is a number, or one behind a comparison.
base.execute(
    "create view labs as select r.*, regexp_extract(trim(labresulttext), '^([<>]?)(-?[0-9.]+)$', 2)::double as number,"
    " regexp_extract(trim(labresulttext), '^([<>]?)', 1) as comparison,"
    " s.admitted + labresultoffset::int * interval 1 minute as resulted, s.uniquepid"
    " from results r join stays s using (patientunitstayid)"
)
compare({
    "person": (
        "select max(gender), max(hospitaldischargeyear::int - replace(age, '> 89', '90')::int) from patients group by uniquepid",
        "select gender_source_value, year_of_birth from person",
    ),
    "visit_occurrence": (
        "select patientunitstayid, unittype, admitted, (admitted + unitdischargeoffset::int * interval 1 minute)::date from stays",
        "select stay, visit_source_value, visit_start_datetime, visit_end_date from visit_occurrence",
    ),
    "persons of visits": (
        "select list_sort(list(patientunitstayid)) from patients group by uniquepid",
        "select list_sort(list(stay)) from visit_occurrence join person using (person_id) group by person_id",
    ),
    "observation_period": (
        "select min(day), max(day) from (select uniquepid, unnest([admitted, admitted + unitdischargeoffset::int"
        " * interval 1 minute])::date as day from stays"
        " union all select uniquepid, (admitted + diagnosisoffset::int * interval 1 minute)::date"
        " from diagnoses join stays using (patientunitstayid)"
        " union all select uniquepid, resulted::date from labs) group by uniquepid",
        "select observation_period_start_date, observation_period_end_date from observation_period join person using (person_id)",
    ),
    "condition_occurrence": (
        "select coalesce(nullif(trim(split_part(icd9code, ',', 1)), ''), diagnosisstring), patientunitstayid,"
        " (admitted + diagnosisoffset::int * interval 1 minute)::date, count(*)"
        " from diagnoses join stays using (patientunitstayid) group by all",
        "select c.condition_source_value, v.stay, c.condition_start_date, count(*) from condition_occurrence c"
        " join visit_occurrence v using (visit_occurrence_id, person_id) group by all",
    ),
    "measurement": (
        "select labname, labmeasurenameinterface, code, concept, comparison, count(*), count(number),"
        " round(sum(number * coalesce(factor, 1)), 4), round(min(number * coalesce(factor, 1)), 6),"
        " round(max(number * coalesce(factor, 1)), 6), min(resulted), max(resulted), count(distinct uniquepid)"
        " from labs left join factors on labname = test and labmeasurenameinterface = unit group by all",
        # A unit that nobody can tell, such as "x10 (3)" without a volume, has no code and the concept 0.
        "select measurement_source_value, unit_source_value, if(listed, unit_code, null), if(listed, nullif(unit_concept_id, 0), null),"
        " case operator_concept_id when 4171756 then '<' when 4172704 then '>' else '' end,"
        " count(*), count(value_as_number), round(sum(value_as_number), 4), round(min(value_as_number), 6),"
        " round(max(value_as_number), 6), min(measurement_datetime), max(measurement_datetime), count(distinct person_id)"
        " from (select *, measurement_source_value in (select test from factors) as listed from measurement) group by all",
    ),
    "source values": (
        "select labid, labresulttext, labmeasurenameinterface from results",
        "select lab_id, value_source_value, unit_source_value from measurement",
    ),
})
