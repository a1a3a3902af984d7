# The demo of MIMIC-III, counted again: rows, sums, minima and maxima per code and unit. Runs behind recount.py.
read({
    "patients": "PATIENTS.csv",
    "admissions": "ADMISSIONS.csv",
    "diagnoses": "DIAGNOSES_ICD.csv",
    "labs": "LABEVENTS.csv.gz",
})
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
        "select itemid, valueuom, count(*), count(valuenum), round(sum(valuenum::double), 6), min(valuenum::double),"
        " max(valuenum::double), min(charttime::timestamp), max(charttime::timestamp), count(hadm_id) from labs group by all",
        "select measurement_source_value, unit_source_value, count(*), count(value_as_number), round(sum(value_as_number), 6),"
        " min(value_as_number), max(value_as_number), min(measurement_datetime), max(measurement_datetime),"
        " count(visit_occurrence_id) from measurement group by all",
    ),
})
