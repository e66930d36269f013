"""Explanations through xarray and pandas: signals against Level 2, clusters, segments, sensitivities."""

import numpy as np
import pandas as pd
from common import check_table, done, equal, open_store, stores


def main():
    compared = 0
    for path in stores("explain/*/signals.zarr"):
        signals = open_store(path)
        for table in ("segments", "sensitivity", "curves"):
            own = check_table(path.parent / f"{table}.parquet", table)
            assert own["plan_hash"] == signals.attrs["plan_hash"], f"{path}: {table} of another plan"
        segments = pd.read_parquet(path.parent / "segments.parquet")
        check_signals(signals)
        check_segments(path, signals, segments)
        sensitivity = pd.read_parquet(path.parent / "sensitivity.parquet")
        assert np.isfinite(sensitivity["value"]).all() and (sensitivity["low"] <= sensitivity["high"]).all(), path
        curves = pd.read_parquet(path.parent / "curves.parquet")
        assert set(curves["variable"]) == set(sensitivity["variable"]), f"{path}: variables of curves"
        compared += signals.sizes["sample"]
    done(__file__, compared, "explained samples")


def check_signals(signals):
    """Each signal is Level 2's weather in other units: a straight line with a positive slope."""
    level2 = [open_store(path) for path in stores(f"level2/{signals.attrs['split']}/*.zarr")]
    weather = [open_store(path, "weather") for path in stores(f"level2/{signals.attrs['split']}/*.zarr")]
    for sample, name in enumerate(signals["sample_id"].values):
        store = next(i for i, store in enumerate(level2) if name in store["sample_id"].values)
        row = list(level2[store]["sample_id"].values).index(name)
        for variable, channel in enumerate(signals["variable"].values):
            ours = signals["signal"].values[variable, sample]
            theirs = weather[store][str(channel)].values[row].reshape(-1)[: len(ours)].astype(np.float64)
            slope, offset = np.polyfit(theirs, ours, 1)
            assert slope > 0, f"{name} {channel}: slope {slope}"
            equal(f"{name} {channel}", slope * theirs + offset, ours, 1e-4 * max(np.ptp(ours), 1e-9))


def check_segments(path, signals, segments):
    """Segments are the distinct tuples of cluster labels."""
    assert list(segments["sample_id"]) == list(signals["sample_id"].values), f"{path}: order of samples"
    columns = [f"cluster_{channel}" for channel in signals["variable"].values]
    equal(f"{path} labels", segments[columns].to_numpy().T, signals["label"])
    tuples = segments.groupby("segment")[columns].nunique()
    assert (tuples == 1).all().all(), f"{path}: a segment mixes clusters"
    assert len(segments[columns].drop_duplicates()) == segments["segment"].nunique(), f"{path}: segments repeat"


if __name__ == "__main__":
    main()
