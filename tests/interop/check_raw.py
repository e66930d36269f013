"""Raw files as served and as cut: sparse GeoTIFFs through GDAL, SMAP and ERA5 through h5netcdf, the ledger."""

import json

import numpy as np
import pyarrow.parquet as parquet
import rasterio
import xarray as xr
from common import check_table, done, project, stores

TILE_M = 109_800.0


def main():
    raw = project() / "raw"
    scenes = stores("raw/s2/*/*/*/item.json")
    for scene in scenes:
        check_scene(scene)
    granules = stores("raw/smap/*/*.h5")
    for path in granules[:: len(granules) // 20 + 1]:
        granule = xr.open_dataset(path, group="Geophysical_Data", engine="h5netcdf", phony_dims="sort")
        assert granule.data_vars, f"{path}: no Geophysical_Data"
    for path in stores("raw/era5/*.nc"):
        era5 = xr.open_dataset(path, engine="h5netcdf")
        assert era5.data_vars and np.issubdtype(era5[time_name(era5)].dtype, np.datetime64), f"{path}: no time axis"
    for path in stores("raw/dem/*.tif") + stores("raw/landcover/*.tif"):
        with rasterio.open(path) as raster:
            assert raster.crs is not None and raster.count == 1, path
    check_ledger(raw)
    done(__file__, len(scenes), "scenes, their companions and the ledger")


def check_scene(path):
    """Every asset covers the whole tile, and holds data in the fetched blocks only."""
    item = json.loads(path.read_text())
    rasters = sorted(path.parent.glob("*.tif"))
    assert rasters, f"{path.parent} has an item and no raster"
    for file in rasters:
        with rasterio.open(file) as raster:
            left, bottom, right, top = raster.bounds
            assert (right - left, top - bottom) == (TILE_M, TILE_M), f"{file}: {raster.bounds}"
            assert raster.nodata == 0, f"{file}: nodata {raster.nodata}"
            rows, cols = raster.block_shapes[0]
            sizes = [
                int(raster.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=1) or 0)
                for y in range(-(-raster.height // rows))
                for x in range(-(-raster.width // cols))
            ]
            # A scene whose blocks are all cloudy keeps no block of its reflectances; its classes are always there.
            assert min(sizes) == 0, f"{file}: every block is there, so nothing was saved"
            assert max(sizes) > 0 or file.stem != "scl", f"{file}: no block at all"
        code = item["properties"].get("proj:epsg") or item["properties"].get("proj:code", "").removeprefix("EPSG:")
        assert raster.crs.to_epsg() == int(code), f"{file}: {raster.crs} but the item says {code}"


def check_ledger(raw):
    check_table(raw / "ledger.parquet", "ledger")
    ledger = parquet.read_table(raw / "ledger.parquet").to_pylist()
    known = {"fetched", "reused", "skipped_cloudy", "failed", "superseded", "absent"}
    for row in ledger:
        assert row["status"] in known, row
        assert "?" not in row["url_path"] and "@" not in row["url_path"], f"credentials may hide in {row['url_path']}"
        assert row["status"] != "failed", row
    blocks = [row for row in ledger if row["block_row"] >= 0 and row["status"] in ("fetched", "reused")]
    assert blocks and all(row["length"] > 0 and row["sha256"] for row in blocks), "blocks without length or hash"


def time_name(dataset):
    names = [name for name in ("time", "valid_time") if name in dataset.variables]
    assert names, f"no time among {list(dataset.variables)}"
    return names[0]


if __name__ == "__main__":
    main()
