"""DEAL-YOLO: an end-to-end detector of small animals in drone images.

Importing this package loads none of its heavy dependencies; import what you need from its
modules, for example ``from deal_yolo.infer.detector import load_detector``.
"""

__version__ = "0.1.0"
