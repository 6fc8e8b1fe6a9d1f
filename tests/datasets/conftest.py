from hypothesis import HealthCheck, settings

# A long run: pytest tests/datasets/test_fuzz.py --hypothesis-profile=fuzz
settings.register_profile(
    "fuzz",
    max_examples=4_000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
