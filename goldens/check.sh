#!/bin/sh
# Makes every golden (or those named: ./check.sh tokenizers rl) again in a temporary folder and compares with the committed
# files: text and integers exactly, floating point within 1e-5. Environments with the requirements are made on first use;
# PYTHON names an interpreter that has them already, and goldens that it has not the packages of are left out, with a note.
here=$(dirname "$0")
if [ -n "$PYTHON" ]; then exec "$PYTHON" "$here/check.py" "$@"; fi
exec python3 "$here/environments.py" check "$@"
