"""A replay of PyBGPStream's high-level module; _pybgpstream documents what is replayed and how it is configured."""

from .pybgpstream import BGPElem, BGPRecord, BGPStream

__all__ = ["BGPElem", "BGPRecord", "BGPStream"]
