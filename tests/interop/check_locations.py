"""The location table through pyarrow: GeoParquet metadata, geometry against PROJ, weights, splits."""

import json

import numpy as np
import pyarrow.parquet as parquet
import shapely
from common import check_table, done, equal, project
from rasterio.warp import transform

COLUMNS = ["id", "tile", "epsg", "row", "col", "x_min", "y_min", "x_max", "y_max", "lon", "lat", "weight", "split", "seed"]
CELL_M = 3840.0


def main():
    table = parquet.read_table(project() / "sampler" / "locations.parquet")
    missing = set(COLUMNS + ["geometry"]) - set(table.column_names)
    assert not missing, f"locations.parquet lacks {sorted(missing)}"
    geo = json.loads(table.schema.metadata[b"geo"])
    assert geo["version"] == "1.1.0" and geo["primary_column"] == "geometry", geo
    assert geo["columns"]["geometry"]["encoding"] == "WKB", geo
    check_table(project() / "sampler" / "locations.parquet", "locations")

    rows = table.to_pylist()
    assert len({row["id"] for row in rows}) == len(rows), "ids repeat"
    for row in rows:
        check_row(row)
    equal("mean weight", np.mean([row["weight"] for row in rows]), 1.0, 1e-9)
    assert {row["split"] for row in rows} <= {"train", "val", "test"}
    done(__file__, len(rows), "locations")


def check_row(row):
    name = row["id"]
    assert name == f"{row['tile']}_{row['row']:02d}{row['col']:02d}", name
    equal(f"{name} size", [row["x_max"] - row["x_min"], row["y_max"] - row["y_min"]], [CELL_M, CELL_M])
    centre = [(row["x_min"] + row["x_max"]) / 2], [(row["y_min"] + row["y_max"]) / 2]
    lon, lat = transform(f"EPSG:{row['epsg']}", "EPSG:4326", *centre)
    equal(f"{name} centre", [row["lon"], row["lat"]], [lon[0], lat[0]], 1e-7)

    polygon = shapely.from_wkb(row["geometry"])
    assert polygon.is_valid and polygon.exterior.is_ccw, f"{name}: {polygon.wkt}"
    xs = [row["x_min"], row["x_max"], row["x_max"], row["x_min"]]
    ys = [row["y_min"], row["y_min"], row["y_max"], row["y_max"]]
    corners = np.transpose(transform(f"EPSG:{row['epsg']}", "EPSG:4326", xs, ys))
    for corner in corners:
        away = polygon.exterior.distance(shapely.Point(corner))
        assert away < 1e-7, f"{name}: corner {corner} is {away} degrees from the polygon"


if __name__ == "__main__":
    main()
