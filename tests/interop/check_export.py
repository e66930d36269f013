"""The NetCDF files of x4-level2 export: xarray opens them without an option and finds what is in Level 2, and the steps that
the EarthNet2022 loader of earthnet-models-pytorch takes give arrays of the shapes and magnitudes that it was trained on."""

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr
from common import done, equal, open_store, project, stores

# In the loader's order, with what it divides by and the means that it then takes away.
METEO = {
    "pev": (1e-4, -1.84),
    "sm_rootzone": (1, 0.235),
    "sm_surface": (1, 0.194),
    "sp": (1000, 0.0894),
    "ssr": (50, 0.330),
    "surface_pressure": (1000, 0.707),
    "t2m": (400, 0.732),
    "tp": (500, 0.0064),
}


def main():
    compared = 0
    with tempfile.TemporaryDirectory() as folder:
        for layout in ("minicube", "en22"):
            export(layout, folder)
        for path in stores("level2/*/*.zarr"):
            groups = [open_store(path, group) for group in (None, "weather", "static")]
            for row, name in enumerate(groups[0]["sample_id"].values):
                place = f"{path.parent.name}/{name}.nc"
                check_minicube(Path(folder) / "minicube" / place, *(group.isel(sample=row) for group in groups))
                check_loader(Path(folder) / "en22" / place, *(group.isel(sample=row) for group in groups))
                compared += 1
    done(__file__, compared, "samples as NetCDF")


def export(layout, out):
    program = Path(os.environ["MINICUBE_BINARIES"]) / "x4-level2"
    config = project() / "project.toml"
    arguments = ["export", "--config", config, "--dir", project(), "--layout", layout, "--out", out]
    subprocess.run([program, *arguments], check=True, stdout=subprocess.DEVNULL)


def check_minicube(path, store, weather, static):
    with xr.open_dataset(path) as found:
        assert list(found["kndvi"].dims) == ["time", "y", "x"], f"{path}: {found['kndvi'].dims}"
        equal(f"{path} time", found["time"].values.astype(int), store["date"].values.astype(int))
        step = np.timedelta64(int(store.attrs["step_days"]), "D")
        bounds = found["time_bnds"].values
        assert (bounds[:, 1] - bounds[:, 0] == step).all() and (bounds[1:, 0] == bounds[:-1, 1]).all(), path
        equal(f"{path} x", found["x"], store["xc"])
        equal(f"{path} y", found["y"], store["yc"])
        for source in (store, weather, static):
            for name, values in source.data_vars.items():
                if "time" in values.dims or "y" in values.dims:
                    if name not in ("date", "xc", "yc"):
                        equal(f"{path} {name}", found[name], values)
        assert found.attrs["sample_id"] == str(store["sample_id"].values) and "UTM" in found["crs"].attrs["crs_wkt"]


def check_loader(path, store, weather, static):
    cube = xr.open_dataset(path)
    cube["ndvi"] = (cube.nir - cube.red) / (cube.nir + cube.red + 1e-6)
    images = cube[["ndvi", "blue", "green", "red", "nir"]].to_array().values.transpose((3, 0, 1, 2))
    assert images.shape == (store.sizes["time"], 5, store.sizes["y"], store.sizes["x"]), f"{path}: {images.shape}"
    equal(f"{path} red", images[:, 3], store["red"])
    equal(f"{path} mask", cube["mask"].values.transpose((2, 0, 1)), store["mask"])
    names = [f"{name}_{statistic}" for name in METEO for statistic in ("max", "mean", "min")]
    meteo = cube[names].to_array().values.transpose((1, 0))
    assert meteo.shape == (store.sizes["time"], 24), f"{path}: {meteo.shape}"
    for k, (name, (divisor, mean)) in enumerate(METEO.items()):
        # Near the loader's own mean: a wrong unit would be off by eight or more, and rain (this Earth is dry) by a thousand.
        ratio = np.nanmean(meteo[:, 3 * k + 1]) / divisor / mean
        factor = 20 if name == "tp" else 3
        assert 1 / factor < ratio < factor, f"{path} {name}: {ratio:.3g} of the loader's mean"
    equal(f"{path} t2m", meteo[:, 19], weather["t2m_mean"])
    equal(f"{path} dem", cube["dem"], static["dem"])
    equal(f"{path} lc", np.nan_to_num(cube["lc"].values), np.nan_to_num(static["landcover"].values))


if __name__ == "__main__":
    main()
