#!/usr/bin/env bash
# Installs PyTorch into a virtual environment of its own, for compare.py alone: install.sh FOLDER
set -euo pipefail
folder=${1:?usage: install.sh FOLDER}
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet torch==2.15.0 numpy==2.4.6
"$folder/bin/python" -c 'import torch; print("PyTorch", torch.__version__, "in", __import__("sys").prefix)'
