//! Whether samples of different splits show the same ground at the same time.

use minicube::{Bounds, Epsg, LonLat, Split, XY, from_cf_day};

use crate::separation::SplitMode;
use crate::utm::{from_utm, to_utm};

/// Cubes that overlap by less than this touch: edges of another zone are bent by some decimetres over a cube's length.
const TOUCH_M: f64 = 1.0;

/// Metres on the ground of a radian of the sphere, rounded up.
const RADIUS_M: f64 = 6_400_000.0;

/// A cube in a split: its ground, and the days from the first to the last of its samples there.
#[derive(Clone, Debug, PartialEq)]
pub struct Ground {
    /// The cube.
    pub cube_id: String,
    /// Its split.
    pub split: Split,
    /// UTM zone of the bounds.
    pub epsg: Epsg,
    /// Outer edges of its pixels (m).
    pub bounds: Bounds,
    /// First day of its samples (CF day).
    pub from: i32,
    /// Last day of its samples (CF day).
    pub to: i32,
}

impl Ground {
    fn text(&self) -> String {
        let (from, to) = (from_cf_day(self.from), from_cf_day(self.to));
        format!("{} ({}, {from} to {to})", self.cube_id, self.split)
    }
}

/// Pairs of cubes of different splits, each in words, that share ground, or lie nearer than `buffer_m`; with
/// [`SplitMode::Temporal`] only those whose days, from the first to the last sample, overlap as well. So no frame of
/// one split lies within the years that another split has seen of the same ground.
///
/// Cubes of different UTM zones are compared in the zone of the first.
#[must_use]
pub fn leaks(grounds: &[Ground], mode: SplitMode, buffer_m: f64) -> Vec<String> {
    // By latitude, so that a cube is compared with those of its parallel only.
    let mut order: Vec<(LonLat, f64, &Ground)> =
        grounds.iter().filter_map(|ground| middle(ground).map(|(at, reach)| (at, reach, ground))).collect();
    order.sort_by(|a, b| a.0.lat.total_cmp(&b.0.lat).then_with(|| a.2.cube_id.cmp(&b.2.cube_id)));
    let longest = order.iter().map(|(_, reach, _)| *reach).fold(0.0, f64::max);
    let mut found = Vec::new();
    for (i, (at, reach, ground)) in order.iter().enumerate() {
        let far = (reach + longest + buffer_m) / RADIUS_M;
        for (other_at, other_reach, other) in &order[i + 1..] {
            // A degree of latitude has a different length on sphere and ellipsoid, by one or two hundredths.
            if (other_at.lat - at.lat).to_radians() > 1.02 * far {
                break;
            }
            let apart = ground.split != other.split
                && (mode != SplitMode::Temporal || ground.from <= other.to && other.from <= ground.to);
            let near = chord(*at, *other_at) <= 1.02 * (reach + other_reach + buffer_m) / RADIUS_M;
            if apart && near && share_ground(ground, other, buffer_m) {
                let in_order = (ground.split, &ground.cube_id) <= (other.split, &other.cube_id);
                let (a, b) = if in_order { (ground, other) } else { (other, ground) };
                found.push(format!("{} and {}", a.text(), b.text()));
            }
        }
    }
    found.sort();
    found
}

/// Centre of a cube and half of its diagonal (m).
fn middle(ground: &Ground) -> Option<(LonLat, f64)> {
    let at = from_utm(ground.bounds.center(), ground.epsg)?;
    Some((at, ground.bounds.width().hypot(ground.bounds.height()) / 2.0))
}

/// Distance of two points through the unit sphere.
fn chord(a: LonLat, b: LonLat) -> f64 {
    let vector = |p: LonLat| {
        let (lon, lat) = (p.lon.to_radians(), p.lat.to_radians());
        [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()]
    };
    let (a, b) = (vector(a), vector(b));
    (0..3).map(|i| (a[i] - b[i]).powi(2)).sum::<f64>().sqrt()
}

/// Whether the second cube reaches into the first one's bounds and `buffer_m` around them.
fn share_ground(first: &Ground, second: &Ground, buffer_m: f64) -> bool {
    let b = &first.bounds;
    let wide = Bounds {
        x_min: b.x_min - buffer_m,
        y_min: b.y_min - buffer_m,
        x_max: b.x_max + buffer_m,
        y_max: b.y_max + buffer_m,
    };
    let in_zone = |corner: XY| {
        if first.epsg == second.epsg {
            Some(corner)
        } else {
            to_utm(from_utm(corner, second.epsg)?, first.epsg)
        }
    };
    let there: Option<Vec<XY>> = corners(&second.bounds).into_iter().map(in_zone).collect();
    there.is_some_and(|there| overlap(&corners(&wide), &there))
}

fn corners(b: &Bounds) -> [XY; 4] {
    [(b.x_min, b.y_min), (b.x_max, b.y_min), (b.x_max, b.y_max), (b.x_min, b.y_max)].map(|(x, y)| XY { x, y })
}

/// Whether two convex quadrilaterals overlap: no edge of either has the other one on its far side (separating axes).
fn overlap(a: &[XY], b: &[XY]) -> bool {
    let separated = |edges: &[XY]| {
        (0..edges.len()).any(|i| {
            let (p, q) = (edges[i], edges[(i + 1) % edges.len()]);
            let length = (q.x - p.x).hypot(q.y - p.y);
            let along = |v: &XY| (v.x * (q.y - p.y) - v.y * (q.x - p.x)) / length;
            let range = |points: &[XY]| {
                let places = points.iter().map(along);
                places.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)))
            };
            let (a, b) = (range(a), range(b));
            a.1.min(b.1) - a.0.max(b.0) <= TOUCH_M
        })
    };
    !separated(a) && !separated(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cube of 3840 m around a point.
    fn ground(id: &str, split: Split, epsg: u32, (x, y): (f64, f64), days: (i32, i32)) -> Ground {
        let bounds = Bounds { x_min: x - 1920.0, y_min: y - 1920.0, x_max: x + 1920.0, y_max: y + 1920.0 };
        Ground { cube_id: id.into(), split, epsg: Epsg(epsg), bounds, from: days.0, to: days.1 }
    }

    const ANY: (i32, i32) = (17_167, 18_261);

    #[test]
    fn neighbours_of_one_tile_touch_but_do_not_overlap() {
        let pair = |apart: f64, buffer: f64| {
            let train = ground("a", Split::Train, 32735, (500_000.0, 7_700_000.0), ANY);
            let test = ground("b", Split::Test, 32735, (500_000.0 + apart, 7_700_000.0), ANY);
            leaks(&[train, test], SplitMode::Spatial, buffer)
        };
        assert!(pair(3840.0, 0.0).is_empty());
        assert_eq!(
            pair(3830.0, 0.0),
            ["a (train, 2017-01-01 to 2019-12-31) and b (test, 2017-01-01 to 2019-12-31)"]
        );
        assert_eq!(pair(3840.0, 100.0).len(), 1);
        assert!(pair(3950.0, 100.0).is_empty());
    }

    /// 30° E, 20° S in the zones to the west and to the east; 180°, 17° S in zones 60 and 1 (PROJ 9.5.1). There the two
    /// grids are turned by 2.05° against each other, so a cube of one reaches 1987 m to each side in the other.
    #[test]
    fn cubes_of_two_zones_overlap_on_the_ground() {
        let pair = |zones: (u32, u32), (x, x_other, y): (f64, f64, f64), east: f64, buffer: f64| {
            let train = ground("a", Split::Train, zones.0, (x, y), ANY);
            let test = ground("b", Split::Test, zones.1, (x_other + east, y), ANY);
            leaks(&[train, test], SplitMode::Both, buffer).len()
        };
        let at_30 = (813_926.32, 186_073.68, 7_785_705.97);
        assert_eq!(pair((32735, 32736), at_30, 0.0, 0.0), 1);
        assert_eq!(pair((32735, 32736), at_30, 3850.0, 0.0), 1, "only the turned corners do");
        assert_eq!(pair((32735, 32736), at_30, 6000.0, 0.0), 0);
        assert_eq!(pair((32735, 32736), at_30, 6000.0, 2000.0), 0);
        assert_eq!(pair((32735, 32736), at_30, 6000.0, 2200.0), 1);
        let at_180 = (819_451.55, 180_548.45, 8_117_998.19);
        assert_eq!(pair((32760, 32701), at_180, 0.0, 0.0), 1);
        assert_eq!(pair((32760, 32701), at_180, 5000.0, 0.0), 0);
    }

    #[test]
    fn one_place_may_serve_two_splits_at_different_times_only() {
        let at = (500_000.0, 7_700_000.0);
        let pair = |train: (i32, i32), test: (i32, i32), mode| {
            let train = ground("a", Split::Train, 32735, at, train);
            leaks(&[train, ground("a", Split::Test, 32735, at, test)], mode, 0.0).len()
        };
        let (first, second) = ((17_167, 18_261), (18_262, 18_992));
        assert_eq!(pair(first, second, SplitMode::Temporal), 0);
        assert_eq!(pair(second, first, SplitMode::Temporal), 0);
        assert_eq!(pair(first, second, SplitMode::Spatial), 1);
        assert_eq!(pair(first, second, SplitMode::Both), 1);
        assert_eq!(pair((17_167, 18_262), second, SplitMode::Temporal), 1, "one day is shared");
        // Samples of 2017 and of 2019 to train, one of 2018 to test: between two that are known.
        assert_eq!(pair(first, (17_532, 17_896), SplitMode::Temporal), 1);
        let same = [ground("a", Split::Train, 32735, at, first), ground("b", Split::Train, 32735, at, first)];
        assert!(leaks(&same, SplitMode::Spatial, 0.0).is_empty(), "within a split ground may be shared");
    }

    /// A row of 2000 cubes, every tenth in test: each of these has two neighbours in training (the last one).
    #[test]
    fn many_cubes_in_a_row() {
        let row = (0..2000).map(|i| {
            let split = if i % 10 == 5 { Split::Test } else { Split::Train };
            ground(&i.to_string(), split, 32735, (300_000.0 + 200.0 * f64::from(i), 7_700_000.0), ANY)
        });
        let mut row: Vec<Ground> = row.collect();
        row.reverse();
        // Each test cube meets the 19 cubes to each side that begin within 3840 m, two or one of ten of them in test.
        let expected: usize = (0..2000_i32)
            .filter(|i| i % 10 == 5)
            .map(|i| (i - 19..=i + 19).filter(|j| (0..2000).contains(j) && j % 10 != 5).count())
            .sum();
        assert_eq!(leaks(&row, SplitMode::Spatial, 0.0).len(), expected);
    }
}
