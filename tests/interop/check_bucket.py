"""Level 2 in a bucket: x4-level2 reads Level 1 from another S3 server (moto) and seals Level 2 there, and zarr-python
finds behind s3:// what it finds in the project's folder."""

import logging
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import boto3
import xarray as xr
from common import done, open_store, project, stores
from moto.server import ThreadedMotoServer

BUCKET = "cubes"
KEYS = {"AWS_ACCESS_KEY_ID": "anybody", "AWS_SECRET_ACCESS_KEY": "anything", "AWS_REGION": "us-east-1"}


def main():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        check(f"http://{host}:{port}")
    finally:
        server.stop()


def check(endpoint):
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=KEYS["AWS_REGION"],
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket=BUCKET)
    for store in stores("level1/*.zarr"):
        for file in filter(Path.is_file, store.rglob("*")):
            client.upload_file(str(file), BUCKET, f"small/level1/{file.relative_to(store.parent)}")
    with tempfile.TemporaryDirectory() as folder:
        derive(Path(folder), endpoint)
    keys = {
        "key": KEYS["AWS_ACCESS_KEY_ID"],
        "secret": KEYS["AWS_SECRET_ACCESS_KEY"],
        "client_kwargs": {"endpoint_url": endpoint, "region_name": KEYS["AWS_REGION"]},
    }
    compared = 0
    for store in stores("level2/*/*.zarr"):
        url = f"s3://{BUCKET}/small/{store.relative_to(project())}"
        for group in (None, *(name for name in ("weather", "static") if (store / name).is_dir())):
            ours, theirs = open_store(store, group), open_store(url, group, storage_options=keys)
            xr.testing.assert_identical(theirs.load(), ours.load())
            compared += len(ours.data_vars)
    for name in ("splits.parquet", "normalisation.json"):
        there = client.get_object(Bucket=BUCKET, Key=f"small/level2/{name}")["Body"].read()
        assert there == (project() / "level2" / name).read_bytes(), f"{name} differs"
    done(__file__, compared, "variables in a bucket")


def derive(folder, endpoint):
    """Runs x4-level2 on the project with both levels in the bucket."""
    lines = (project() / "project.toml").read_text().splitlines()
    section = lines.index("[project]") + 1
    kept = [line for line in lines[section:] if not line.startswith("dir =")]
    levels = [f'{level} = "s3://{BUCKET}/small/{level}"' for level in ("level1", "level2")]
    config = folder / "project.toml"
    config.write_text("\n".join([*lines[:section], f'dir = "{folder}"', *levels, *kept]))
    if (project() / "sampler").is_dir():
        shutil.copytree(project() / "sampler", folder / "sampler")
    binary = Path(os.environ["MINICUBE_BINARIES"]) / "x4-level2"
    settings = {**KEYS, "AWS_ENDPOINT_URL": endpoint, "NO_PROXY": "127.0.0.1"}
    subprocess.run([binary, "run", "--config", config], env={**os.environ, **settings}, check=True)


if __name__ == "__main__":
    main()
