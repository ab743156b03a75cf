"""Short scripts that run on every network, and the faults that can be put into them.

In the text of a script, `@name@` stands for a value that is drawn. A mutation replaces a text that occurs once. easy:
the script does not start; medium: it misuses a library or names what is not there; hard: it runs, and its result is
wrong.
"""

from dataclasses import dataclass
from typing import NamedTuple

from testbed.tasks.task_records import Level


class Mutation(NamedTuple):
    level: Level
    right: str
    wrong: str


@dataclass(frozen=True)
class RepairScript:
    name: str
    scenario: str
    goal: str
    """What follows `This script should`."""
    numbers: dict[str, tuple[range, str]]
    """Values of which each side has its own: where they come from, and how they are written."""
    words: dict[str, tuple[str, ...]]
    text: str
    mutations: tuple[Mutation, ...]


_COLLECTORS = ("rrc00", "rrc04", "route-views.sg", "route-views2")
_MINUTES = (range(6, 60), "02d")
_NO_JSON = Mutation("easy", "import json\n", "")
_NO_COLON = Mutation("easy", '"w") as file:', '"w") as file')

SCRIPTS = (
    RepairScript(
        name="peer_counts",
        scenario="mixed",
        goal="count the @kind@ of each peer AS that @collector@ recorded from 08:00 to 08:@minutes@ UTC on 2024-03-05, "
        "and write result.json: AS number as a string -> count",
        numbers={"minutes": _MINUTES},
        words={"collector": _COLLECTORS, "kind": ("announcements", "withdrawals")},
        text="""import json
from collections import Counter
import pybgpstream

stream = pybgpstream.BGPStream(
    from_time="2024-03-05 08:00:00",
    until_time="2024-03-05 08:@minutes@:00",
    collectors=["@collector@"],
    record_types=["updates"],
    filter="elemtype @kind@",
)
counts = Counter(str(elem.peer_asn) for elem in stream)
with open("result.json", "w") as file:
    json.dump(counts, file)
""",
        mutations=(
            _NO_JSON,
            _NO_COLON,
            Mutation("easy", 'collectors=["@collector@"],', 'collectors=["@collector@"]'),
            Mutation("easy", "import pybgpstream\n", "import bgpstream\n"),
            Mutation("medium", "elem.peer_asn", "elem.peer_as"),
            Mutation("medium", "until_time=", "end_time="),
            Mutation("medium", 'filter="elemtype @kind@"', 'filter="type @kind@"'),
            Mutation("medium", 'collectors=["@collector@"]', 'collectors="@collector@"'),
            Mutation("hard", "elem.peer_asn", "elem.type"),
            Mutation("hard", '"elemtype @kind@"', '"elemtype announcements withdrawals"'),
            Mutation("hard", "elem.peer_asn", "elem.peer_address"),
        ),
    ),
    RepairScript(
        name="origin_counts",
        scenario="mixed",
        goal="find the @top@ origin ASes with most announcements at @collector@ from 08:00 to 08:@minutes@ UTC on "
        "2024-03-05 (ties: the smaller number as text first), and write result.json: a list of [AS as a string, count]",
        numbers={"minutes": _MINUTES, "top": (range(3, 30), "d")},
        words={"collector": _COLLECTORS},
        text="""import json
from collections import Counter
import pybgpstream

stream = pybgpstream.BGPStream(
    from_time="2024-03-05 08:00:00",
    until_time="2024-03-05 08:@minutes@:00",
    collectors=["@collector@"],
    filter="elemtype announcements",
)
counts = Counter(elem.fields["as-path"].split()[-1] for elem in stream)
ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
with open("result.json", "w") as file:
    json.dump(ranked[:@top@], file)
""",
        mutations=(
            _NO_JSON,
            _NO_COLON,
            Mutation("easy", "from collections import Counter\n", ""),
            Mutation("easy", "(-pair[1], pair[0]))", "(-pair[1], pair[0])"),
            Mutation("medium", 'elem.fields["as-path"]', 'elem.fields["aspath"]'),
            Mutation("medium", 'elem.fields["as-path"]', "elem.as_path"),
            Mutation("medium", '"elemtype announcements"', '"elemtype announcement"'),
            Mutation("medium", "from_time=", "start_time="),
            Mutation("hard", "split()[-1]", "split()[0]"),
            Mutation("hard", "(-pair[1], pair[0])", "(pair[1], pair[0])"),
            Mutation("hard", 'elem.fields["as-path"].split()[-1]', 'elem.fields["as-path"]'),
        ),
    ),
    RepairScript(
        name="table_sizes",
        scenario="everyday",
        goal="count the distinct IPv@version@ prefixes in the RIB dump of @collector@ (2024-03-05, 08:00 UTC) for each "
        "peer address that has at least @least@, and write result.json: address -> count",
        numbers={"least": (range(2, 40), "d")},
        words={"collector": ("rrc00", "route-views2"), "version": ("4", "6")},
        text="""import json
from collections import defaultdict
import pybgpstream

stream = pybgpstream.BGPStream(
    from_time="2024-03-05 08:00:00",
    until_time="2024-03-05 08:05:00",
    collectors=["@collector@"],
    record_types=["ribs"],
    filter="ipversion @version@",
)
tables = defaultdict(set)
for elem in stream:
    tables[elem.peer_address].add(elem.fields["prefix"])
sizes = {peer: len(own) for peer, own in tables.items() if len(own) >= @least@}
with open("result.json", "w") as file:
    json.dump(sizes, file)
""",
        mutations=(
            _NO_JSON,
            _NO_COLON,
            Mutation("easy", "for elem in stream:", "for elem in stream"),
            Mutation("medium", 'elem.fields["prefix"]', "elem.prefix"),
            Mutation("medium", "ipversion @version@", "ipv@version@"),
            Mutation("medium", 'record_types=["ribs"]', 'record_types=["rib"]'),
            Mutation("medium", "defaultdict(set)", "defaultdict(list)"),
            Mutation("hard", "elem.peer_address", "elem.peer_asn"),
            Mutation("hard", 'record_types=["ribs"]', 'record_types=["updates"]'),
            Mutation("hard", ">= @least@", "< @least@"),
        ),
    ),
    RepairScript(
        name="syn_targets",
        scenario="web",
        goal="count the segments with SYN and without ACK in capture.pcap by destination port, keep ports with a "
        "number of up to @highest@, and write result.json: port as a string -> count",
        numbers={"highest": (range(500, 9000), "d")},
        words={},
        text="""import json
from collections import Counter
from scapy.all import TCP, PcapReader

counts = Counter()
with PcapReader("capture.pcap") as packets:
    for packet in packets:
        if TCP in packet and packet[TCP].flags == "S":
            if packet[TCP].dport <= @highest@:
                counts[str(packet[TCP].dport)] += 1
with open("result.json", "w") as file:
    json.dump(counts, file)
""",
        mutations=(
            _NO_JSON,
            _NO_COLON,
            Mutation("easy", "import TCP, PcapReader", "import PcapReader"),
            Mutation("easy", "counts = Counter()\n", "counts = Counter(\n"),
            Mutation("medium", "packet[TCP].flags", "packet[TCP].flag"),
            Mutation("medium", 'PcapReader("capture.pcap")', 'PcapReader("captures.pcap")'),
            Mutation("medium", "packet[TCP].dport)", "packet[TCP].dst_port)"),
            Mutation("hard", 'flags == "S"', 'flags == "SA"'),
            Mutation("hard", "<= @highest@", "> @highest@"),
            Mutation("hard", "str(packet[TCP].dport)", "str(packet[TCP].sport)"),
        ),
    ),
    RepairScript(
        name="dns_names",
        scenario="dns",
        goal="list the names in DNS queries (not in answers) of capture.pcap that have at most @longest@ characters "
        "with the dot at the end, and write result.json: a sorted list without duplicates",
        numbers={"longest": (range(18, 60), "d")},
        words={},
        text="""import json
from scapy.all import DNS, DNSQR, PcapReader

names = set()
with PcapReader("capture.pcap") as packets:
    for packet in packets:
        if DNS in packet and DNSQR in packet and packet[DNS].qr == 0:
            names.add(packet[DNSQR].qname.decode())
short = sorted(name for name in names if len(name) <= @longest@)
with open("result.json", "w") as file:
    json.dump(short, file)
""",
        mutations=(
            _NO_JSON,
            _NO_COLON,
            Mutation("easy", "import DNS, DNSQR, PcapReader", "import DNS, PcapReader"),
            Mutation("easy", "for packet in packets:", "for packet in packets"),
            Mutation("medium", "packet[DNSQR].qname", "packet[DNSQR].name_of_query"),
            Mutation("medium", "names.add(", "names.append("),
            Mutation("medium", ".qname.decode()", ".qname.decode_utf8()"),
            Mutation("hard", "<= @longest@", "> @longest@"),
            Mutation("hard", "sorted(name for name in names", "sorted(name[:-1] for name in names"),
            Mutation(
                "hard", "names.add(packet[DNSQR].qname.decode())", "names.add(packet[DNSQR].qname.decode().upper())"
            ),
        ),
    ),
    RepairScript(
        name="cell_latency",
        scenario="",
        goal="compute the 0.@share@ quantile of latency_ms of each cell in kpi.csv (linear interpolation, 3 decimals), "
        "and write result.json: cell -> value",
        numbers={"share": (range(50, 100), "d")},
        words={},
        text="""import json
import pandas as pd

kpi = pd.read_csv("kpi.csv")
found = kpi.groupby("cell")["latency_ms"].quantile(0.@share@)
with open("result.json", "w") as file:
    json.dump(found.round(3).to_dict(), file)
""",
        mutations=(
            _NO_JSON,
            _NO_COLON,
            Mutation("easy", "import pandas as pd\n", "import pandas\n"),
            Mutation("easy", 'kpi = pd.read_csv("kpi.csv")', 'kpi = pd.read_csv("kpi.csv"'),
            Mutation("medium", '"latency_ms"', '"latency"'),
            Mutation("medium", "quantile(0.@share@)", "quantile(@share@)"),
            Mutation("medium", "quantile(0.@share@)", "percentile(@share@)"),
            Mutation("medium", ".to_dict()", ""),
            Mutation("hard", "quantile(0.@share@)", "mean()"),
            Mutation("hard", '"cell"', '"site"'),
            Mutation("hard", '"latency_ms"', '"jitter_ms"'),
        ),
    ),
    RepairScript(
        name="setup_times",
        scenario="",
        goal="average setup_ms over the established PDU sessions in sessions.csv by S-NSSAI, leave out those of @most@ "
        "ms and more, and write result.json: S-NSSAI -> mean with 3 decimals",
        numbers={"most": (range(90, 1000), "d")},
        words={},
        text="""import json
import pandas as pd

rows = pd.read_csv("sessions.csv")
rows = rows[rows["event"] == "PDU-SESSION-ESTABLISHED"]
rows = rows[rows["setup_ms"] < @most@]
means = rows.groupby("snssai")["setup_ms"].mean().round(3)
with open("result.json", "w") as file:
    json.dump(means.to_dict(), file)
""",
        mutations=(
            _NO_JSON,
            _NO_COLON,
            Mutation("easy", 'rows = rows[rows["setup_ms"] < @most@]', 'rows = rows[rows["setup_ms"] < @most@'),
            Mutation("easy", "import pandas as pd", "import panda as pd"),
            Mutation("medium", 'groupby("snssai")', 'group_by("snssai")'),
            Mutation("medium", 'rows["event"]', 'rows["events"]'),
            Mutation("medium", 'pd.read_csv("sessions.csv")', 'pd.load_csv("sessions.csv")'),
            Mutation("hard", "< @most@", "> @most@ / 2"),
            Mutation("hard", ".mean()", ".median()"),
            Mutation("hard", 'groupby("snssai")', 'groupby("dnn")'),
        ),
    ),
    RepairScript(
        name="slow_handovers",
        scenario="",
        goal="count the successful handovers in handovers.csv that took more than @limit@ ms by target cell, and write "
        "result.json: cell -> count",
        numbers={"limit": (range(20, 48), "d")},
        words={},
        text="""import csv
import json
from collections import Counter

counts = Counter()
with open("handovers.csv", newline="") as file:
    for row in csv.DictReader(file):
        if row["result"] == "success" and float(row["duration_ms"]) > @limit@:
            counts[row["target"]] += 1
with open("result.json", "w") as file:
    json.dump(counts, file)
""",
        mutations=(
            _NO_JSON,
            _NO_COLON,
            Mutation("easy", "import csv\n", ""),
            Mutation("easy", "for row in csv.DictReader(file):", "for row in csv.DictReader(file)"),
            Mutation("medium", 'float(row["duration_ms"])', 'row["duration_ms"]'),
            Mutation("medium", 'row["target"]', 'row["to_cell"]'),
            Mutation("medium", "csv.DictReader(file)", "csv.reader(file)"),
            Mutation("medium", "json.dump(counts, file)", "json.dump(counts)"),
            Mutation("hard", 'row["target"]', 'row["source"]'),
            Mutation("hard", "> @limit@", "< @limit@"),
            Mutation("hard", "+= 1", "= 1"),
        ),
    ),
)
