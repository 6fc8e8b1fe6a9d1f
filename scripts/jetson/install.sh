#!/usr/bin/env bash
# Install deal-yolo for TensorRT on a Jetson with JetPack 6.1 or later, into /opt/deal-yolo.
# Run it from a checkout of the repository. Not yet run on the device.
set -euo pipefail

[[ $(uname -m) == aarch64 ]] || { echo "this is no Jetson" >&2; exit 2; }
[[ $EUID == 0 ]] || { echo "run with sudo" >&2; exit 2; }

apt-get update
apt-get install -y python3-venv python3-libnvinfer libnvinfer-bin python3-opencv \
  gstreamer1.0-tools gstreamer1.0-plugins-good gstreamer1.0-plugins-bad

cuda=$(sed -n 's/.*"version" *: *"\([0-9]*\)\..*/\1/p' /usr/local/cuda/version.json | head -1)
python3 -m venv --system-site-packages /opt/deal-yolo
# The system's OpenCV is built for NumPy 1.
checkout=$(cd "$(dirname "$0")/../.." && pwd)
/opt/deal-yolo/bin/pip install "${checkout}[jetson]" "cuda-python==${cuda:-12}.*" "numpy<2"
# The OpenCV of the system, which has GStreamer, in the place of PyPI's, which has not.
/opt/deal-yolo/bin/pip uninstall -y opencv-python
install -D -m 755 "$(dirname "$0")/start.sh" /opt/deal-yolo/share/start.sh
/opt/deal-yolo/bin/python -c 'import cv2, tensorrt; print("OpenCV", cv2.__version__, "TensorRT", tensorrt.__version__)'
