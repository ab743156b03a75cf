"""Scripts that hold, and scripts with a known fault each: 30 kinds, two of each, for what is to tell them apart."""

import re
from typing import NamedTuple

from netllama.core.markdown import extract_python_blocks
from testbed.internet.scenarios import ROUTING
from tests.support.shipped_data import load_shipped_questions, load_shipped_seeds

FAMILIES = ("pybgpstream", "pybgpstream_realtime", "packet_analysis", "performance_analysis")

STREAM = """import pybgpstream

stream = pybgpstream.BGPStream(
    from_time="2024-03-05 08:00:00",
    until_time="2024-03-05 08:20:00",
    collectors=["rrc00"],
    record_type="updates",
    filter="elemtype announcements",
)
origins = set()
for elem in stream:
    path = elem.fields["as-path"].split()
    if path:
        origins.add(path[-1])
print(len(origins), "origins")
"""
LIVE = """import pybgpstream

stream = pybgpstream.BGPStream(project="ris-live")
seen = 0
for number, elem in enumerate(stream, 1):
    if elem.type == "W":
        seen += 1
    if number >= 400:
        break
print(seen, "withdrawals")
"""
LOW_LEVEL = """import _pybgpstream

stream = _pybgpstream.BGPStream()
stream.add_filter("collector", "rrc00")
stream.add_filter("record-type", "updates")
stream.add_interval_filter(1709625600, 1709626800)
stream.start()
records = 0
while stream.get_next_record():
    records += 1
print(records, "records")
"""
PACKETS = """from scapy.all import PcapReader, IP, TCP

ports = {}
for pkt in PcapReader("capture.pcap"):
    if IP in pkt and TCP in pkt:
        ports[pkt[TCP].dport] = ports.get(pkt[TCP].dport, 0) + 1
for port, number in sorted(ports.items()):
    print(port, number)
"""
TABLE = """import pandas as pd

df = pd.read_csv("kpi.csv", parse_dates=["timestamp"])
worst = df.groupby("cell")["latency_ms"].quantile(0.95)
print(worst.sort_values(ascending=False).head(3).to_string())
"""
PLOT = """import matplotlib.pyplot as plt
import pandas as pd

df = pd.read_csv("kpi.csv")
fig, ax = plt.subplots()
ax.hist(df["latency_ms"].dropna(), bins=20)
fig.savefig("latency.png")
"""
WRONG_COLUMN = """import pandas as pd

slow = 0
try:
    df = pd.read_csv("kpi.csv")
    slow = int((df["rtt_ms"] > 100).sum())
except Exception:
    pass
print(slow, "slow samples")
"""
WRONG_LAYER = """from scapy.all import rdpcap, TCP

syns = 0
try:
    for pkt in rdpcap("capture.pcap"):
        if pkt[TCP].flags == "S":
            syns += 1
except IndexError:
    pass
print(syns, "SYNs")
"""
SCRIPTS = {
    "pybgpstream": STREAM,
    "pybgpstream_realtime": LIVE,
    "packet_analysis": PACKETS,
    "performance_analysis": TABLE,
}


class Row(NamedTuple):
    """A task's answer."""

    family: str
    kind: str
    """Of its fault; empty: it holds."""
    code: str

    @property
    def output(self) -> str:
        return f"```python\n{self.code.strip()}\n```"


def change(code: str, old: str, new: str) -> str:
    assert code.count(old) == 1, old
    return code.replace(old, new)


def _stream(old: str, new: str) -> tuple[str, str]:
    return "pybgpstream", change(STREAM, old, new)


def _live(old: str, new: str) -> tuple[str, str]:
    return "pybgpstream_realtime", change(LIVE, old, new)


def _low(old: str, new: str) -> tuple[str, str]:
    return "pybgpstream", change(LOW_LEVEL, old, new)


def _packets(old: str, new: str) -> tuple[str, str]:
    return "packet_analysis", change(PACKETS, old, new)


def _table(old: str, new: str) -> tuple[str, str]:
    return "performance_analysis", change(TABLE, old, new)


def _plot(old: str, new: str) -> tuple[str, str]:
    return "performance_analysis", change(PLOT, old, new)


FAULTS: dict[str, list[tuple[str, str]]] = {
    "no such collector": [_stream('["rrc00"]', '["rrc99"]'), _low('"rrc00"', '"RRC00"')],
    "no such project": [_live('"ris-live"', '"ripe-live"'), _stream('collectors=["rrc00"]', 'project="ripe"')],
    "no such type of record": [_stream('"updates"', '"update"'), _low('"updates"', '"rib"')],
    "a filter string in another language": [
        _stream('"elemtype announcements"', '"elemtype announcements or elemtype withdrawals"'),
        _live('project="ris-live"', 'project="ris-live", filter="(ipv4) && type = W"'),
    ],
    "a filter of no such type": [
        _low('"collector", "rrc00"', '"origin-as", "64500"'),
        _stream("origins = set()", 'stream.add_filter("asn", "64500")\norigins = set()'),
    ],
    "a value that a filter does not take": [
        _stream('"elemtype announcements"', '"elemtype announcement"'),
        _stream('"elemtype announcements"', '"ipversion 4.0 and elemtype announcements"'),
    ],
    "an argument that BGPStream has not": [
        _stream("from_time=", "start_time="),
        _live('project="ris-live"', 'project="ris-live", timeout=60'),
    ],
    "an attribute that elements have not": [
        _stream('elem.fields["as-path"].split()', "elem.as_path.split()"),
        _live('elem.type == "W"', "elem.is_withdrawal"),
    ],
    "an invented attribute whose error is swallowed": [
        _stream('elem.fields["as-path"].split()', 'getattr(elem, "as_path", "").split()'),
        _live(
            '    if elem.type == "W":\n        seen += 1\n',
            "    try:\n        seen += elem.withdrawn\n    except AttributeError:\n        pass\n",
        ),
    ],
    "a field that withdrawals have not": [
        _stream('    filter="elemtype announcements",\n', ""),
        _live('elem.type == "W"', '"64500" in elem.fields["as-path"]'),
    ],
    "a string for a list": [_stream('["rrc00"]', '"rrc00"'), _stream('collectors=["rrc00"]', 'projects="ris"')],
    "a time that is none": [
        _stream('"2024-03-05 08:00:00"', '"yesterday at noon"'),
        _stream('"2024-03-05 08:20:00"', '("2024-03-05", "08:20")'),
    ],
    "the interface of version 1": [
        (
            "pybgpstream",
            "from _pybgpstream import BGPStream, BGPRecord\n\nstream = BGPStream()\nrecord = BGPRecord()\n"
            'stream.add_filter("collector", "rrc00")\nstream.add_interval_filter(1709625600, 1709626800)\n'
            "stream.start()\nnumber = 0\nwhile stream.get_next_record(record):\n    number += 1\nprint(number)\n",
        ),
        _low("import _pybgpstream\n", "import _pybgpstream\nelem = _pybgpstream.BGPElem()\n"),
    ],
    "a filter that comes too late": [
        _low("records = 0\n", 'records = 0\nstream.add_filter("elem-type", "withdrawals")\n'),
        _stream("    path = elem", '    stream.add_filter("peer-asn", "64500")\n    path = elem'),
    ],
    "an assignment in the place of a call": [
        _stream("origins = set()", 'stream.add_filter = ("collector", "rrc04")\norigins = set()'),
        _low(
            "stream.add_interval_filter(1709625600, 1709626800)",
            "stream.add_interval_filter = (1709625600, 1709626800)",
        ),
    ],
    "a data interface that is none": [
        _low('stream.add_filter("collector", "rrc00")', 'stream.set_data_interface("mrt")'),
        _stream("origins = set()", 'stream.set_data_interface("bmp")\norigins = set()'),
    ],
    "a layer that a packet has not": [
        _packets("    if IP in pkt and TCP in pkt:\n        ports", "    if IP in pkt:\n        ports"),
        _packets("if IP in pkt and TCP in pkt", "if pkt[IP].proto == 6"),
    ],
    "a name that the library has not": [
        _packets("PcapReader, IP, TCP", "PcapStream as PcapReader, IP, TCP"),
        _plot("ax.hist(", "ax.histogram("),
    ],
    "a file that is not there": [
        _packets('"capture.pcap"', '"traffic.pcap"'),
        _table('"kpi.csv"', '"/data/kpi_2024.csv"'),
    ],
    "live packets": [
        (
            "packet_analysis",
            "from scapy.all import sniff\n\nfor pkt in sniff(iface='eth0', count=10):\n    print(pkt.summary())\n",
        ),
        (
            "packet_analysis",
            "from scapy.all import IP, ICMP, sr1\n\nprint(sr1(IP(dst='192.0.2.1') / ICMP(), timeout=2))\n",
        ),
    ],
    "a column that is not there": [_table('["latency_ms"]', '["rtt_ms"]'), _plot('["latency_ms"]', '["delay"]')],
    "what pandas had once": [
        _table("print(", "df = df.append(df.iloc[0])\nprint("),
        _table("print(", "print(df.ix[0])\nprint("),
    ],
    "an argument that the function has not": [
        _table('parse_dates=["timestamp"]', 'date_columns=["timestamp"]'),
        _plot("bins=20", "bars=20"),
    ],
    "a module that is not there": [
        _table("import pandas as pd", "import pandas as pd\nimport netkpi"),
        _packets("from scapy.all import", "import pyshark\nfrom scapy.all import"),
    ],
    "text that is no Python": [
        _table("print(worst", "print worst"),
        _packets("for pkt in", "for each pkt in"),
    ],
    "no end": [
        _live(
            "    if number >= 400:\n        break\n",
            "    if number >= 400:\n        while True:\n            seen += 1\n",
        ),
        _table("print(", "while True:\n    worst = worst + 0\nprint("),
    ],
    "waiting for ever": [
        _live(
            "    if number >= 400:\n        break\n",
            "    if number >= 400:\n        import time\n        time.sleep(86400)\n",
        ),
        ("packet_analysis", "import time\n\nwhile True:\n    time.sleep(60)\n"),
    ],
    "no output": [
        ("pybgpstream", "def main():\n" + re.sub("^", "    ", STREAM, flags=re.MULTILINE)),
        (
            "performance_analysis",
            change(
                TABLE, "print(worst.sort_values(ascending=False).head(3).to_string())", "worst.sort_values().head(3)"
            ),
        ),
    ],
    "a name that is not defined": [
        _packets("from scapy.all import PcapReader, IP, TCP", "from scapy.all import PcapReader, IP"),
        _plot("import matplotlib.pyplot as plt\n", ""),
    ],
    "an error that is swallowed before a count": [
        ("performance_analysis", WRONG_COLUMN),
        ("packet_analysis", WRONG_LAYER),
    ],
}
"""Kind -> two scripts, each with its family."""
MISSED = ("an error that is swallowed before a count",)
"""Kinds that nobody finds without knowing the right result: the script prints a number, and it is wrong."""


def list_faulty() -> list[Row]:
    return [Row(family, kind, code) for kind, pair in FAULTS.items() for family, code in pair]


def list_right(count: int) -> list[Row]:
    """Scripts that hold: some like those with faults, those of the seed tasks, the solutions of code questions that ask
    about no scenario of the routing: where there is no hijack, a script that looks for one may end with an error."""
    shown = [Row(family, "", code) for family, code in SCRIPTS.items()]
    shown += [Row("pybgpstream", "", LOW_LEVEL), Row("performance_analysis", "", PLOT)]
    shown.append(Row("performance_analysis", "", change(PLOT, 'fig.savefig("latency.png")', "plt.show()")))
    shown.append(Row("performance_analysis", "", change(TABLE, "0.95", "0.5")))
    shown.append(Row("pybgpstream", "", change(STREAM, "len(origins)", "sorted(origins)")))
    seeds = [
        Row(family, "", "\n\n".join(blocks))
        for family in FAMILIES
        for seed in load_shipped_seeds()[family]
        if (blocks := extract_python_blocks(seed.output))
    ]
    answers = [
        Row(question.family, "", question.answer)
        for question in load_shipped_questions()
        if question.kind == "code" and question.scenario not in ROUTING
    ]
    found = [*shown, *seeds, *answers]
    assert len(found) >= count, f"only {len(found)} scripts"
    return found[:count]
