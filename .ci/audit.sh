#!/usr/bin/env bash
# What `make audit` does, with the tools of the environment $1, for the packages of poetry.lock as .venv has them:
#   known vulnerabilities (pip-audit; with the advisories of PyPI; where they cannot be reached, it says so),
#   dist/licences.md: the licence of each package, and those with copyleft on standard output,
#   dist/sbom.cdx.json: a bill of materials in CycloneDX, which goes with a release.
# Ends with 1 if a package has a known vulnerability, or if that could not be asked.
set -euo pipefail
tools=$(cd "$1" && pwd)/bin
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p dist

"$tools/pip-licenses" --python .venv/bin/python --with-urls --format json >"$scratch/licences.json"
"$tools/python" - "$scratch" <<'PROGRAM'
import json, re, sys, tomllib
from pathlib import Path

scratch = Path(sys.argv[1])
COPYLEFT, UNKNOWN = re.compile("GPL|GNU|MPL|Mozilla|EPL|Eclipse"), "UNKNOWN"
packages = json.loads((scratch / "licences.json").read_text())
for package in packages:
    package["License"] = package["License"].strip().splitlines()[0]
heads = ["Name", "Version", "License", "URL"]
rows = [heads, ["---"] * len(heads), *([package[head] for head in heads] for package in packages)]
Path("dist/licences.md").write_text("".join(f"| {' | '.join(row)} |\n" for row in rows))
print(f"dist/licences.md: {len(packages)} packages; with copyleft, or without a licence in their metadata:")
for package in packages:
    if COPYLEFT.search(package["License"]) or package["License"] == UNKNOWN:
        print(f"  {package['Name']:24} {package['License']}")
# The bill of materials is about this project, which the tool cannot read from a file that has [tool.poetry] too.
project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
lines = [f"{name} = {json.dumps(project[name])}" for name in ("name", "version", "description", "license")]
(scratch / "pyproject.toml").write_text("\n".join(["[project]", *lines]))
PROGRAM

"$tools/cyclonedx-py" environment .venv/bin/python --pyproject "$scratch/pyproject.toml" --output-reproducible \
    --output-file dist/sbom.cdx.json 2>"$scratch/log" || { cat "$scratch/log" >&2; exit 2; }
"$tools/python" -c '
import json
facts = json.load(open("dist/sbom.cdx.json"))
print("dist/sbom.cdx.json: CycloneDX", facts["specVersion"] + ",", len(facts["components"]), "components")'

# A package may be locked in two versions for two Pythons, and a file of requirements takes one.
"$tools/python" - "$scratch" <<'PROGRAM'
import sys, tomllib
from pathlib import Path

files = {}
for package in tomllib.loads(Path("poetry.lock").read_text())["package"]:
    index = sum(package["name"] in names for names in files.values())
    files.setdefault(index, {})[package["name"]] = package["version"]
for index, names in files.items():
    lines = [f"{name}=={version}" for name, version in names.items()]
    Path(sys.argv[1], f"requirements{index}.txt").write_text("\n".join(lines))
PROGRAM
for requirements in "$scratch"/requirements*.txt; do
    "$tools/pip-audit" --requirement "$requirements" --no-deps --disable-pip --progress-spinner off --format json \
        >"${requirements%.txt}.found" 2>>"$scratch/log" || true # 1 where it found something, or nothing could be asked
done
"$tools/python" - "$scratch" <<'PROGRAM'
import json, sys
from pathlib import Path

# An index that keeps no advisories answers that it does not know a package, and pip-audit passes over that one.
checked, found, left_out = 0, [], []
for path in Path(sys.argv[1]).glob("*.found"):
    for package in json.loads(path.read_text() or "{}").get("dependencies", []):
        checked += "vulns" in package and "skip_reason" not in package
        left_out += [package["name"]] * ("skip_reason" in package)
        found += [(package["name"], package["version"], each["id"], each["fix_versions"]) for each in package.get("vulns", ())]
if not checked:
    sys.exit("NOT CHECKED for vulnerabilities: the advisories of PyPI cannot be reached from here")
print(f"vulnerabilities: {len(found)} known, in {checked} packages checked")
if left_out:
    print(f"  not checked, because PyPI does not know them: {', '.join(left_out)}")
for name, version, number, fixes in found:
    print(f"  {name} {version}: {number}, mended in {', '.join(fixes) or 'no version yet'}")
sys.exit(bool(found))
PROGRAM
