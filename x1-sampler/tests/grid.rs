//! The tile rule against the real grid, and no shared ground across zone borders.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use arrow::array::AsArray;
use geo::{Coord, Intersects, LineString, Polygon, Rect};
use minicube::{Bounds, CellGrid, LonLat, Tile};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proj::Proj;
use x1_sampler::{Aoi, Cell, bbox_area, own_cells, tiles_of_zone};

/// Reads tile id, EPSG and "(x_min, y_min, x_max, y_max)" of the 20 430 land tiles.
fn real_grid() -> Option<BTreeMap<String, (u32, [f64; 4])>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/data/s2_grid/sentinel-2-grid_LAND.parquet");
    let Ok(file) = File::open(&path) else {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{} is missing", path.display());
        println!("skipped: {} is missing", path.display());
        return None;
    };
    let mut grid = BTreeMap::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
        let batch = batch.unwrap();
        let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
        let (ids, bounds) = (text("tile"), text("utm_bounds"));
        let epsg =
            batch.column_by_name("epsg").unwrap().as_primitive::<arrow::datatypes::Int64Type>().clone();
        for row in 0..batch.num_rows() {
            let values: Vec<f64> = bounds
                .value(row)
                .trim_matches(['(', ')'])
                .split(',')
                .map(|v| v.trim().parse().unwrap())
                .collect();
            let epsg = u32::try_from(epsg.value(row)).unwrap();
            grid.insert(ids.value(row).to_owned(), (epsg, values.try_into().unwrap()));
        }
    }
    Some(grid)
}

#[test]
fn the_rule_makes_every_real_land_tile() {
    let Some(real) = real_grid() else { return };
    let mut made = BTreeMap::new();
    for zone in 1..=60 {
        for south in [false, true] {
            for (tile, _) in tiles_of_zone(zone, south).unwrap() {
                let b = tile.bounds();
                made.insert(tile.id, (tile.epsg.0, [b.x_min, b.y_min, b.x_max, b.y_max]));
            }
        }
    }
    let wrong: Vec<&String> =
        real.iter().filter(|(id, place)| made.get(*id) != Some(place)).map(|(id, _)| id).collect();
    assert_eq!(real.len(), 20_430);
    assert!(
        wrong.is_empty(),
        "{} of {} tiles differ: {:?}",
        wrong.len(),
        real.len(),
        &wrong[..wrong.len().min(20)]
    );
}

#[test]
fn every_real_land_tile_of_a_box_is_found() {
    let Some(real) = real_grid() else { return };
    // Around the border of zones 34 and 35 and across the equator.
    let bbox = [21.0, -3.0, 27.0, 4.0];
    let aoi = Aoi { name: "box".into(), area: Some(bbox_area(bbox)), tiles: Default::default() };
    let found: Vec<String> = aoi.find_tiles().unwrap().into_iter().map(|(tile, _)| tile.id).collect();
    let mut expected = 0;
    let mut transformers = BTreeMap::new();
    for (id, (epsg, [x_min, y_min, x_max, y_max])) in &real {
        if !(32634..=32635).contains(epsg) && !(32734..=32735).contains(epsg) {
            continue;
        }
        let center = ((x_min + x_max) / 2.0, (y_min + y_max) / 2.0);
        let to_degrees = transformers
            .entry(epsg)
            .or_insert_with(|| Proj::new_known_crs(&format!("EPSG:{epsg}"), "EPSG:4326", None).unwrap());
        let (lon, lat) = to_degrees.convert(center).unwrap();
        if (bbox[0]..bbox[2]).contains(&lon) && (bbox[1]..bbox[3]).contains(&lat) {
            expected += 1;
            assert!(found.contains(id), "{id} at {lon} {lat} is not found");
        }
    }
    assert!(expected > 40, "{expected}");
}

/// Tiles of a zone whose ring comes near a place.
fn tiles_near(zone: u8, south: bool, place: LonLat) -> Vec<Tile> {
    let near = |ring: &[LonLat]| {
        ring.iter().any(|p| {
            (p.lat - place.lat).abs() < 0.5 && (p.lon - place.lon).abs() * place.lat.to_radians().cos() < 0.5
        })
    };
    tiles_of_zone(zone, south)
        .unwrap()
        .into_iter()
        .filter(|(_, ring)| near(ring))
        .map(|(tile, _)| tile)
        .collect()
}

/// Corners of a cell, moved 1 cm inwards, in another zone's metres.
fn seen_from(proj: &Proj, bounds: &Bounds) -> Polygon<f64> {
    let inset = 0.01;
    let ring = [
        (bounds.x_min + inset, bounds.y_min + inset),
        (bounds.x_max - inset, bounds.y_min + inset),
        (bounds.x_max - inset, bounds.y_max - inset),
        (bounds.x_min + inset, bounds.y_max - inset),
    ];
    let line: LineString<f64> = ring.iter().map(|&point| Coord::from(proj.convert(point).unwrap())).collect();
    Polygon::new(line, Vec::new())
}

#[test]
fn no_two_cells_share_ground() {
    // Pairs of zones (zone, south) and a place on their border: both hemispheres, the equator, the Norwegian and
    // Svalbard zones, where strips end at 56°, 64° and 72° N.
    let borders = [
        ((34, true), (35, true), 24.0, -20.0),
        ((34, false), (34, true), 21.3, 0.0),
        ((34, false), (35, true), 24.0, 0.0),
        ((31, false), (32, false), 6.0, 50.5),
        ((31, false), (32, false), 6.0, 56.0),
        ((31, false), (32, false), 3.0, 56.0),
        ((31, false), (32, false), 3.0, 60.0),
        ((31, false), (32, false), 6.0, 64.0),
        ((32, false), (33, false), 12.0, 64.0),
        ((31, false), (33, false), 9.0, 78.0),
        ((33, false), (35, false), 21.0, 78.5),
        ((33, false), (34, false), 18.0, 72.0),
        ((35, false), (37, false), 33.0, 72.0),
        ((35, true), (35, true), 27.0, -24.0),
    ];
    let grid = CellGrid::default();
    for ((zone_a, south_a), (zone_b, south_b), lon, lat) in borders {
        let place = LonLat { lon, lat };
        let cells = |zone, south| -> Vec<(Tile, Cell)> {
            let tiles = tiles_near(zone, south, place);
            tiles
                .into_iter()
                .flat_map(|t| own_cells(&t, &grid).unwrap().into_iter().map(move |c| (t.clone(), c)))
                .collect()
        };
        let (a, b) = (cells(zone_a, south_a), cells(zone_b, south_b));
        assert!(!a.is_empty() && !b.is_empty(), "zones {zone_a} {zone_b} at {lon} {lat}");
        let to_a =
            Proj::new_known_crs(&format!("EPSG:{}", b[0].0.epsg.0), &format!("EPSG:{}", a[0].0.epsg.0), None)
                .unwrap();
        let mut close = 0;
        for (tile_b, cell_b) in &b {
            let polygon = seen_from(&to_a, &cell_b.bounds);
            for (tile_a, cell_a) in &a {
                if tile_a.id == tile_b.id && (cell_a.row, cell_a.col) == (cell_b.row, cell_b.col) {
                    continue;
                }
                let r = cell_a.bounds;
                let rect = Rect::new((r.x_min, r.y_min), (r.x_max, r.y_max));
                assert!(
                    !polygon.intersects(&rect),
                    "{} {} {} and {} {} {}",
                    tile_a.id,
                    cell_a.row,
                    cell_a.col,
                    tile_b.id,
                    cell_b.row,
                    cell_b.col
                );
                let wide =
                    Rect::new((r.x_min - 8000.0, r.y_min - 8000.0), (r.x_max + 8000.0, r.y_max + 8000.0));
                close += usize::from(polygon.intersects(&wide));
            }
        }
        assert!(
            close > 0,
            "the border of {zone_a} and {zone_b} at {lon} {lat} is settled from both sides: {close}"
        );
    }
}

/// What ownership costs: nearly all ground of a tile's square is in a cell.
#[test]
fn cells_cover_the_ground() {
    let grid = CellGrid::default();
    let cells = own_cells(&Tile::from_id("35KMQ").unwrap(), &grid).unwrap().len();
    let covered = cells as f64 * grid.cell_size_m().powi(2) / 1e10;
    assert!(covered > 0.996, "{covered}");
}
