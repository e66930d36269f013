//! The tile rule against the real grid, and no shared ground, within zones and across their borders.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use arrow::array::AsArray;
use geo::{Coord, Intersects, LineString, Polygon, Rect};
use minicube::testing::real;
use minicube::{Bounds, CellGrid, LonLat, Tile};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proj::Proj;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use x1_sampler::{Aoi, Cell, bbox_area, own_cells, tiles_of_zone};

/// Reads tile id, EPSG and "(x_min, y_min, x_max, y_max)" of the 20 430 land tiles.
fn real_grid() -> Option<BTreeMap<String, (u32, [f64; 4])>> {
    let file = File::open(real("s2_grid/sentinel-2-grid_LAND.parquet")?).unwrap();
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
    let (sea, missed) = (made.len() - real.len(), real.keys().filter(|id| !made.contains_key(*id)).count());
    println!("{} tiles by the rule: {sea} besides the land tiles, {missed} of these missing", made.len());
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

/// A tile and points around its ground.
type TileWithRing = (Tile, Vec<LonLat>);

/// Tiles by zone, with rings around their ground.
struct Zones(BTreeMap<(u8, bool), Vec<TileWithRing>>);

impl Zones {
    fn of(&mut self, zone: u8, south: bool) -> &[(Tile, Vec<LonLat>)] {
        self.0.entry((zone, south)).or_insert_with(|| tiles_of_zone(zone, south).unwrap())
    }

    /// Tiles, other than the one itself, whose ground comes within half a degree of latitude and a tile's width.
    fn neighbours(&mut self, tile: &Tile, ring: &[LonLat]) -> Vec<Tile> {
        let (zone, _) = tile.epsg.utm_zone().unwrap();
        let near = |other: &[LonLat]| {
            other.iter().any(|a| {
                ring.iter().any(|b| {
                    let turn = (a.lon - b.lon + 540.0).rem_euclid(360.0) - 180.0;
                    (a.lat - b.lat).abs() < 0.5 && (turn * b.lat.to_radians().cos()).abs() < 0.5
                })
            })
        };
        let mut found = Vec::new();
        // Svalbard's zones are two apart.
        for step in -2..=2_i8 {
            let other = (zone as i8 - 1 + step).rem_euclid(60) as u8 + 1;
            for south in [false, true] {
                let tiles = self.of(other, south).iter().filter(|(_, ring)| near(ring));
                found.extend(tiles.filter(|(other, _)| other.id != tile.id).map(|(tile, _)| tile.clone()));
            }
        }
        found
    }
}

/// UTM by its formula rather than by its EPSG code.
fn utm(tile: &Tile) -> Proj {
    let (zone, south) = tile.epsg.utm_zone().unwrap();
    Proj::new(&format!("+proj=utm +zone={zone} {} +datum=WGS84", if south { "+south" } else { "" })).unwrap()
}

fn to_metres(utm: &Proj, place: LonLat) -> Coord<f64> {
    Coord::from(utm.project((place.lon.to_radians(), place.lat.to_radians()), false).unwrap())
}

/// A cell in another zone's metres, moved 1 cm inwards, its sides with points every 480 m.
fn seen_in(bounds: &Bounds, own: &Proj, other: &Proj) -> Polygon<f64> {
    let inset = 0.01;
    let corners = [
        (bounds.x_min + inset, bounds.y_min + inset),
        (bounds.x_max - inset, bounds.y_min + inset),
        (bounds.x_max - inset, bounds.y_max - inset),
        (bounds.x_min + inset, bounds.y_max - inset),
    ];
    let mut line = Vec::new();
    for side in 0..4 {
        let (from, to) = (corners[side], corners[(side + 1) % 4]);
        for step in 0..8 {
            let part = f64::from(step) / 8.0;
            let place = own
                .project((from.0 + part * (to.0 - from.0), from.1 + part * (to.1 - from.1)), true)
                .unwrap();
            line.push(Coord::from(other.project(place, false).unwrap()));
        }
    }
    Polygon::new(LineString::new(line), Vec::new())
}

/// Tiles of all kinds of places: their own cells lie in them, are where PROJ has them, and share no ground with an own cell
/// of any other tile.
#[test]
fn cells_of_random_tiles_are_sound() {
    let kinds: [(&str, &[u8], std::ops::Range<f64>, usize); 8] = [
        ("anywhere", &[3, 19, 33, 47, 55], -80.0..84.0, 12),
        ("Norway", &[31, 32], 56.0..64.0, 10),
        ("Svalbard", &[31, 33, 35, 37], 72.0..84.0, 14),
        ("south of Svalbard", &[31, 32, 33, 34], 64.0..73.0, 8),
        ("next to 180°", &[1, 60], -80.0..84.0, 14),
        ("next to the equator", &[17, 36, 48], -1.5..1.5, 8),
        ("end of the bands", &[10, 41], 80.0..84.5, 4),
        ("Antarctica", &[12, 60], -81.0..-76.0, 6),
    ];
    let grid = CellGrid::default();
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut zones = Zones(BTreeMap::new());
    let (mut cells_seen, mut pairs_seen, mut borders_seen) = (0, 0, 0);
    for (kind, of_zones, lats, count) in kinds {
        let mut done = 0;
        for _ in 0..400 * count {
            let zone = of_zones[rng.random_range(0..of_zones.len())];
            let south = rng.random_range(lats.clone()) < 0.0;
            let tiles = zones.of(zone, south);
            let (tile, ring) = tiles[rng.random_range(0..tiles.len())].clone();
            if !ring.iter().any(|point| lats.contains(&point.lat)) {
                continue;
            }
            let own = own_cells(&tile, &grid).unwrap();
            // Tiles at a zone's border own a part of their cells only.
            let at_border = own.len() < 26 * 26;
            if own.is_empty() || (!at_border && rng.random_bool(0.8)) {
                continue;
            }
            check_place(&tile, &own, &grid);
            let mut by_place: BTreeSet<(usize, usize)> = BTreeSet::new();
            for cell in &own {
                assert!(by_place.insert((cell.row, cell.col)), "{kind}: {} has a cell twice", tile.id);
            }
            for other in zones.neighbours(&tile, &ring) {
                let cells = own_cells(&other, &grid).unwrap();
                let pairs = check_apart(&tile, &by_place, &other, &cells, &grid);
                pairs_seen += pairs;
                borders_seen += usize::from(pairs > 0 && other.epsg != tile.epsg);
            }
            cells_seen += own.len();
            done += 1;
            if done == count {
                break;
            }
        }
        assert_eq!(done, count, "{kind}: too few tiles");
    }
    println!(
        "{cells_seen} cells, {pairs_seen} close pairs, {borders_seen} pairs of tiles across a border of zones"
    );
    assert!(pairs_seen > 1000 && borders_seen > 20, "{pairs_seen} {borders_seen}");
}

fn check_place(tile: &Tile, own: &[Cell], grid: &CellGrid) {
    let utm = utm(tile);
    let extent = tile.bounds();
    for cell in own {
        let Bounds { x_min, y_min, x_max, y_max } = cell.bounds;
        let name = format!("{} {} {}", tile.id, cell.row, cell.col);
        assert_eq!(cell.bounds, grid.cell_bounds(tile, cell.row, cell.col), "{name}");
        assert!(
            x_min >= extent.x_min && x_max <= extent.x_max && y_min >= extent.y_min && y_max <= extent.y_max,
            "{name} leaves its tile"
        );
        let middle = cell.bounds.center();
        let places = [
            (cell.center, middle.x, middle.y),
            (cell.corners[0], x_min, y_min),
            (cell.corners[1], x_max, y_min),
            (cell.corners[2], x_max, y_max),
            (cell.corners[3], x_min, y_max),
        ];
        for (place, x, y) in places {
            let found = to_metres(&utm, place);
            assert!((found.x - x).hypot(found.y - y) < 0.001, "{name}: {found:?}, expected {x} {y}");
        }
    }
}

/// How many pairs of cells are within a cell of each other; none share ground.
fn check_apart(
    tile: &Tile,
    own: &BTreeSet<(usize, usize)>,
    other: &Tile,
    cells: &[Cell],
    grid: &CellGrid,
) -> usize {
    let (here, there) = (utm(tile), utm(other));
    let size = grid.cell_size_m();
    let mut close = 0;
    for cell in cells {
        let middle = to_metres(&here, cell.center);
        let (col, row) = ((middle.x - tile.origin.x) / size, (tile.origin.y - middle.y) / size);
        if !(-2.0..30.0).contains(&col) || !(-2.0..30.0).contains(&row) {
            continue;
        }
        let ground = seen_in(&cell.bounds, &there, &here);
        for row in (row.floor() as i32 - 2)..=(row.floor() as i32 + 2) {
            for col in (col.floor() as i32 - 2)..=(col.floor() as i32 + 2) {
                let (Ok(row), Ok(col)) = (usize::try_from(row), usize::try_from(col)) else { continue };
                if !own.contains(&(row, col)) {
                    continue;
                }
                let b = grid.cell_bounds(tile, row, col);
                let rect = Rect::new((b.x_min, b.y_min), (b.x_max, b.y_max));
                let name = format!("{} {row} {col} and {} {} {}", tile.id, other.id, cell.row, cell.col);
                assert!(!ground.intersects(&rect), "{name} share ground");
                close += 1;
            }
        }
    }
    close
}

/// What ownership costs: nearly all ground of a tile's square is in a cell.
#[test]
fn cells_cover_the_ground() {
    let grid = CellGrid::default();
    let cells = own_cells(&Tile::from_id("35KMQ").unwrap(), &grid).unwrap().len();
    let covered = cells as f64 * grid.cell_size_m().powi(2) / 1e10;
    assert!(covered > 0.996, "{covered}");
}
