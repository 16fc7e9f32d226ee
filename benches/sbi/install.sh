#!/usr/bin/env bash
# Installs sbi and PyTorch into a virtual environment of their own, for compare.py alone: install.sh FOLDER
set -euo pipefail
folder=${1:?usage: install.sh FOLDER}
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet torch==2.15.0 numpy==2.4.6 sbi==0.27.0
"$folder/bin/python" -c 'import sbi, torch; print("sbi", sbi.__version__, "PyTorch", torch.__version__)'
