#!/bin/sh
# Re-makes every golden (or those named: ./check.sh tokenizers rl) in a temporary folder and compares with the committed
# files: text and integers exactly, floating point within 1e-5 relative and absolute. PYTHON names the interpreter.
exec "${PYTHON:-python3}" "$(dirname "$0")/check.py" "$@"
