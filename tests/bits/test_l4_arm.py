"""Promise L4: ARM gives the bits of x86-64, as other compilers do (L3).

On ARM, test_l3_instruction_sets.py holds `neon` to the digests that x86-64 recorded. Elsewhere
results/bits.json says so: what tools/bits.py last found, with ARM emulated, which counts as long as
the recorded digests are the same. Nothing is built here.
"""

import hashlib
import json

from places import ROOT, TESTS

from fastbp._kernels import dispatch

DIGESTS = TESTS / "digests.json"
BUILDS = ROOT / "results" / "bits.json"


def test_other_builds_find_the_recorded_digests():
    found = json.loads(BUILDS.read_text())
    assert found["digests"] == hashlib.sha256(DIGESTS.read_bytes()).hexdigest()
    rows = found["tables"]["builds"]
    for row in rows:
        same, of, all_of_them = row["digests as recorded"].partition(" of ")
        assert of and same == all_of_them and row["tests passed"] and not row["failed"], row
        assert not row["warnings"], row
    for part in ("GCC", "Clang", "-O2", "-O3", "-Og", "x86_64", "aarch64"):
        assert any(part in row["build"] for row in rows), part
    assert {isa for row in rows for isa in row["variants"].split(", ")} == set(dispatch.ISAS) - {
        "generic", "relaxed"}       # tools/browser.py compares those of the latter
