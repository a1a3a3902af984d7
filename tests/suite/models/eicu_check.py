# The demo of eICU, counted again: rows, sums, minima and maxima per code and unit, with factors of its own: molar masses
# of IUPAC's abridged atomic weights, in g/mol. Runs behind recount.py.
read({"patients": "patient.csv", "diagnoses": "diagnosis.csv", "results": "lab.csv"})
factors = {
    "glucose": ("mmol/L", 10 / 180.156),
    "bedside glucose": ("mmol/L", 10 / 180.156),
    "creatinine": ("umol/L", 10_000 / 113.120),
    "calcium": ("mmol/L", 10 / 40.078),
    "magnesium": ("mmol/L", 10 / 24.305),
    "phosphate": ("mmol/L", 10 / 30.974),
    "total bilirubin": ("umol/L", 10_000 / 584.673),
    "Hgb": ("g/L", 10),
    "albumin": ("g/L", 10),
    "WBC x 1000": ("10*9/L", 1),
    "platelets x 1000": ("10*9/L", 1),
    "AST (SGOT)": ("U/L", 1),
}
base.execute("create table factors (test varchar, code varchar, factor double)")
base.executemany("insert into factors values (?, ?, ?)", [(test, *of) for test, of in factors.items()])
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
        "select labname, labmeasurenamesystem, code, comparison, count(*), count(number),"
        " round(sum(number * coalesce(factor, 1)), 4), round(min(number * coalesce(factor, 1)), 6),"
        " round(max(number * coalesce(factor, 1)), 6), min(resulted), max(resulted), count(distinct uniquepid)"
        " from labs left join factors on labname = test group by all",
        "select measurement_source_value, unit_source_value, if(code is null, null, unit_code),"
        " case operator_concept_id when 4171756 then '<' when 4172704 then '>' else '' end,"
        " count(*), count(value_as_number), round(sum(value_as_number), 4), round(min(value_as_number), 6),"
        " round(max(value_as_number), 6), min(measurement_datetime), max(measurement_datetime), count(distinct person_id)"
        " from measurement left join factors on measurement_source_value = test group by all",
    ),
    "source values": (
        "select labid, labresulttext, labmeasurenamesystem from results",
        "select lab_id, value_source_value, unit_source_value from measurement",
    ),
})
