"""Level 2 through xarray: what xarray derives from Level 1, the indices, the splits and the statistics."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import xarray as xr
from common import check_table, done, equal, open_store, project, stores

BANDS = {"blue": "blue", "green": "green", "red": "red", "nir": "nir08"}
# Pixels along an edge of the corner in which the gap filling is recomputed.
CORNER = 24


def main():
    plan = json.loads((project() / "level2" / "run.json").read_text())["plan"]
    assert check_table(project() / "level2" / "splits.parquet", "splits")["plan_hash"]
    rows = {row["sample_id"]: row for row in parquet.read_table(project() / "level2" / "splits.parquet").to_pylist()}
    seen = {}
    for path in stores("level2/*/*.zarr"):
        store = open_store(path)
        check_axes(path, store)
        check_indices(path, store)
        for name in store["sample_id"].values:
            seen[str(name)] = path.parent.name
        check_derivation(path, store, find(plan, "scl_clear"), find(plan, "dilate_px"))
        check_weather(path, store)
    assert seen == {name: row["split"] for name, row in rows.items()}, "splits.parquet and the stores disagree"
    check_normalisation()
    done(__file__, len(seen), "samples")


def find(tree, key):
    """The value of a key anywhere in a nested plan."""
    if isinstance(tree, dict):
        if key in tree:
            return tree[key]
        return next((value for value in (find(branch, key) for branch in tree.values()) if value is not None), None)
    return None


def check_axes(path, store):
    step = np.timedelta64(int(store.attrs["step_days"]), "D")
    dates = store["date"].values
    assert (np.diff(dates, axis=1) == step).all(), f"{path}: steps of {store.attrs['step_days']} days"
    assert (store["start_date"].values + step - np.timedelta64(1, "D") == dates[:, 0]).all(), f"{path}: start_date"
    season = (pd.DatetimeIndex(dates.ravel()).month.values % 12 // 3).reshape(dates.shape)
    equal(f"{path} season", store["season"], season)


def check_indices(path, store):
    red, nir = store["red"].values.astype(np.float64), store["nir"].values.astype(np.float64)
    ndvi = np.clip((nir - red) / (nir + red + store.attrs["ndvi_epsilon"]), -1, 1)
    # float32 keeps seven digits; the quotient of small reflectances loses one or two.
    equal(f"{path} ndvi", store["ndvi"], ndvi, 2e-5)
    stored = store["ndvi"].values.astype(np.float64)
    equal(f"{path} kndvi", store["kndvi"], np.tanh(stored**2), 2e-7)
    assert set(np.unique(store["mask"])) <= {0, 1}, f"{path}: mask"


def check_derivation(path, store, clear_classes, dilate_px):
    """Masks, fills and averages one corner of the first sample with xarray, from Level 1."""
    assert not dilate_px, "the small chain is meant to run without dilation"
    sample = store.isel(sample=0, y=slice(CORNER), x=slice(CORNER))
    level1 = project() / "level1" / f"{store.attrs['tile']}.zarr"
    cube = [str(name) for name in open_store(level1)["id"].values].index(str(sample["cube_id"].values))
    s2 = open_store(level1, "s2").isel(minicube=cube, y=slice(CORNER), x=slice(CORNER)).load()
    bands = xr.concat([s2[name] for name in BANDS.values()], pd.Index(list(BANDS), name="band"))
    clear = s2["scl"].isin(clear_classes) & bands.notnull().all("band")

    days = pd.date_range(s2["time"].values[0], s2["time"].values[-1])
    daily = bands.where(clear).groupby("time").mean().reindex(time=days)
    filled = daily.interpolate_na("time", method="linear")
    first = pd.Timestamp(sample["start_date"].values)
    step_days, steps = int(store.attrs["step_days"]), store.sizes["time"]
    span = pd.date_range(first, periods=step_days * steps)
    means = filled.reindex(time=span).coarsen(time=step_days).mean()
    for band in BANDS:
        found = sample[band].transpose("time", "y", "x")
        equal(f"{path} {band}", found, means.sel(band=band).transpose("time", "y", "x"), 2e-6)

    valid = clear.groupby("time").any().reindex(time=days, fill_value=False)
    in_step = valid.reindex(time=span, fill_value=False).coarsen(time=step_days).any()
    equal(f"{path} mask", sample["mask"], ~in_step.transpose("time", "y", "x").values)

    # Day of the next valid observation at or after each day, as a count from the first.
    count = xr.where(valid, xr.DataArray(np.arange(len(days)), dims="time", coords={"time": days}), np.nan).bfill("time")
    ends = xr.DataArray(pd.DatetimeIndex(sample["date"].values), dims="time")
    position = (ends - np.datetime64(days[0])) / np.timedelta64(1, "D")
    distance = count.reindex(time=ends.values).transpose("time", "y", "x").values - position.values[:, None, None]
    equal(f"{path} dist_mask", sample["dist_mask"], np.where(np.isnan(distance), -1, distance))


def check_weather(path, store):
    """Every weather statistic of every sample, from Level 1's daily values."""
    weather = open_store(path, "weather")
    level1 = project() / "level1" / f"{store.attrs['tile']}.zarr"
    ids = [str(name) for name in open_store(level1)["id"].values]
    daily = {"smap": open_store(level1, "smap").load(), "era5": open_store(level1, "era5").load()}
    step_days, steps = int(store.attrs["step_days"]), store.sizes["time"]
    for name in weather.data_vars:
        variable, statistic = str(name).rsplit("_", 1)
        source = next(data for data in daily.values() if variable in data.data_vars)[variable]
        for index, (cube, first) in enumerate(zip(store["cube_id"].values, store["start_date"].values)):
            series = source.isel(minicube=ids.index(str(cube))) if "minicube" in source.dims else source
            series = series.squeeze().reindex(time=pd.date_range(first, periods=step_days * steps))
            expected = getattr(series.astype("float64").coarsen(time=step_days), statistic)()
            found = weather[name].isel(sample=index).values.squeeze()
            equal(f"{path} {name} {cube}", found / scale(expected), expected.values / scale(expected), 1e-5)


def scale(values):
    """Size of a variable, so that Pa and mm are compared alike."""
    return max(float(np.nanmax(np.abs(values))), 1e-12)


def check_normalisation():
    stated = json.loads((project() / "level2" / "normalisation.json").read_text())
    stated = stated.get("variables", stated)
    train = [open_store(path) for path in stores("level2/train/*.zarr")]
    for name in ("kndvi", "red"):
        values = np.concatenate([store[name].values.ravel() for store in train]).astype(np.float64)
        values = values[np.isfinite(values)]
        found = [stated[name][key] for key in ("mean", "std", "min", "max", "count")]
        equal(name, found, [values.mean(), values.std(), values.min(), values.max(), len(values)], 1e-5)


if __name__ == "__main__":
    main()
