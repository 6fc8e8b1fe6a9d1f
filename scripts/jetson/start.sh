#!/usr/bin/env bash
# What the systemd unit runs: predict into a new folder, so that a start overwrites nothing.
set -euo pipefail
exec /opt/deal-yolo/bin/deal-yolo predict "$DEAL_YOLO_SOURCE" --weights "$DEAL_YOLO_WEIGHTS" \
  --out "$DEAL_YOLO_OUT/$(date -u +%Y%m%dT%H%M%SZ)" --save "${DEAL_YOLO_SAVE:-csv}"
