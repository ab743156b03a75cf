import json

import numpy as np
import pandas as pd

radio = pd.read_csv("radio.csv")
radio["mw"] = 10 ** (radio["ss_rsrp_dbm"] / 10)


def mean_dbm(column):
    means = radio.groupby(column)["mw"].mean()
    return (10 * np.log10(means)).round(2).to_dict()


weak = radio["ss_rsrp_dbm"].lt(-110).groupby(radio["cell"]).mean() * 100
result = {
    "by_ue": mean_dbm("ue"),
    "by_cell": mean_dbm("cell"),
    "bias_db": round(float(10 * np.log10(radio["mw"].mean()) - radio["ss_rsrp_dbm"].mean()), 2),
    "weak_cells": weak[weak > 0].round(2).to_dict(),
}
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
