"""Forecasts through xarray: truth against Level 2, stated errors recomputed; weights through safetensors."""

import json

import numpy as np
from common import done, equal, open_store, project, stores
from safetensors.numpy import load_file


def main():
    samples = 0
    for path in stores("models/*/forecast.zarr"):
        forecast = open_store(path)
        weights = load_file(path.parent / "weights.safetensors")
        assert weights and all(np.isfinite(tensor).all() for tensor in weights.values()), f"{path.parent}: weights"
        channels = [name.removeprefix("truth_") for name in forecast.data_vars if name.startswith("truth_")]
        assert channels, f"{path}: no truth beside the forecast"
        for channel in channels:
            assert forecast[channel].dims == ("sample", "time", "y", "x"), forecast[channel].dims
            assert np.isfinite(forecast[channel].values).all(), f"{path}: {channel} is not finite"
        check_truth(path, forecast, channels)
        check_errors(path, forecast, channels)
        samples += forecast.sizes["sample"]
    done(__file__, samples, "forecasts")


def check_truth(path, forecast, channels):
    """What stands beside a forecast is Level 2 on the same dates."""
    for index, (name, split) in enumerate(zip(forecast["sample_id"].values, forecast["split"].values)):
        level2 = next(
            store.isel(sample=list(store["sample_id"].values).index(name))
            for store in map(open_store, stores(f"level2/{split}/*.zarr"))
            if name in store["sample_id"].values
        )
        steps = np.isin(level2["date"].values, forecast["date"].values[index])
        assert steps.sum() == forecast.sizes["time"], f"{path}: dates of {name}"
        for channel in channels:
            equal(f"{name} {channel}", forecast[f"truth_{channel}"][index], level2[channel].values[steps])
        equal(f"{name} mask", forecast["mask"][index], level2["mask"].values[steps])


def check_errors(path, forecast, channels):
    """Mean absolute error of kNDVI over observed vegetation, from the stored frames."""
    model = path.parent.name
    scores = json.loads((path.parent / "scores.json").read_text())["scores"]
    plan = json.loads((path.parent / "run.json").read_text())["plan"]
    vegetation, epsilon = plan["scoring"]["vegetation"], plan["scoring"]["ndvi_epsilon"]
    found, truth = (kndvi(forecast, prefix, channels, epsilon) for prefix in ("", "truth_"))
    statics = open_store(path, "static") if vegetation else {}
    everywhere = np.ones((forecast.sizes["sample"], forecast.sizes["y"], forecast.sizes["x"]), bool)
    counted = np.isin(statics["landcover"].values, vegetation) if "landcover" in statics else everywhere
    counted = counted | ~counted.any((1, 2), keepdims=True)
    for score in (score for score in scores if score["forecaster"] == model):
        chosen = forecast["split"].values == score["split"]
        valid = (forecast["mask"].values == 0) & counted[:, None] & np.isfinite(truth) & chosen[:, None, None, None]
        error = np.abs(found - truth)[valid]
        assert len(error) == score["kndvi"]["count"], f"{path}: {len(error)} values, stated {score['kndvi']['count']}"
        equal(f"{path} MAE", error.mean(), score["kndvi"]["mae"], 1e-6)


def kndvi(forecast, prefix, channels, epsilon):
    if "kndvi" in channels:
        return forecast[f"{prefix}kndvi"].values.astype(np.float64)
    red, nir = (forecast[f"{prefix}{band}"].values.astype(np.float64) for band in ("red", "nir"))
    return np.tanh(((nir - red) / (nir + red + epsilon)) ** 2)


if __name__ == "__main__":
    main()
