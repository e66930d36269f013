//! STAC items and collection in the shape of Earth Search v1.

use minicube::{Bounds, LonLat};
use serde_json::{Value, json};

use crate::Region;
use crate::asset::Asset;
use crate::hash::{mix, text};
use crate::scene::Scene;
use crate::world::World;

/// The only collection.
pub(crate) const COLLECTION: &str = "sentinel-2-l2a";

/// RFC 3339 with milliseconds, as Earth Search writes acquisition times.
pub(crate) fn timestamp(moment: chrono::NaiveDateTime) -> String {
    moment.format("%Y-%m-%dT%H:%M:%S%.3f000Z").to_string()
}

/// Path of an asset below the server's base URL.
pub(crate) fn asset_path(scene: &Scene, asset: Asset) -> String {
    let (tile, day) = (scene.region.tile_id(), scene.date.format("%Y%m%d"));
    format!("/cogs/{tile}/{day}/{}/{asset}.tif", scene.id)
}

/// The item of a scene.
pub(crate) fn item(world: &World, base: &str, scene: &Scene) -> Value {
    let api = format!("{base}/stac");
    let collection = format!("{api}/collections/{COLLECTION}");
    let bounds = world.active_bbox(scene.region);
    let ring = ring(&world.land(scene.region).footprint());
    let assets: serde_json::Map<String, Value> = Asset::ALL
        .iter()
        .map(|&asset| (asset.key().to_owned(), asset_json(world, base, scene, asset)))
        .collect();
    json!({
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": scene.id,
        "properties": properties(world, scene),
        "geometry": { "type": "Polygon", "coordinates": [ring] },
        "links": [
            { "rel": "self", "type": "application/geo+json", "href": format!("{collection}/items/{}", scene.id) },
            { "rel": "parent", "type": "application/json", "href": collection },
            { "rel": "collection", "type": "application/json", "href": collection },
            { "rel": "root", "type": "application/json", "href": api },
        ],
        "assets": assets,
        "bbox": [bounds.x_min, bounds.y_min, bounds.x_max, bounds.y_max],
        "stac_extensions": [
            "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
            "https://stac-extensions.github.io/mgrs/v1.0.0/schema.json",
            "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
            "https://stac-extensions.github.io/grid/v1.0.0/schema.json",
            "https://stac-extensions.github.io/view/v1.0.0/schema.json",
            "https://stac-extensions.github.io/processing/v1.1.0/schema.json",
            "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
        ],
        "collection": COLLECTION,
    })
}

/// The collection document.
pub(crate) fn collection(world: &World, base: &str) -> Value {
    let api = format!("{base}/stac");
    let own = format!("{api}/collections/{COLLECTION}");
    let boxes = Region::ALL.map(|region| world.active_bbox(region));
    let overall = Bounds {
        x_min: boxes[0].x_min.min(boxes[1].x_min),
        y_min: boxes[0].y_min.min(boxes[1].y_min),
        x_max: boxes[0].x_max.max(boxes[1].x_max),
        y_max: boxes[0].y_max.max(boxes[1].y_max),
    };
    let extent: Vec<[f64; 4]> =
        [overall, boxes[0], boxes[1]].iter().map(|b| [b.x_min, b.y_min, b.x_max, b.y_max]).collect();
    json!({
        "type": "Collection",
        "id": COLLECTION,
        "stac_version": "1.0.0",
        "title": "Sentinel-2 Level-2A of a synthetic Earth",
        "description": "Two regions of a synthetic Earth in the shape of Sentinel-2 Level-2A COGs of Earth Search v1.",
        "license": "CC0-1.0",
        "extent": {
            "spatial": { "bbox": extent },
            "temporal": { "interval": [["2016-01-01T00:00:00Z", "2022-12-31T23:59:59Z"]] },
        },
        "summaries": {
            "platform": ["sentinel-2a", "sentinel-2b"],
            "constellation": ["sentinel-2"],
            "instruments": ["msi"],
            "gsd": [10, 20],
        },
        "links": [
            { "rel": "self", "type": "application/json", "href": own },
            { "rel": "parent", "type": "application/json", "href": api },
            { "rel": "root", "type": "application/json", "href": api },
            { "rel": "items", "type": "application/geo+json", "href": format!("{own}/items") },
        ],
    })
}

fn properties(world: &World, scene: &Scene) -> Value {
    let region = scene.region;
    let tile = region.tile_id();
    let epsg = world.tile(region).epsg.0;
    let compact = |moment: chrono::NaiveDateTime| moment.format("%Y%m%dT%H%M%S").to_string();
    let (sensed, processed) = (compact(scene.datetime), compact(scene.processed));
    let letter = if scene.platform.ends_with('b') { "S2B" } else { "S2A" };
    let number = scene.baseline.replace('.', "");
    let absolute_orbit = 2_000 + (scene.date - crate::weather::first_day()).num_days() * 143 / 10;
    let cloud = 100.0 * scene.cloud_share;
    let sun_elevation = sun_elevation(world, scene);
    json!({
        "created": timestamp(scene.processed),
        "platform": scene.platform,
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "eo:cloud_cover": (cloud * 1e6).round() / 1e6,
        "proj:epsg": epsg,
        "proj:code": format!("EPSG:{epsg}"),
        "mgrs:utm_zone": tile[..2].parse::<u8>().unwrap_or_default(),
        "mgrs:latitude_band": &tile[2..3],
        "mgrs:grid_square": &tile[3..],
        "grid:code": format!("MGRS-{tile}"),
        "view:sun_azimuth": if region == Region::Africa { 61.5 } else { 159.2 },
        "view:sun_elevation": sun_elevation,
        "s2:degraded_msi_data_percentage": 0,
        "s2:nodata_pixel_percentage": 96.520955,
        "s2:saturated_defective_pixel_percentage": 0,
        "s2:product_type": "S2MSI2A",
        "s2:processing_baseline": scene.baseline,
        "s2:product_uri": format!("{letter}_MSIL2A_{sensed}_N{number}_R{:03}_T{tile}_{processed}.SAFE", scene.orbit),
        "s2:generation_time": timestamp(scene.processed),
        "s2:datatake_id": format!("G{letter}_{sensed}_{absolute_orbit:06}_N{}", scene.baseline),
        "s2:datatake_type": "INS-NOBS",
        "s2:datastrip_id": format!("{letter}_OPER_MSI_L2A_DS_TEST_{processed}_S{sensed}_N{}", scene.baseline),
        "s2:granule_id":
            format!("{letter}_OPER_MSI_L2A_TL_TEST_{processed}_A{absolute_orbit:06}_T{tile}_N{}", scene.baseline),
        "s2:mgrs_tile": tile,
        "datetime": timestamp(scene.datetime),
        "s2:sequence": scene.sequence.to_string(),
        "earthsearch:payload_id": format!("testworld/{:016x}", mix(world.seed(), &[text(&scene.id)])),
        "earthsearch:boa_offset_applied": scene.offset_applied,
        "processing:software": { "testworld": env!("CARGO_PKG_VERSION") },
        "updated": timestamp(scene.processed),
    })
}

/// Height of the sun at the overpass, degrees, from declination and latitude (hour angle 30 degrees before noon).
fn sun_elevation(world: &World, scene: &Scene) -> f64 {
    use chrono::Datelike;
    let day = f64::from(scene.date.ordinal());
    let declination = (-23.44 * (std::f64::consts::TAU * (day + 10.0) / 365.25).cos()).to_radians();
    let latitude = world.active_bbox(scene.region).center().y.to_radians();
    let sine =
        latitude.sin() * declination.sin() + latitude.cos() * declination.cos() * 30f64.to_radians().cos();
    (sine.asin().to_degrees() * 1e4).round() / 1e4
}

/// As Earth Search, `raster:bands` states the offset of baseline 04.00 and later even where the provider has already
/// taken it off; `earthsearch:boa_offset_applied` is what counts.
fn asset_json(world: &World, base: &str, scene: &Scene, asset: Asset) -> Value {
    let origin = world.tile(scene.region).origin;
    let (size, resolution) = (asset.size_px(), asset.resolution_m() as i64);
    let href = format!("{base}{}", asset_path(scene, asset));
    let grid = json!([resolution, 0, origin.x as i64, 0, -resolution, origin.y as i64]);
    let kind = "image/tiff; application=geotiff; profile=cloud-optimized";
    if asset == Asset::Scl {
        return json!({
            "href": href,
            "type": kind,
            "title": "Scene classification map (SCL)",
            "proj:shape": [size, size],
            "proj:transform": grid,
            "raster:bands": [{ "nodata": 0, "data_type": "uint8", "spatial_resolution": resolution }],
            "roles": ["data", "reflectance"],
        });
    }
    let (title, description, wavelength, width) = match asset {
        Asset::Blue => ("Blue (band 2) - 10m", "Blue (band 2)", 0.49, 0.098),
        Asset::Green => ("Green (band 3) - 10m", "Green (band 3)", 0.56, 0.045),
        Asset::Red => ("Red (band 4) - 10m", "Red (band 4)", 0.665, 0.038),
        Asset::Nir => ("NIR 1 (band 8) - 10m", "NIR 1 (band 8)", 0.842, 0.145),
        _ => ("NIR 2 (band 8A) - 20m", "NIR 2 (band 8A)", 0.865, 0.033),
    };
    let offset = if scene.baseline >= "04" { json!(-0.1) } else { json!(0) };
    json!({
        "href": href,
        "type": kind,
        "title": title,
        "eo:bands": [{
            "name": asset.key(),
            "common_name": asset.key(),
            "description": description,
            "center_wavelength": wavelength,
            "full_width_half_max": width,
        }],
        "gsd": resolution,
        "proj:shape": [size, size],
        "proj:transform": grid,
        "raster:bands": [{
            "nodata": 0,
            "data_type": "uint16",
            "bits_per_sample": 15,
            "spatial_resolution": resolution,
            "scale": 0.0001,
            "offset": offset,
        }],
        "roles": ["data", "reflectance"],
    })
}

fn ring(corners: &[LonLat]) -> Vec<[f64; 2]> {
    corners.iter().chain(corners.first()).map(|corner| [corner.lon, corner.lat]).collect()
}
