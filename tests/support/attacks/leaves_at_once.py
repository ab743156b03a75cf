"""Ends without Python's farewell."""

import os

os._exit(0)
