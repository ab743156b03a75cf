"""Builds `cost.csv`: what the network costs and earns, one row per postcode and month, over half a year.

    postcode         text: five digits, some with a leading zero; four digits across the border
    area             North, East, South or West
    month            2023-09 to 2024-02
    sites            radio sites in the postcode
    capex_eur        the month's share of the investment (straight line), EUR; opex_eur operation, EUR
    cost_eur         sum of the two, EUR
    traffic_gb       gigabytes (10^9)
    subscribers      subscribers who live there
    revenue_eur      EUR as text, thousands separated by commas ("12,345"): read_csv needs thousands=","
    coverage_share   share of households with 5G coverage, 0 to 1

`01067` and `1067` are different places, on two sides of the border. A reader that takes postcodes for numbers merges
them.
"""

from collections.abc import Sequence
from random import Random

from testbed.measurements.arithmetic import compute_mean, compute_total
from testbed.measurements.tables import MeasurementTable, TableRow, round_rows

COLUMNS = {"postcode": 0, "area": 0, "month": 0, "sites": 0, "capex_eur": 2, "opex_eur": 2, "cost_eur": 2,
           "traffic_gb": 1, "subscribers": 0, "revenue_eur": 0, "coverage_share": 3}  # fmt: skip
MONTHS = ("2023-09", "2023-10", "2023-11", "2023-12", "2024-01", "2024-02")
AREAS = ("North", "East", "South", "West")
POSTCODES, OUTLIERS, COLLIDING = 60, 3, 2
OUTLIER_FACTOR = 15
OUTLIER_EUR = 30
"""Cost per subscriber and month that only the outliers exceed."""


def build_cost(seed: int) -> MeasurementTable:
    rng = Random(f"cost-{seed}")
    # Five digits, from 01001 on; COLLIDING of them have a twin of four digits.
    numbers = sorted(rng.sample(range(1001, 9999), POSTCODES // 2))
    twins = rng.sample(numbers, COLLIDING)
    postcodes = [f"{number:05d}" for number in numbers] + [f"{number}" for number in twins]
    others = sorted(rng.sample(range(10115, 99998), POSTCODES - len(postcodes)))
    postcodes += [str(number) for number in others]
    outliers = sorted(rng.sample([str(number) for number in others], OUTLIERS + 1))
    idle = outliers.pop()
    rows = round_rows(
        COLUMNS, [row for code in postcodes for row in _simulate_half_year(rng, code, code in outliers, code == idle)]
    )
    rows.sort(key=lambda row: (row["month"], row["postcode"]))
    per_code = {code: _compute_figures([row for row in rows if row["postcode"] == code]) for code in sorted(postcodes)}
    facts = {
        "planted": [
            {"kind": "expensive_subscribers", "postcodes": outliers, "metric": "eur_per_subscriber_month",
             "size": OUTLIER_FACTOR, "rule": f"sum of cost_eur / sum of subscribers > {OUTLIER_EUR}"},
            {"kind": "leading_zero_twins", "postcodes": [[f"{twin:05d}", str(twin)] for twin in sorted(twins)],
             "rule": "two postcodes of one number: read the column as text"},
            {"kind": "text_number", "metric": "revenue_eur", "rule": 'thousands separated by commas: thousands=","'},
            {"kind": "no_traffic", "postcodes": [idle], "metric": "traffic_gb", "rule": "sum of traffic_gb == 0"},
        ],
        "figures_rule": "Ratios are of sums over the months; eur_per_gb is null without traffic.",
        "postcodes": per_code,
        "dearest_per_gb": sorted((code for code, figures in per_code.items() if figures["eur_per_gb"]),
                                 key=lambda code: -per_code[code]["eur_per_gb"])[:15],
        "areas": {area: _compute_figures([row for row in rows if row["area"] == area]) for area in AREAS},
        "all": _compute_figures(rows),
    }  # fmt: skip
    return MeasurementTable(COLUMNS, [row | {"revenue_eur": f"{row['revenue_eur']:,}"} for row in rows], facts)


def _simulate_half_year(rng: Random, postcode: str, outlier: bool, idle: bool) -> list[TableRow]:
    area, sites = rng.choice(AREAS), rng.randrange(2, 12)
    subscribers = sites * rng.randrange(350, 700)
    capex, coverage = sites * rng.uniform(900, 1400), rng.uniform(0.6, 0.97)
    rows = []
    for month in MONTHS:
        opex = sites * rng.uniform(1500, 2100)
        factor = OUTLIER_FACTOR if outlier else 1
        spent, ran = round(capex * factor, 2), round(opex * factor, 2)
        row = {"postcode": postcode, "area": area, "month": month, "sites": sites, "capex_eur": spent, "opex_eur": ran}
        row |= {"cost_eur": spent + ran, "traffic_gb": 0.0 if idle else subscribers * rng.uniform(9, 16)}
        row |= {"subscribers": subscribers, "revenue_eur": round(subscribers * rng.uniform(14, 22))}
        rows.append(row | {"coverage_share": coverage})
        subscribers += rng.randrange(-20, 40)
        coverage = min(coverage + rng.uniform(0, 0.006), 1.0)
    return rows


def _compute_figures(rows: Sequence[TableRow]) -> TableRow:
    spent, traffic = (
        compute_total([row["cost_eur"] for row in rows], 2),
        compute_total([row["traffic_gb"] for row in rows], 1),
    )
    revenue, months = sum(row["revenue_eur"] for row in rows), sum(row["subscribers"] for row in rows)
    return {
        "cost_eur": spent,
        "revenue_eur": revenue,
        "margin_eur": round(revenue - spent, 2),
        "traffic_gb": traffic,
        "eur_per_gb": round(spent / traffic, 6) if traffic else None,
        "eur_per_subscriber_month": round(spent / months, 6),
        "mean_coverage_share": compute_mean([row["coverage_share"] for row in rows]),
    }
