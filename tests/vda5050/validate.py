"""Validates messages of VDA 5050 against the published schemas: lines of "VERSION TOPIC JSON" on standard input.

An opinion that is not ours: crates/vda5050/tests/it/schema.rs checks the same with a checker of our own.
"""

import json
import pathlib
import re
import sys

from jsonschema import Draft202012Validator, FormatChecker


def load(path):
    text = path.read_text(encoding="utf-8")
    # As published, three schemas of 3.0.0 have commas before closing brackets, and the factsheet requires a name that it
    # does not define.
    text = re.sub(r",(\s*[}\]])", r"\1", text)
    text = text.replace('"mobileRobotKinematic"', '"mobileRobotKinematics"')
    return Draft202012Validator(json.loads(text), format_checker=FormatChecker())


def main():
    folder = pathlib.Path(sys.argv[1])
    validators, count, bad = {}, 0, 0
    for line in sys.stdin:
        version, topic, message = line.rstrip("\n").split(" ", 2)
        key = (version, topic)
        if key not in validators:
            validators[key] = load(folder / version / f"{topic}.schema")
        count += 1
        for error in validators[key].iter_errors(json.loads(message)):
            bad += 1
            print(f"{version} {topic}: {error.json_path}: {error.message}", file=sys.stderr)
    print(f"{count} messages, {bad} faults", file=sys.stderr)
    return 1 if bad or not count else 0


sys.exit(main())
