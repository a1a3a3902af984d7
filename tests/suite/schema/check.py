"""Where the files named after a JSON Schema do not fit it: a list of places for each; null for a file that is no YAML."""

import json
import sys

from jsonschema import Draft202012Validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

schema, *files = sys.argv[1:]
with open(schema, encoding="utf-8") as file:
    schema = json.load(file)
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)


def places(file):
    # YAML 1.2, as the language server of editors reads it.
    try:
        with open(file, encoding="utf-8") as text:
            document = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        return None
    return sorted({"/" + "/".join(map(str, error.absolute_path)) for error in validator.iter_errors(document)})


print(json.dumps({file: places(file) for file in files}))
