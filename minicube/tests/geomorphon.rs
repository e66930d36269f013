//! Geomorphons: maps made by GRASS, and land whose form is known by hand.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

use std::fs::File;

use arrow::array::AsArray;
use arrow::datatypes::{ArrowPrimitiveType, Float32Type, UInt8Type};
use minicube::terrain::{CellSize, GEOMORPHONS, Geomorphons, geomorphons};
use ndarray::{Array2, s};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const FLAT: u8 = 1;
const SUMMIT: u8 = 2;
const RIDGE: u8 = 3;
const SLOPE: u8 = 6;
const FOOTSLOPE: u8 = 8;
const VALLEY: u8 = 9;
const DEPRESSION: u8 = 10;

/// See `data/geomorphon/README.md`.
const OPTIONS: [Geomorphons; 4] = [
    Geomorphons { search: 3, skip: 0, flat_deg: 1.0, flat_distance: 0 },
    Geomorphons { search: 11, skip: 0, flat_deg: 1.0, flat_distance: 0 },
    Geomorphons { search: 20, skip: 3, flat_deg: 2.0, flat_distance: 0 },
    Geomorphons { search: 15, skip: 0, flat_deg: 1.0, flat_distance: 6 },
];

fn column<T: ArrowPrimitiveType>(name: &str) -> Array2<T::Native> {
    let path = minicube::testing::own_file("tests/data/geomorphon/geomorphon.parquet");
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let batches = reader
        .build()
        .unwrap()
        .map(|batch| batch.unwrap().column_by_name(name).unwrap().as_primitive::<T>().values().to_vec());
    Array2::from_shape_vec((160, 160), batches.flatten().collect()).unwrap()
}

#[test]
fn the_maps_of_grass_are_met_in_every_cell() {
    for (case, cell_m) in [("fractal", 30.0), ("srtm", 90.0)] {
        let dem = column::<Float32Type>(&format!("{case}_dem"));
        for (k, options) in OPTIONS.iter().enumerate() {
            let expected = column::<UInt8Type>(&format!("{case}_{k}"));
            let found = geomorphons(dem.view(), cell_m, options);
            let wrong: Vec<_> =
                found.indexed_iter().filter(|&(at, &form)| form != expected[at]).map(|(at, _)| at).collect();
            assert!(wrong.is_empty(), "{case}_{k}: {} cells differ, the first: {:?}", wrong.len(), wrong[0]);
        }
    }
}

/// Heights of 15 × 15 cells by steps south and east of the middle.
fn land(height: impl Fn(i32, i32) -> f64) -> Array2<f64> {
    Array2::from_shape_fn((15, 15), |(y, x)| height(y as i32 - 7, x as i32 - 7))
}

/// The form in the middle; cells of 10 m, lines of sight up to the fifth cell.
fn middle(dem: &Array2<f64>) -> u8 {
    geomorphons(dem.view(), 10.0, &Geomorphons { search: 6, ..Geomorphons::default() })[[7, 7]]
}

#[test]
fn simple_land_has_the_form_it_is_named_after() {
    let square = |y: i32, x: i32| f64::from(y * y + x * x);
    assert_eq!(middle(&land(|_, _| 250.0)), FLAT);
    assert_eq!(middle(&land(|y, x| -square(y, x))), SUMMIT, "eight of eight are lower");
    assert_eq!(middle(&land(square)), DEPRESSION);
    assert_eq!(middle(&land(|_, x| square(0, x))), VALLEY, "level along it, six higher");
    assert_eq!(middle(&land(|y, x| -square(0, x + y))), RIDGE, "level along it, six lower");
    assert_eq!(middle(&land(bent)), SLOPE, "two level, three higher, three lower");
    // A valley that falls to the south: seven higher, one lower.
    assert_eq!(middle(&land(|y, x| 3.0 * square(0, x) - f64::from(y) - 1e-3 * square(y, 0))), VALLEY);
    let named = [FLAT, SUMMIT, RIDGE, SLOPE, FOOTSLOPE, VALLEY, DEPRESSION];
    let names = ["flat", "summit", "ridge", "slope", "footslope", "valley", "depression"];
    assert_eq!(named.map(|form| GEOMORPHONS[usize::from(form) - 1]), names);
}

/// Rises by 1 m a cell to the east, all but straight.
fn bent(_: i32, x: i32) -> f64 {
    f64::from(x) + 1e-3 * f64::from(x * x)
}

/// Where all that is seen lies at one angle there is no highest and no lowest; GRASS calls that level.
#[test]
fn a_perfect_plane_is_flat() {
    assert_eq!(middle(&land(|_, x| f64::from(x))), FLAT);
}

#[test]
fn what_is_seen_at_less_than_the_threshold_is_level() {
    // 10 m × tan 1° = 0.1746 m.
    let tilted = |rise: f64| land(move |y, x| rise * bent(y, x));
    assert_eq!(middle(&tilted(0.17)), FLAT);
    assert_eq!(middle(&tilted(0.18)), FLAT, "east and west only: diagonals rise as much on 14 m");
    assert_eq!(middle(&tilted(0.25)), SLOPE, "0.1746 m × √2 = 0.2469 m");
}

#[test]
fn beyond_the_flatness_distance_a_height_counts() {
    // A rim of 1.2 m seven cells away: atan(1.2 / 70) = 0.98°, less on the diagonals (99 m, within the radius of 110 m).
    let rim = land(|y, x| if y.abs().max(x.abs()) == 7 { 1.2 } else { 0.0 });
    // One more row in the south, since cells near the last row do not see it.
    let mut wide = Array2::zeros((16, 15));
    wide.slice_mut(s![..15, ..]).assign(&rim);
    let form = |options: &Geomorphons| geomorphons(wide.view(), 10.0, options)[[7, 7]];
    let without = Geomorphons { search: 11, ..Geomorphons::default() };
    assert_eq!(form(&without), FLAT);
    // 60 m × tan 1° = 1.05 m.
    assert_eq!(form(&Geomorphons { flat_distance: 6, ..without }), DEPRESSION);
    assert_eq!(
        form(&Geomorphons { flat_distance: 11, ..without }),
        FLAT,
        "off: not within the search radius"
    );
}

#[test]
fn the_search_radius_ends_before_its_last_cell() {
    let wall = land(|y, x| if y.abs().max(x.abs()) == 5 { 50.0 } else { 0.0 });
    let form =
        |search| geomorphons(wall.view(), 10.0, &Geomorphons { search, ..Geomorphons::default() })[[7, 7]];
    assert_eq!(form(5), FLAT);
    assert_eq!(form(6), FOOTSLOPE, "four higher; the corners are 70.7 m away");
}

#[test]
fn voids_block_the_view_beside_the_observer_only() {
    let dome = |y: i32, x: i32| -f64::from(y * y + x * x);
    let holed = |hole: (i32, i32)| land(move |y, x| if (y, x) == hole { f64::NAN } else { dome(y, x) });
    assert_eq!(middle(&holed((0, 1))), RIDGE, "seven lower, one level");
    assert_eq!(middle(&holed((0, 2))), SUMMIT);
    assert_eq!(middle(&holed((0, 0))), 0);
}

#[test]
fn the_border_is_as_wide_as_the_nearest_cell_that_is_seen() {
    let forms = geomorphons(
        Array2::<f32>::zeros((9, 12)).view(),
        30.0,
        &Geomorphons { skip: 1, ..Geomorphons::default() },
    );
    assert!(forms.slice(s![2..7, 2..10]).iter().all(|&form| form == FLAT));
    assert_eq!(forms.iter().filter(|&&form| form == FLAT).count(), 5 * 8);
    let tiny = geomorphons(Array2::<f32>::zeros((2, 0)).view(), 30.0, &Geomorphons::default());
    assert_eq!(tiny.dim(), (2, 0));
}

/// Cells twice as long as wide: the radius of 5 × 20 m reaches nine cells to the east, four to the south.
#[test]
fn cells_need_not_be_square() {
    let options = Geomorphons { search: 5, ..Geomorphons::default() };
    let dem = Array2::from_shape_fn((15, 30), |(y, x)| if x == 24 || y == 12 { 99.0f32 } else { 0.0 });
    let forms = geomorphons(dem.view(), CellSize { x: 10.0, y: 20.0 }, &options);
    // East sees the wall at column 24 from column 15 on, south and its diagonals that at row 12 from row 8 on.
    assert_eq!(forms[[4, 14]], FLAT);
    assert_eq!(forms[[8, 8]], FOOTSLOPE, "three higher");
    assert_eq!(forms[[7, 8]], FLAT);
    assert_eq!(forms[[8, 15]], FOOTSLOPE, "four higher");
}

/// Turned upside down, summits are depressions, ridges valleys, shoulders footslopes and spurs hollows.
#[test]
fn land_upside_down_has_the_opposite_forms() {
    let dem = column::<Float32Type>("srtm_dem");
    let opposite = |form: u8| if form > FLAT { 12 - form } else { form };
    let up = geomorphons(dem.view(), 90.0, &OPTIONS[1]);
    let down = geomorphons(dem.mapv(|z| -z).view(), 90.0, &OPTIONS[1]);
    assert_eq!(up.mapv(opposite), down);
}

/// Mirrored land has the mirrored forms, whatever the layout in memory.
#[test]
fn east_and_west_are_alike() {
    let dem = column::<Float32Type>("fractal_dem");
    let mirrored = geomorphons(dem.slice(s![.., ..;-1]), 30.0, &OPTIONS[3]);
    assert_eq!(mirrored.slice(s![.., ..;-1]), geomorphons(dem.view(), 30.0, &OPTIONS[3]));
}
