"""Level 1 through xarray: coordinates against the location table, reflectance against the sparse GeoTIFFs."""

import json

import numpy as np
import pyarrow.parquet as parquet
import rasterio
import rasterio.windows
from common import done, equal, open_store, project, stores

SIZE_PX, RESOLUTION_M = 128, 30.0
# What the group holds beside reflectances.
COMPANIONS = {"offset_check", "offset_added", "scl", "scene_id", "baseline", "offset_applied"}
# Scenes compared per store; each is compared for all its cubes and bands.
SCENES = 6


def main():
    table = parquet.read_table(project() / "sampler" / "locations.parquet").to_pylist()
    locations = {row["id"]: row for row in table}
    compared = 0
    for path in stores("level1/*.zarr"):
        root, s2 = open_store(path), open_store(path, "s2")
        ids = [str(name) for name in root["id"].values]
        assert set(ids) <= set(locations), f"{path}: unknown locations"
        check_grid(root, [locations[name] for name in ids])
        assert (np.diff(s2["time"].values) >= np.timedelta64(0)).all(), f"{path}: time descends"
        classes = open_store(path, "s2", mask_and_scale=False)["scl"]
        assert classes.dtype == np.uint8 and int(classes.max()) <= 11, f"{path}: classes {classes.dtype}"
        check_static(open_store(path, "static"))
        bands = sorted(set(s2.data_vars) - COMPANIONS)
        assert {"blue", "green", "red"} <= set(bands), f"{path}: bands {bands}"
        picks = np.unique(np.linspace(0, s2.sizes["time"] - 1, SCENES).round().astype(int))
        for index in picks:
            compared += check_scene(s2[bands + ["scene_id"]].isel(time=index), [locations[name] for name in ids])
    done(__file__, compared, "images")


def check_grid(root, locations):
    centres = (np.arange(SIZE_PX) + 0.5) * RESOLUTION_M
    for index, row in enumerate(locations):
        equal(f"{row['id']} xc", root["xc"][index], row["x_min"] + centres, 1e-6)
        equal(f"{row['id']} yc", root["yc"][index], row["y_max"] - centres, 1e-6)
    equal("lon", root["lon"], [row["lon"] for row in locations], 1e-9)
    wkt = root["crs"].attrs["crs_wkt"]
    assert rasterio.crs.CRS.from_wkt(wkt).to_epsg() == locations[0]["epsg"], wkt


def check_static(static):
    slope = static["slope"].values
    assert np.nanmin(slope) >= 0 and np.nanmax(slope) < 90, "slope in degrees"
    assert len(np.atleast_1d(static["landcover"].attrs["flag_values"])) == len(
        static["landcover"].attrs["flag_meanings"].split()
    ), "flag_values and flag_meanings"


def check_scene(images, locations):
    """All cubes and bands of one acquisition, decoded by xarray, against the files they were cut from."""
    scene = str(images["scene_id"].values)
    folder = next(project().glob(f"raw/s2/*/*/{scene}"))
    properties = json.loads((folder / "item.json").read_text())["properties"]
    shifted = float(properties["s2:processing_baseline"]) >= 4 and not properties.get("earthsearch:boa_offset_applied")
    day = str(images["time"].values)[:10].replace("-", "")
    assert folder.parent.name == day, f"{scene}: stored under {folder.parent.name}, dated {day}"
    bands = [name for name in images.data_vars if name != "scene_id"]
    for band in bands:
        # A scene that is cloudy in every wanted block has classes only.
        file = folder / f"{band}.tif"
        for cube, location in enumerate(locations):
            expected = cut(file, location, 1000 if shifted else 0) if file.exists() else np.full([SIZE_PX] * 2, np.nan)
            found = images[band].isel(minicube=cube).values
            # Half a count of rounding, and one of float32 sums.
            equal(f"{scene} {location['id']} {band}", found, expected, 1.05e-4)
    return len(bands) * len(locations)


def cut(file, location, offset):
    """Area average of the valid native pixels under each 30 m pixel, as reflectance; NaN where there is none."""
    bounds = [location[key] for key in ("x_min", "y_min", "x_max", "y_max")]
    with rasterio.open(file) as raster:
        window = rasterio.windows.from_bounds(*bounds, transform=raster.transform)
        native = raster.read(1, window=window.round_offsets().round_lengths()).astype(np.float64)
    valid = native != 0
    weights = overlaps(SIZE_PX, native.shape[0])
    area = weights @ valid @ weights.T
    total = weights @ (native * valid) @ weights.T
    with np.errstate(invalid="ignore"):
        return (np.where(area > 0, total / area, np.nan) - offset) * 1e-4


def overlaps(coarse, fine):
    """Length that each of `coarse` equal pixels shares with each of `fine` ones along one axis."""
    starts, stops = np.arange(coarse) * fine / coarse, (np.arange(coarse) + 1) * fine / coarse
    cells = np.arange(fine)
    return np.clip(np.minimum(stops[:, None], cells + 1) - np.maximum(starts[:, None], cells), 0, None)


if __name__ == "__main__":
    main()
