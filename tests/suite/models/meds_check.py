"""Reads an exported dataset with the validators of the package `meds`, and checks what they cannot see in one table."""
import glob
import json
import sys

import meds
import pyarrow as pa
import pyarrow.parquet as pq

root = sys.argv[1]
files = sorted(glob.glob(f"{root}/{meds.data_subdirectory}/**/*.parquet", recursive=True))
codes, split_of, events, static = set(), {}, 0, 0
for file in files:
    table = pq.read_table(file, partitioning=None)
    meds.DataSchema.validate(table)
    split, last, closed = file.split("/")[-2], None, set()
    for subject, time, code in zip(*(table[c].to_pylist() for c in ("subject_id", "time", "code"))):
        if last is None or last[0] != subject:
            assert subject not in closed and subject not in split_of, "a subject is contiguous, in one file"
            split_of[subject] = split
            if last is not None:
                closed.add(last[0])
            last = (subject, time)
        assert time is not None or last[1] is None, "what has no time comes first"
        assert last[1] is None or time >= last[1], "sorted by time"
        last = (subject, time)
        codes.add(code)
        events += 1
        static += time is None
metadata = pq.read_table(f"{root}/{meds.code_metadata_filepath}")
meds.CodeMetadataSchema.validate(metadata)
assert sorted(metadata["code"].to_pylist()) == sorted(codes), "every code, and each once"
splits = pq.read_table(f"{root}/{meds.subject_splits_filepath}")
meds.SubjectSplitSchema.validate(splits)
assert dict(zip(*(splits[c].to_pylist() for c in ("subject_id", "split")))) == split_of
about = json.load(open(f"{root}/{meds.dataset_metadata_filepath}"))
meds.DatasetMetadataSchema.validate(about)
print(json.dumps({"events": events, "static": static, "codes": sorted(codes), "subjects": len(split_of)}))
