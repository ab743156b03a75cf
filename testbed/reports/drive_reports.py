"""Reports of a drive test: the signal that a measurement car met in three minutes."""

from collections import Counter
from collections.abc import Iterator

from testbed.measurements.arithmetic import compute_mean
from testbed.reports.report_kind import QuestionType, ReportKind, ask_field
from testbed.reports.report_values import subtract
from testbed.reports.report_wording import Fields
from testbed.reports.reported_network import ReportedNetwork

SECONDS = 180


def draw_drives(network: ReportedNetwork) -> Iterator[Fields]:
    rows = network.drive_test.rows
    for first in range(0, len(rows), SECONDS):
        part = rows[first : first + SECONDS]
        weakest = min(part, key=lambda row: row["ss_rsrp_dbm"])
        ((cell, _),) = Counter(row["cell"] for row in part).most_common(1)
        yield {
            "car": network.names.name_thing("car", "ue01"),
            "start": network.names.shift_time(part[0]["timestamp"])[:5],
            "end": network.names.shift_time(part[0]["timestamp"], SECONDS)[:5],
            "cell": network.names.name_cell(cell),
            "handovers": str(sum(row["handover"] for row in part)),
            "mean_rsrp": f"{compute_mean([row['ss_rsrp_dbm'] for row in part]):.1f} dBm",
            "lowest_rsrp": f"{weakest['ss_rsrp_dbm']} dBm",
            "lowest_time": network.names.shift_time(weakest["timestamp"]),
            "sinr": f"{compute_mean([row['ss_sinr_db'] for row in part]):.1f} dB",
            "speed": f"{compute_mean([row['speed_kmh'] for row in part]):.1f} km/h",
            "top_speed": f"{max(row['speed_kmh'] for row in part):.1f} km/h",
        }


DRIVE_TEST_PART = ReportKind(
    name="drive_test_part",
    subject=("car", "start", "end"),
    titles=("Drive test {car}, {start}", "Part of the drive of {car}", "{car} on the road"),
    openings=(
        "Measurement car {car} recorded the following between {start} and {end}.",
        "These are the figures of the drive test with car {car} from {start} to {end}.",
        "From {start} to {end} the phone in car {car} measured its serving cells.",
    ),
    groups=(
        (
            "Mean SS-RSRP was {mean_rsrp}, the lowest {lowest_rsrp} at {lowest_time}.",
            "The signal was weakest at {lowest_time} with {lowest_rsrp}, and {mean_rsrp} on average.",
            "SS-RSRP: mean {mean_rsrp}, minimum {lowest_rsrp}, reached at {lowest_time}.",
        ),
        (
            "Mean SS-SINR was {sinr}.",
            "The signal stood {sinr} above interference and noise on average.",
        ),
        (
            "Most of the time cell {cell} served the phone; handovers: {handovers}.",
            "There were handovers ({handovers}), and the main serving cell was {cell}.",
        ),
        (
            "The car drove at {speed} on average and at {top_speed} at most.",
            "Its highest speed was {top_speed}, its mean speed {speed}.",
        ),
    ),
    scopes=(
        "car {car} between {start} and {end}",
        "measurement car {car} from {start} to {end}",
        "test vehicle {car} in the minutes from {start} until {end}",
        "the drive test of {car} in the interval {start} to {end}",
    ),
    types=(
        ask_field(
            "mean_rsrp",
            "What was the mean SS-RSRP of {scope}?",
            "Which average signal power had {scope}?",
            "Give the mean RSRP of {scope}.",
            "How strong was the signal on average for {scope}?",
            "On average, how many dBm of SS-RSRP were recorded for {scope}?",
            "Look up how strongly reference signals were received on average for {scope}.",
            "What mean reference signal power was met by {scope}?",
            "I need the average SS-RSRP of {scope}.",
            difficulty=2,
        ),
        ask_field(
            "lowest_rsrp",
            "What was the lowest SS-RSRP of {scope}?",
            "Which minimum signal power had {scope}?",
            "Give the lowest RSRP of {scope}.",
            "How weak did the signal get for {scope}?",
            "Down to how many dBm did the SS-RSRP fall for {scope}?",
            "Please report the RSRP where reception was poorest for {scope}.",
            "What was the worst reference signal power met by {scope}?",
            "I need the minimum SS-RSRP of {scope}.",
            difficulty=2,
        ),
        ask_field(
            "lowest_time",
            "When was the signal weakest for {scope}?",
            "At what time was the lowest SS-RSRP measured by {scope}?",
            "Give the time of the minimum RSRP of {scope}.",
            "When did the signal reach its minimum for {scope}?",
            "Could you look up when reception was at its poorest for {scope}?",
            "The lowest SS-RSRP of {scope}: at what time was it recorded?",
            "Which time of day marks the weakest reception of {scope}?",
            "Tell me the time stamp of the worst SS-RSRP of {scope}.",
        ),
        ask_field(
            "sinr",
            "What was the mean SS-SINR of {scope}?",
            "Which average SINR had {scope}?",
            "Give the mean SINR of {scope}.",
            "How far was the signal above interference and noise on average for {scope}?",
            "According to the measurements, how high was the SINR on average for {scope}?",
            "Can you give me the mean ratio of signal to interference plus noise for {scope}?",
            "What mean signal to interference and noise ratio was met by {scope}?",
            "I need the average SS-SINR of {scope}.",
        ),
        ask_field(
            "cell",
            "Which cell served the phone most of the time in {scope}?",
            "Which was the main serving cell of {scope}?",
            "Name the cell that served longest in {scope}.",
            "In which cell was the phone for the largest part of {scope}?",
            "For {scope}, what is the name of the cell that served predominantly?",
            "Check which cell the phone used longer than all others in {scope}.",
            "The cell with the most serving time: which is it for {scope}?",
            "Tell me the dominant serving cell of {scope}.",
        ),
        ask_field(
            "handovers",
            "How many handovers were there in {scope}?",
            "What was the number of handovers of {scope}?",
            "Count the handovers of {scope}.",
            "How often did the phone change cells in {scope}?",
            "Report how many handovers the phone went through in {scope}.",
            "Let me know the number of times the serving cell changed in {scope}.",
            "How many cell changes happened in {scope}?",
            "I need the handover count of {scope}.",
        ),
        ask_field(
            "speed",
            "What was the mean speed of {scope}?",
            "How fast was it on average: {scope}?",
            "Give the mean speed of {scope}.",
            "At which average speed went {scope}?",
            "On the road, how many km/h were averaged by {scope}?",
            "Determine the mean driving speed for {scope}.",
            "What speed was driven on average by {scope}?",
            "I need the average speed of {scope}.",
            difficulty=2,
        ),
        QuestionType(
            "drop",
            ("mean_rsrp", "lowest_rsrp"),
            lambda fields: subtract(fields["mean_rsrp"], fields["lowest_rsrp"]).replace("dBm", "dB"),
            (
                "How many dB was the lowest SS-RSRP below the mean for {scope}?",
                "By how many dB did the signal fall below its mean for {scope}?",
                "Compute the mean less the lowest SS-RSRP of {scope}.",
                "What is the difference between mean and minimum RSRP of {scope}?",
                "Work out how far the RSRP minimum lies under the RSRP mean for {scope}.",
                "Taking the mean SS-RSRP as reference, how many dB lower was the minimum for {scope}?",
                "How deep was the weakest signal below the average for {scope}?",
                "Subtract the minimum from the mean SS-RSRP of {scope}.",
            ),
            difficulty=3,
        ),
    ),
    draw_facts=draw_drives,
)
