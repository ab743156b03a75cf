import json

import pandas as pd

handovers = pd.read_csv("handovers.csv")

late = handovers["result"].eq("too_late").groupby([handovers["source"], handovers["target"]])
relations = late.agg(attempts="size", too_late="sum")
relations = relations[relations["attempts"] >= 10]
source, target = (relations["too_late"] / relations["attempts"]).idxmax()
attempts, too_late = (int(count) for count in relations.loc[(source, target)])

success = handovers["result"].eq("success")
result = {
    "worst": {
        "source": source,
        "target": target,
        "attempts": attempts,
        "too_late": too_late,
        "share_pct": round(100 * too_late / attempts, 2),
    },
    "results": {name: int(count) for name, count in handovers["result"].value_counts().items()},
    "p95_ms": round(float(handovers.loc[success, "duration_ms"].quantile(0.95)), 3),
    "cell_success_pct": {
        cell: round(100 * float(share), 2) for cell, share in success.groupby(handovers["source"]).mean().items()
    },
}
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
