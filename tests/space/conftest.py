"""Settings of the property tests."""

from hypothesis import settings

# A machine may be busy: how long an example takes says nothing.
settings.register_profile("space", deadline=None)
settings.load_profile("space")
