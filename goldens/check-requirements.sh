#!/bin/sh
# Every requirements file resolves in a fresh environment (Python 3.11; nothing big is downloaded).
exec "${PYTHON:-python3}" "$(dirname "$0")/environments.py" resolve
