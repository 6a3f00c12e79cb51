"""Print the branch coverage of what an instrument relies on; exit 1 where it is below 95 %.

Reads the file that ``pytest --cov`` has left. Lines alone do not count here: the branch that no test takes is the one
that an instrument takes first.
"""

import json
import subprocess
import sys

PACKAGES = ("estimation", "alignment", "instrument", "simulator")
LEAST = 95.0

report = subprocess.run(["coverage", "json", "-q", "-o", "-"], check=True, capture_output=True).stdout
taken, there = dict.fromkeys(PACKAGES, 0), dict.fromkeys(PACKAGES, 0)
for path, file in json.loads(report)["files"].items():
    for package in PACKAGES:
        if f"stedalign/{package}/" in path:
            taken[package] += file["summary"]["covered_branches"]
            there[package] += file["summary"]["num_branches"]
for package in PACKAGES:
    print(f"{package:<12}{taken[package]:>5} of {there[package]:>4} branches")
percent = 100 * sum(taken.values()) / sum(there.values())
print(f"branch coverage {percent:.1f} %, at least {LEAST:g} % is asked for")
sys.exit(percent < LEAST)
