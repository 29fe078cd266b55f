#!/usr/bin/env bash
# The base package in an empty environment of each interpreter given (python3.11 /path/to/python3.13 ...; without any, of
# the oldest and the newest from 3.11 to 3.14 that PATH or pyenv has): the wheel is built and installed there alone, then `kws infer` and the class
# KeywordSpotter answer for a clip that is made here, with a tiny model that needs no training.
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

interpreters=("$@")
if [ $# -eq 0 ]; then
    for version in 3.11 3.12 3.13 3.14; do
        for name in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
            if "$name" -c 'import ensurepip, venv' 2>/dev/null; then
                interpreters+=("$name")
                break
            fi
        done
    done
    if [ "${#interpreters[@]}" -gt 2 ]; then interpreters=("${interpreters[0]}" "${interpreters[-1]}"); fi
fi
if [ "${#interpreters[@]}" -eq 0 ]; then
    echo "error: expected an interpreter, found none from 3.11 to 3.14: name one" >&2
    exit 1
fi

# The project's environment writes the model, since ONNX is no base package.
project_python="$repository/.venv/bin/python"
[ -x "$project_python" ] || project_python=python3
PYTHONPATH="$repository/tests:$repository" "$project_python" - "$scratch" <<'PROGRAM'
import sys
from pathlib import Path

import soundfile
from conftest import SAMPLE_RATE, build_tiny_onnx, burst

folder = Path(sys.argv[1])
build_tiny_onnx(folder / "model.onnx")
soundfile.write(folder / "yes.wav", burst("yes"), SAMPLE_RATE)
PROGRAM

cd "$scratch"
unset PYTHONPATH
for interpreter in "${interpreters[@]}"; do
    environment="$scratch/environment"
    "$interpreter" -m venv --clear "$environment"
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check "$repository"
    answer=$("$environment/bin/kws" infer yes.wav model=model.onnx format=csv top_k=1)
    case "$answer" in
        *yes.wav*,yes,*) ;;
        *)
            echo "error: $interpreter: expected \`kws infer\` to name yes, got: $answer" >&2
            exit 1
            ;;
    esac
    # Hydra and rich are the commands': the class answers without them.
    "$environment/bin/python" -m pip uninstall --quiet --yes hydra-core omegaconf rich
    answer=$("$environment/bin/python" -c "
from speech_commands_kws import KeywordSpotter
print(KeywordSpotter('model.onnx')('yes.wav')[0].keywords[0].label)")
    if [ "$answer" != yes ]; then
        echo "error: $interpreter: expected KeywordSpotter to name yes, got: $answer" >&2
        exit 1
    fi
    echo "$("$environment/bin/python" --version): kws infer and KeywordSpotter answer"
done
