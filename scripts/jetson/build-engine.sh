#!/usr/bin/env bash
# Build MODEL.engine from MODEL.onnx for this device: build-engine.sh MODEL.onnx [SIDE_PX] [BATCH]
# The size is that of the metadata in MODEL.engine.json unless given. Not yet run on the device.
set -euo pipefail

onnx=${1:?usage: build-engine.sh MODEL.onnx [SIDE_PX] [BATCH]}
engine=${onnx%.onnx}.engine
[[ -f $engine.json ]] || { echo "copy $engine.json beside $onnx: export writes both" >&2; exit 2; }
side=${2:-$(python3 -c 'import json,sys; print(json.loads(json.load(open(sys.argv[1]))["deal_yolo"])["imgsz"])' "$engine.json")}
batch=${3:-8}

PATH=$PATH:/usr/src/tensorrt/bin
trtexec --onnx="$onnx" --saveEngine="$engine" --stronglyTyped \
  --minShapes=images:1x3x"$side"x"$side" --optShapes=images:1x3x"$side"x"$side" \
  --maxShapes=images:"$batch"x3x"$side"x"$side" \
  --memPoolSize=workspace:1024 --timingCacheFile="${onnx%.onnx}.timing"
