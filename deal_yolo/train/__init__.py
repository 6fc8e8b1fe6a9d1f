"""Training through ultralytics' engine (needs the extra ``train``)."""
