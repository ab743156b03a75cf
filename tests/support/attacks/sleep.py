"""Sleeps for ever."""

import time

time.sleep(600)
