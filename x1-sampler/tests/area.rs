//! Areas of interest from files and countries, and how tiles and cells lie to them, also at 180° and at the poles.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use gdal::DriverManager;
use gdal::spatial_ref::{AxisMappingStrategy, SpatialRef};
use gdal::vector::{Geometry, LayerAccess, LayerOptions, OGRwkbGeometryType};
use geo::{Contains, GeodesicArea, Intersects, LineString, MultiPolygon, Point, Polygon};
use minicube::testing::real;
use minicube::{CellGrid, Epsg, LonLat, Tile};
use proj::Proj;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use x1_sampler::{
    Aoi, Lies, bbox_area, cell_at, countries, is_land_tile, own_cells, parse_wkt, read_area, read_grid_file,
    ring, tiles_of_zone,
};

/// Writes features to a layer of a new file; `epsg` 0 means: no reference system.
fn write(driver: &str, path: &Path, layers: &[(&str, u32, &[&str])]) {
    let mut dataset = DriverManager::get_driver_by_name(driver).unwrap().create_vector_only(path).unwrap();
    for (name, epsg, features) in layers {
        let srs = (*epsg != 0).then(|| {
            let mut srs = SpatialRef::from_epsg(*epsg).unwrap();
            srs.set_axis_mapping_strategy(AxisMappingStrategy::TraditionalGisOrder);
            srs
        });
        let options = LayerOptions {
            name,
            srs: srs.as_ref(),
            ty: OGRwkbGeometryType::wkbPolygon,
            ..LayerOptions::default()
        };
        let mut layer = dataset.create_layer(options).unwrap();
        for wkt in *features {
            layer.create_feature(Geometry::from_wkt(wkt).unwrap()).unwrap();
        }
    }
}

/// Whether places are in an area; degrees.
#[track_caller]
fn check(area: &MultiPolygon<f64>, inside: &[(f64, f64)], outside: &[(f64, f64)]) {
    for &place in inside {
        assert!(area.contains(&Point::from(place)), "{place:?} is outside");
    }
    for &place in outside {
        assert!(!area.contains(&Point::from(place)), "{place:?} is inside");
    }
}

const UTM_SQUARE: &str = "POLYGON((450000 7500000,550000 7500000,550000 7600000,450000 7600000,450000 7500000),\
                          (490000 7540000,490000 7560000,510000 7560000,510000 7540000,490000 7540000))";

#[test]
fn formats_of_gdal_in_metres_become_degrees() {
    let dir = tempfile::tempdir().unwrap();
    let proj = Proj::new("+proj=utm +zone=35 +south +datum=WGS84").unwrap();
    let place = |x: f64, y: f64| -> (f64, f64) {
        let (lon, lat) = proj.project((x, y), true).unwrap();
        (lon.to_degrees(), lat.to_degrees())
    };
    for (driver, file) in [("GPKG", "a.gpkg"), ("ESRI Shapefile", "a.shp"), ("FlatGeobuf", "a.fgb")] {
        let path = dir.path().join(file);
        write(driver, &path, &[("a", 32735, &[UTM_SQUARE])]);
        let area = read_area(&path, None).unwrap();
        // Five metres on both sides of the edges, half way between corners, and of the edge of the hole.
        check(
            &area,
            &[place(450_005.0, 7_550_000.0), place(475_000.0, 7_500_005.0), place(500_000.0, 7_560_005.0)],
            &[place(449_995.0, 7_550_000.0), place(475_000.0, 7_499_995.0), place(500_000.0, 7_559_995.0)],
        );
    }
}

#[test]
fn axes_are_east_and_north_whatever_the_code_says() {
    let dir = tempfile::tempdir().unwrap();
    // EPSG:3035 names northing first; its origin (4 321 000, 3 210 000) is at 10° E, 52° N.
    let path = dir.path().join("laea.gpkg");
    let square = "POLYGON((4311000 3200000,4331000 3200000,4331000 3220000,4311000 3220000,4311000 3200000))";
    write("GPKG", &path, &[("a", 3035, &[square])]);
    check(&read_area(&path, None).unwrap(), &[(10.0, 52.0), (10.1, 52.05)], &[(10.2, 52.0), (52.0, 10.0)]);
    let path = dir.path().join("degrees.kml");
    write("KML", &path, &[("a", 4326, &["POLYGON((20 1,21 1,21 2,20 2,20 1))"])]);
    check(&read_area(&path, None).unwrap(), &[(20.5, 1.5)], &[(1.5, 20.5)]);
}

#[test]
fn geojson_may_name_its_reference_system() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.geojson");
    let text = r#"{"type":"FeatureCollection","crs":{"type":"name","properties":{"name":"urn:ogc:def:crs:EPSG::32735"}},
        "features":[{"type":"Feature","properties":{},"geometry":{"type":"Polygon","coordinates":
        [[[450000,7500000],[550000,7500000],[550000,7600000],[450000,7500000]]]}}]}"#;
    std::fs::write(&path, text).unwrap();
    check(&read_area(&path, None).unwrap(), &[(27.2, -22.3)], &[(26.6, -21.8)]);
}

#[test]
fn wkt_files_may_hold_several_polygons() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wkt");
    std::fs::write(&path, "SRID=4326;POLYGON((0 0,1 0,1 1,0 1,0 0))\nPOLYGON((5 5,6 5,6 6,5 6,5 5))\n")
        .unwrap();
    check(&read_area(&path, None).unwrap(), &[(0.5, 0.5), (5.5, 5.5)], &[(3.0, 3.0)]);
    assert!(read_area(&path, Some("a")).unwrap_err().to_string().contains("no layers"));
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { dir.path().join(name) };
    let reason = |name: &str, layer: Option<&str>| read_area(&path(name), layer).unwrap_err().to_string();
    let (one, two) = ("POLYGON((0 0,1 0,1 1,0 1,0 0))", "POLYGON((5 5,6 5,6 6,5 6,5 5))");
    write("GPKG", &path("two.gpkg"), &[("parks", 4326, &[one]), ("lakes", 4326, &[two])]);
    assert!(reason("two.gpkg", None).contains("2 layers, choose one: parks, lakes"));
    assert!(reason("two.gpkg", Some("lake")).contains("no layer `lake`, only parks, lakes"));
    check(&read_area(&path("two.gpkg"), Some("lakes")).unwrap(), &[(5.5, 5.5)], &[(0.5, 0.5)]);

    write("ESRI Shapefile", &path("degrees.shp"), &[("degrees", 0, &[one])]);
    check(&read_area(&path("degrees.shp"), None).unwrap(), &[(0.5, 0.5)], &[(1.5, 0.5)]);
    write("ESRI Shapefile", &path("metres.shp"), &[("metres", 0, &[UTM_SQUARE])]);
    assert!(reason("metres.shp", None).contains("expected degrees"));

    write("GPKG", &path("ring.gpkg"), &[("a", 4326, &[one, "POLYGON((0 0,1 1,0 0))"])]);
    assert!(reason("ring.gpkg", None).contains("feature 2: expected at least 4 points in a ring, found 3"));
    std::fs::write(path("no.gpkg"), "no").unwrap();
    assert!(reason("no.gpkg", None).contains("GDAL cannot read it"));
    assert!(reason("absent.gpkg", None).contains("no such file"));
    assert!(reason("absent.geojson", None).contains("absent.geojson"));
}

/// A square of 600 km across 180° in UTM, and one around the south pole in polar metres.
#[test]
fn metres_across_180_and_around_a_pole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fiji.gpkg");
    let square = "POLYGON((0 8000000,600000 8000000,600000 8300000,0 8300000,0 8000000))";
    write("GPKG", &path, &[("a", 32701, &[square])]);
    check(
        &read_area(&path, None).unwrap(),
        &[(179.5, -17.0), (-179.5, -17.0)],
        &[(175.0, -17.0), (-175.0, -17.0)],
    );
    let path = dir.path().join("pole.gpkg");
    let square = "POLYGON((-1e6 -1e6,1e6 -1e6,1e6 1e6,-1e6 1e6,-1e6 -1e6))";
    write("GPKG", &path, &[("a", 3031, &[square])]);
    let area = read_area(&path, None).unwrap();
    // The sides are 9° from the pole, the corners 13°.
    let lons = [-179.9, -135.0, -90.0, 0.0, 45.0, 179.9];
    check(&area, &lons.map(|lon| (lon, -82.0)), &lons.map(|lon| (lon, -76.0)));
    check(&area, &[(45.0, -78.0)], &[(90.0, -78.0)]);
}

/// Star-shaped polygons with a hole, and squares of many sizes: the same answers as from `geo`, of the index and of the
/// plain walk along the outlines.
#[test]
fn ground_lies_as_geo_says() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut seen = [0; 3];
    for _ in 0..30 {
        let (lon, lat) = (rng.random_range(-150.0..150.0), rng.random_range(-60.0..60.0));
        let count = rng.random_range(3..300);
        let mut star = |low: f64, high: f64| -> LineString<f64> {
            let points = (0..count).map(|step| {
                let (angle, radius) =
                    (f64::from(step) / f64::from(count) * std::f64::consts::TAU, rng.random_range(low..high));
                (lon + radius * angle.cos(), lat + radius * angle.sin())
            });
            points.collect()
        };
        let polygon = Polygon::new(star(5.0, 9.0), vec![star(0.5, 2.0)]);
        let area = MultiPolygon::new(vec![polygon.clone()]);
        let aoi = Aoi { name: "star".into(), area: Some(area.clone()), tiles: BTreeSet::new() };
        let index = aoi.index();
        for _ in 0..200 {
            let size = 10_f64.powf(rng.random_range(-2.0..1.0));
            let (x, y) = (lon + rng.random_range(-10.0..10.0), lat + rng.random_range(-10.0..10.0));
            let corners = [(x, y), (x + size, y + 0.1 * size), (x + size, y + size), (x, y + size)];
            let square = Polygon::new(corners.to_vec().into(), Vec::new());
            let expected = if area.contains(&square) {
                Lies::Inside
            } else if area.intersects(&square) {
                Lies::Across
            } else {
                Lies::Outside
            };
            seen[expected as usize] += 1;
            // Whole turns of longitude make no difference.
            for turn in [0.0, 360.0] {
                let ring = corners.map(|(x, y)| LonLat { lon: x - turn, lat: y });
                assert_eq!(index.locate(&ring), expected, "{corners:?}");
                assert_eq!(aoi.locate(&ring), expected, "{corners:?}");
            }
        }
    }
    assert!(seen.iter().all(|&count| count > 500), "{seen:?}");
}

/// The cells of tiles on both sides of 180° lie as the plain test of `geo` says on their own side.
#[test]
fn cells_next_to_180_are_found() {
    let grid = CellGrid::default();
    let west = bbox_area([177.0, -19.5, -178.0, -16.0]);
    let drawn = parse_wkt("POLYGON((177 -19.5,182 -19.5,182 -16,177 -16,177 -19.5))").unwrap();
    for (name, area) in [("box", west), ("drawn beyond 180", drawn)] {
        let aoi = Aoi { name: name.into(), area: Some(area), tiles: BTreeSet::new() };
        let tiles = aoi.find_tiles().unwrap();
        for id in ["01KAB", "60KXF", "60KYF", "60KYG", "01KBB"] {
            assert!(tiles.iter().any(|(tile, _)| tile.id == id), "{id} in the {name}");
        }
        let index = aoi.index();
        let mut sides = [0; 2];
        for (tile, lies) in &tiles {
            for cell in own_cells(tile, &grid).unwrap() {
                let inside = cell.corners.iter().all(|corner| {
                    (-19.5..-16.0).contains(&corner.lat) && !(-178.0..177.0).contains(&corner.lon)
                });
                assert_eq!(
                    index.locate(&cell.corners) == Lies::Inside,
                    inside,
                    "{} {} {}",
                    tile.id,
                    cell.row,
                    cell.col
                );
                assert!(*lies != Lies::Inside || inside, "{}", tile.id);
                sides[usize::from(cell.center.lon < 0.0)] += usize::from(inside);
            }
        }
        assert!(sides.iter().all(|&count| count > 4000), "{sides:?}");
    }
    // Chukotka and Wrangel Island.
    let russia =
        Aoi { name: "Russia".into(), area: Some(countries(&["RU".into()]).unwrap()), tiles: BTreeSet::new() };
    let tiles = russia.find_tiles().unwrap();
    for (id, place) in [("01WDR", (-175.0, 67.0)), ("60WWB", (179.0, 67.5)), ("01XDA", (-179.0, 71.2))] {
        assert!(russia.area.as_ref().unwrap().contains(&Point::from(place)), "{place:?}");
        assert!(tiles.iter().any(|(tile, _)| tile.epsg == Tile::from_id(id).unwrap().epsg), "{id}");
    }
    let index = russia.index();
    let inside = |zone: u8| -> usize {
        let of_zone = tiles.iter().filter(|(tile, _)| tile.epsg == Epsg::utm(zone, false));
        let cells = of_zone.flat_map(|(tile, _)| own_cells(tile, &grid).unwrap());
        cells.filter(|cell| index.locate(&cell.corners) == Lies::Inside).count()
    };
    // Chukotka has 720 000 km², most of it in zones 58 to 60; a cell has 14.7 km².
    assert!(inside(1) > 2000 && inside(60) > 8000, "{} {}", inside(1), inside(60));
}

#[test]
fn areas_may_reach_the_poles() {
    let of = |area: MultiPolygon<f64>| {
        let aoi = Aoi { name: "pole".into(), area: Some(area), tiles: BTreeSet::new() };
        aoi.find_tiles().unwrap()
    };
    let arctic = of(bbox_area([-180.0, 80.0, 180.0, 90.0]));
    assert!(arctic.iter().all(|(tile, _)| tile.id.as_bytes()[2] == b'X'));
    let zones: BTreeSet<u32> = arctic.iter().map(|(tile, _)| tile.epsg.0).collect();
    // All but 32, 34 and 36, which Svalbard has not.
    assert_eq!(zones.len(), 57);
    let ice = of(countries(&["Antarctica".into()]).unwrap());
    let zones: BTreeSet<u32> = ice.iter().map(|(tile, _)| tile.epsg.0).collect();
    // The ice shelf at 175° E ends beyond the grid.
    assert_eq!(zones.len(), 59, "{zones:?}");
    assert!(ice.iter().any(|(tile, lies)| tile.id == "33CWM" && *lies == Lies::Inside), "at 15° E, 79° S");
}

#[test]
fn every_zone_is_found_in_the_world() {
    let mut made = 0;
    for zone in 1..=60 {
        made += tiles_of_zone(zone, false).unwrap().len() + tiles_of_zone(zone, true).unwrap().len();
    }
    let world = Aoi {
        name: "world".into(),
        area: Some(bbox_area([-180.0, -90.0, 180.0, 90.0])),
        tiles: BTreeSet::new(),
    };
    assert_eq!(world.find_tiles().unwrap().len(), made);
}

fn country(name: &str) -> MultiPolygon<f64> {
    countries(&[name.to_owned()]).unwrap()
}

/// Capitals and other cities, from any atlas.
#[test]
fn countries_hold_their_cities() {
    for (name, code, lon, lat) in [
        ("Kenya", "KE", 36.82, -1.29),
        ("Botswana", "BW", 25.91, -24.65),
        ("South Africa", "ZA", 28.19, -25.75),
        ("Lesotho", "LS", 27.6, -29.4),
        ("DR Congo", "CD", 25.2, 0.5),
        ("Egypt", "EG", 31.24, 30.04),
        ("Germany", "DE", 13.4, 52.52),
        ("France", "FR", 2.35, 48.86),
        ("French Guiana", "GF", -52.9, 4.3),
        ("Svalbard", "SJ", 17.0, 78.0),
        ("Türkiye", "TR", 32.86, 39.93),
        ("Russian Federation", "RU", 37.62, 55.75),
        ("United States", "US", -98.0, 39.0),
        ("Brazil", "BR", -47.9, -15.8),
        ("Chile", "CL", -70.67, -33.45),
        ("India", "IN", 77.2, 28.6),
        ("China", "CN", 116.4, 39.9),
        ("Japan", "JP", 139.0, 36.3),
        ("Mongolia", "MN", 106.9, 47.9),
        ("Australia", "AU", 149.1, -35.3),
        ("New Zealand", "NZ", 175.6, -40.35),
        ("Iceland", "IS", -19.0, 65.0),
        ("Greenland", "GL", -40.0, 70.0),
        ("Côte d'Ivoire", "CI", -5.28, 6.82),
        ("São Tomé and Príncipe", "ST", 6.6, 0.22),
        ("North Korea", "KP", 125.75, 39.02),
        ("Kosovo", "XK", 21.1, 42.6),
    ] {
        let by_name = country(name);
        check(&by_name, &[(lon, lat)], &[(lon + 180.0, -lat), (-30.0, 0.0)]);
        assert_eq!(by_name, country(code), "{name} {code}");
    }
    // Overseas parts have codes of their own, as in ISO 3166.
    check(&country("France"), &[], &[(-52.9, 4.3), (55.5, -21.1)]);
    check(&country("ZA"), &[], &[(27.6, -29.4), (28.2, -29.5)]);
    check(&country("Fiji"), &[(178.0, -17.8), (179.3, -16.6), (-179.97, -16.15)], &[(0.0, -17.0)]);
}

/// Areas in thousands of square kilometres, from national statistics.
#[test]
fn countries_have_their_size() {
    for (code, expected) in [
        ("KE", 580.4),
        ("BW", 581.7),
        ("ZA", 1221.0),
        ("LS", 30.4),
        ("BR", 8510.0),
        ("IS", 103.0),
        ("RU", 17098.0),
        ("AU", 7688.0),
        ("FJ", 18.3),
        ("DE", 357.6),
        ("NP", 147.5),
    ] {
        let found = country(code).geodesic_area_unsigned() / 1e9;
        assert!((found / expected - 1.0).abs() < 0.04, "{code}: {found}");
    }
    // A polygon around the pole: 12.3 million km² without ice shelves (doi:10.5194/tc-7-375-2013).
    let ice = country("AQ").geodesic_area_unsigned() / 1e9;
    assert!((12_000.0..12_600.0).contains(&ice), "{ice}");
}

#[test]
fn borders_within_an_area_are_gone() {
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
    let both = countries(&names(&["Botswana", "ZW"])).unwrap();
    assert_eq!(
        both,
        countries(&names(&["716", "botswana", "BWA"])).unwrap(),
        "neither order nor spelling matters"
    );
    let aoi = |area| Aoi { name: "test".into(), area: Some(area), tiles: BTreeSet::new() };
    // Plumtree, where the border is.
    let ground =
        [(27.6, -20.6), (27.8, -20.6), (27.8, -20.4), (27.6, -20.4)].map(|(lon, lat)| LonLat { lon, lat });
    assert_eq!(aoi(country("BW")).locate(&ground), Lies::Across);
    assert_eq!(aoi(country("ZW")).locate(&ground), Lies::Across);
    assert_eq!(aoi(both).locate(&ground), Lies::Inside);
}

#[test]
fn names_are_found_in_many_spellings() {
    for (first, second) in [
        ("united states of america", "USA"),
        ("U.K.", "gb"),
        ("Ivory Coast", "cote d'ivoire"),
        ("St. Lucia", "LCA"),
        ("The Gambia", "Gambia"),
        ("Bosnia & Herzegovina", "070"),
        ("4", "Afghanistan"),
        ("Czech Republic", "CZ"),
        ("Congo", "COG"),
        ("guinea bissau", "GW"),
        ("Aland Islands", "AX"),
        ("Swaziland", "Eswatini"),
    ] {
        assert_eq!(country(first), country(second), "{first}");
    }
    let reason = |name: &str| countries(&[name.to_owned()]).unwrap_err().to_string();
    assert!(reason("Botsvana").contains("Botsvana: not known; near are Botswana"), "{}", reason("Botsvana"));
    assert!(reason("Zimbabwae").contains("near are Zimbabwe"));
    assert!(reason("QQ").contains("not known"));
    assert!(reason("Tuvalu").contains("too small"));
}

#[test]
fn the_list_of_land_tiles_is_that_of_the_real_grid() {
    let Some(path) = real("s2_grid/sentinel-2-grid_LAND.parquet") else { return };
    let real = read_grid_file(&path).unwrap();
    assert_eq!((real.ids.len(), real.compared), (20_430, 20_430));
    let mut land = 0;
    for zone in 1..=60 {
        for south in [false, true] {
            for (tile, _) in tiles_of_zone(zone, south).unwrap() {
                assert_eq!(is_land_tile(&tile.id), real.ids.contains(&tile.id), "{}", tile.id);
                land += usize::from(is_land_tile(&tile.id));
            }
        }
    }
    assert_eq!(land, 20_430);
}

/// The built-in outlines, cell by cell: what is inside a tile that is inside is inside.
#[test]
fn tiles_inside_hold_cells_inside() {
    let grid = CellGrid::default();
    let aoi = Aoi { name: "Kenya".into(), area: Some(country("Kenya")), tiles: BTreeSet::new() };
    let index = aoi.index();
    let tiles = aoi.find_tiles().unwrap();
    let mut count = [0; 3];
    for (tile, lies) in &tiles {
        count[*lies as usize] += 1;
        let cells = own_cells(tile, &grid).unwrap();
        if *lies == Lies::Inside {
            assert!(cells.iter().all(|cell| index.locate(&cell.corners) == Lies::Inside), "{}", tile.id);
        }
        assert_eq!(index.locate(&ring(tile).unwrap()), *lies, "{}", tile.id);
    }
    assert!(count[0] > 20 && count[1] > 20, "{count:?}");
}

/// All land of the countries, some 9.7 million cells: tiles that are not on the list of land tiles hold next to none, and
/// random places on land are in a cell that is some listed tile's own, but for the strips between cells and at the
/// borders of zones.
#[test]
fn the_grid_covers_the_land() {
    let codes: Vec<String> = (1..=999).map(|number| format!("{number:03}")).collect();
    let known: Vec<String> =
        codes.into_iter().filter(|code| countries(std::slice::from_ref(code)).is_ok()).collect();
    assert!(known.len() > 240, "{}", known.len());
    let aoi = Aoi { name: "land".into(), area: Some(countries(&known).unwrap()), tiles: BTreeSet::new() };
    let (grid, index) = (CellGrid::default(), aoi.index());
    let mut missing = 0;
    for (tile, _) in aoi.find_tiles().unwrap().iter().filter(|(tile, _)| !is_land_tile(&tile.id)) {
        let cells = own_cells(tile, &grid).unwrap();
        let on_land = cells.iter().filter(|cell| index.locate(&cell.corners) == Lies::Inside).count();
        if on_land > 0 {
            println!("{} has {on_land} cells on land", tile.id);
        }
        missing += on_land;
    }
    assert!(missing < 100, "{missing} cells");

    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut of_tile: BTreeMap<String, BTreeSet<(usize, usize)>> = BTreeMap::new();
    let (mut places, mut held) = (0, 0);
    while places < 4000 {
        let place = LonLat {
            lon: rng.random_range(-180.0..180.0),
            lat: rng.random_range(-1.0_f64..0.995).asin().to_degrees(),
        };
        let spot = [(0.0, 0.0), (1e-4, 0.0), (0.0, 1e-4)]
            .map(|(x, y)| LonLat { lon: place.lon + x, lat: place.lat + y });
        if place.lat < -80.0 || index.locate(&spot) != Lies::Inside {
            continue;
        }
        places += 1;
        let Some((id, row, col)) = cell_at(place, &grid).unwrap() else { continue };
        let own = of_tile.entry(id.clone()).or_insert_with(|| {
            let cells = own_cells(&Tile::from_id(&id).unwrap(), &grid).unwrap();
            cells.iter().map(|cell| (cell.row, cell.col)).collect()
        });
        held += usize::from(is_land_tile(&id) && own.contains(&(row, col)));
    }
    let share = f64::from(held as u32) / f64::from(places as u32);
    println!("{share} of the land is in a cell");
    assert!(share > 0.97, "{share}");
}
