"""Asks a real validator whether files of TOML keep a JSON schema.

usage: schema.py CASES

CASES holds one JSON object a line: schema (a file), file (of TOML), valid. A file for which the validator says other than
`valid` is printed with what it said, and the exit status is 1.
"""

import json
import sys
import tomllib

import jsonschema


def main(path):
    validators, wrong, count = {}, 0, 0
    for line in open(path, encoding="utf-8"):
        case = json.loads(line)
        if case["schema"] not in validators:
            schema = json.load(open(case["schema"], encoding="utf-8"))
            jsonschema.Draft7Validator.check_schema(schema)
            validators[case["schema"]] = jsonschema.Draft7Validator(schema)
        document = tomllib.load(open(case["file"], "rb"))
        said = [error.message for error in validators[case["schema"]].iter_errors(document)]
        count += 1
        if (not said) != case["valid"]:
            wrong += 1
            print(f"{case['file']}: {'refused: ' + '; '.join(said) if said else 'accepted'}")
    print(f"{count} files, {wrong} wrong")
    sys.exit(1 if wrong else 0)


main(sys.argv[1])
