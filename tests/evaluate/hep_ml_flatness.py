"""Write ``hep_ml_flatness.json``: flatness by hep_ml on the Dalitz toy, to compare ours with.

hep_ml needs pandas, so it runs in an environment of its own::

    python -m venv hepml && hepml/bin/pip install hep_ml==0.8.0 uproot
    hepml/bin/python tests/evaluate/hep_ml_flatness.py ../shared/data/dalitz/dalitzdata.root
"""

import json
import sys
from pathlib import Path

STEP = 25  # every 25th row
SEED = 1
NEIGHBOURS = 50
BINS = 10


def main(file: str) -> None:
    import hep_ml
    import numpy as np
    import pandas as pd
    import uproot
    from hep_ml import metrics

    tree = uproot.open(file)
    key = next(name for name, kind in tree.classnames().items() if kind == "TTree")
    columns = tree[key].arrays(["M2AB", "M2AC", "labels"], library="np")
    frame = pd.DataFrame({name: columns[name][::STEP].astype("float64") for name in ("M2AB", "M2AC")})
    y = (columns["labels"][::STEP] > 0.5).astype(int)
    rng = np.random.default_rng(SEED)
    noise = rng.random(len(y))
    weight = 1 + rng.exponential(size=len(y))  # hep_ml divides by max(sum of weights in a bin, 1)
    found = {}
    for strength in (0.0, 0.5, 2.0):
        score = 1 / (1 + np.exp(-(strength * frame["M2AB"].to_numpy() + noise)))
        proba = np.stack([1 - score, score], axis=1)
        for kind, size in (("Bin", {"n_bins": BINS}), ("Knn", {"n_neighbours": NEIGHBOURS})):
            values = {}
            for name in ("SDE", "Theil", "CvM"):
                metric = getattr(metrics, f"{kind}Based{name}")(["M2AB", "M2AC"], uniform_label=1, **size)
                metric.fit(frame, y, sample_weight=weight)
                values[name.lower()] = float(metric(y, proba, sample_weight=weight))
            found[f"{kind.lower()} {strength:g}"] = values
    content = {"hep_ml": hep_ml.__version__, "rows": len(y), "seed": SEED, "neighbours": NEIGHBOURS, "bins": BINS}
    Path(__file__).with_suffix(".json").write_text(json.dumps({**content, "values": found}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
