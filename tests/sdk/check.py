"""OpenAI's Python SDK against a running Hoheit: what an outside developer has, no more and no less.

Takes `HOHEIT_URL` and the keys of pypi/world.py by environment and expects the models that
crates/hoheit/tests/it/sdk.rs registers; that test starts the site and runs this script. Prints `ok NAME` or
`FAILED NAME: why` for each case and ends with 1 if one failed. Names given as arguments choose cases.
"""

import sys
import traceback

sys.dont_write_bytecode = True

from pypi import answers, receipts, refusals


def why(error):
    """One line: what was wrong, and in which of our lines."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "/tests/sdk/" in frame.filename]
    place = " < ".join(f"{frame.filename.rsplit('/', 1)[1]}:{frame.lineno}" for frame in reversed(ours))
    return " ".join(f"{type(error).__name__}: {error} ({place})".split())


def main(wanted):
    failed = False
    for case in [*answers.CASES, *refusals.CASES, *receipts.CASES]:
        if wanted and case.__name__ not in wanted:
            continue
        try:
            case()
        except Exception as error:
            failed = True
            print(f"FAILED {case.__name__}: {why(error)}", flush=True)
        else:
            print(f"ok {case.__name__}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
