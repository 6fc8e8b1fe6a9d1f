"""Model, loss and checkpoints (needs the extra ``train``)."""

import os

# Both are read when ultralytics is imported: it must not install packages or reach the network.
os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("YOLO_OFFLINE", "true")
