"""What all tests share: how properties are searched.

The same examples every time, so that a test run says something about the change and not about the dice;
``make fuzz`` throws them anew.
"""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, print_blob=True)
settings.register_profile("fuzz", derandomize=False, print_blob=True)
settings.load_profile("repeatable")
