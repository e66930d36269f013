//! What does not change: terrain, land cover, climate class, and the pixel constants of vegetation.

use std::sync::OnceLock;

use chrono::NaiveDate;
use clap::ValueEnum;
use minicube::{Bounds, LonLat, Tile, XY};
use rayon::prelude::*;

use crate::hash::{mix, text, uniform};
use crate::noise::{Nodes, fractal, ridged};
use crate::region::Terrain;
use crate::response::{COVERS, Cover};
use crate::utm::Utm;
use crate::weather::{DRIVES, Series};
use crate::{Error, Region};

/// Distance from the tile's west and north edge to the active window, metres.
pub(crate) const WINDOW_OFFSET_M: f64 = 40_960.0;
/// Side of the active window, metres.
pub(crate) const WINDOW_SIZE_M: f64 = 20_480.0;
/// Side of the active window in 10 m pixels.
pub(crate) const WINDOW_PX: usize = 2048;
const MARGIN_M: f64 = 8_000.0;
const NODE_M: f64 = 40.0;
const NODES: usize = 913;
const GRID: Nodes = Nodes { size: NODES, step_m: NODE_M };
const SMOOTHING_NODES: usize = 18;
/// Side of the blocks of a scattered landscape: a pixel of a minicube.
const BLOCK_M: f64 = 30.0;

/// The unchanging part of one region. Fields live on nodes of 40 m and are interpolated bilinearly.
#[derive(Debug)]
pub(crate) struct Land {
    pub(crate) tile: Tile,
    pub(crate) utm: Utm,
    seed: u64,
    region: Region,
    elevation: Vec<f32>,
    valley: Vec<f32>,
    cover: Vec<f32>,
    water: Vec<f32>,
    built: Vec<f32>,
    bare: Vec<f32>,
    greenness: Vec<f32>,
    brightness: Vec<f32>,
    climate_split_m: f64,
    landscape: Landscape,
    pixels: OnceLock<Pixels>,
}

/// How vegetation is arranged in space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Landscape {
    /// Land cover and growth vary smoothly, with terrain: a pixel's surroundings tell of it.
    #[default]
    Natural,
    /// As the natural one, but vegetation lives off ground water, which reaches valleys later than ridges: it answers to the
    /// weather of up to 60 days before, and the shape of the terrain around a pixel tells of how many.
    GroundWater,
    /// Each 30 m pixel has land cover and growth of a place drawn at random, and a season of its own, whatever the weather: its
    /// surroundings tell nothing of it. Land cover and growth are as frequent as in the natural landscape; terrain,
    /// climate and weather are the same.
    Scattered,
}

/// Constants of one place: `NDVI = floor + gain × D`, red + near infrared = `brightness`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) code: u8,
    pub(crate) floor: f64,
    pub(crate) gain: f64,
    pub(crate) brightness: f64,
    /// Which of the [drives](Land::drives) is its own.
    pub(crate) drive: u8,
}

/// [`Place`] of every 10 m pixel of the active window, row by row, multiplied out for rendering.
#[derive(Debug)]
pub(crate) struct Pixels {
    pub(crate) code: Vec<u8>,
    /// `brightness`
    pub(crate) sum: Vec<f32>,
    /// `brightness × floor`
    pub(crate) fixed: Vec<f32>,
    /// `brightness × gain`
    pub(crate) growing: Vec<f32>,
    /// `drive`
    pub(crate) drive: Vec<u8>,
}

impl Land {
    pub(crate) fn new(seed: u64, region: Region, landscape: Landscape) -> Result<Self, Error> {
        let seed = mix(seed, &[text("land"), region.index() as u64]);
        let tile = Tile::from_id(region.tile_id())?;
        let utm = Utm::new(tile.epsg).ok_or_else(|| Error::Inconsistent {
            name: tile.id.clone(),
            reason: format!("expected a UTM zone, found EPSG:{}", tile.epsg.0),
        })?;
        let terrain = region.terrain();
        let field = |name: &str, wavelength: f64, octaves: u32| {
            fractal(mix(seed, &[text(name)]), GRID, wavelength, octaves)
        };
        let elevation = elevations(seed, &terrain);
        let valley = valleys(&elevation);
        let wood = field("cover", 3200.0, 5);
        let lake = field("water", 5200.0, 5);
        let along = |base: &[f32], weight: f32| -> Vec<f32> {
            base.iter().zip(&valley).map(|(b, v)| b + weight * (v - 0.5)).collect()
        };
        let climate_split_m = f64::from(quantile(&elevation, 0.6));
        Ok(Self {
            cover: ranks(&along(&wood, 0.05)),
            water: ranks(&along(&lake, 0.22)),
            built: ranks(&field("built", 2400.0, 4)),
            bare: ranks(&field("bare", 1800.0, 4)),
            greenness: field("greenness", 420.0, 2),
            brightness: field("brightness", 800.0, 2),
            tile,
            utm,
            seed,
            region,
            elevation,
            valley,
            climate_split_m,
            landscape,
            pixels: OnceLock::new(),
        })
    }

    pub(crate) fn landscape(&self) -> Landscape {
        self.landscape
    }

    /// The active window, UTM metres.
    pub(crate) fn window(&self) -> Bounds {
        let (x_min, y_max) = (self.tile.origin.x + WINDOW_OFFSET_M, self.tile.origin.y - WINDOW_OFFSET_M);
        Bounds { x_min, y_min: y_max - WINDOW_SIZE_M, x_max: x_min + WINDOW_SIZE_M, y_max }
    }

    /// Corners of the active window in longitude and latitude, counter-clockwise from the upper left.
    pub(crate) fn footprint(&self) -> [LonLat; 4] {
        let Bounds { x_min, y_min, x_max, y_max } = self.window();
        [(x_min, y_max), (x_min, y_min), (x_max, y_min), (x_max, y_max)]
            .map(|(x, y)| self.utm.inverse(XY { x, y }))
    }

    /// Smallest upright longitude/latitude box around the active window.
    pub(crate) fn lonlat_bounds(&self) -> Bounds {
        let edge = 32;
        let Bounds { x_min, y_min, x_max, y_max } = self.window();
        let along = |k: usize| k as f64 / edge as f64;
        let border = (0..=edge).flat_map(|k| {
            let (x, y) = (x_min + along(k) * (x_max - x_min), y_min + along(k) * (y_max - y_min));
            [(x, y_min), (x, y_max), (x_min, y), (x_max, y)]
        });
        let empty = Bounds { x_min: f64::MAX, y_min: f64::MAX, x_max: f64::MIN, y_max: f64::MIN };
        border.map(|(x, y)| self.utm.inverse(XY { x, y })).fold(empty, |b, p| Bounds {
            x_min: b.x_min.min(p.lon),
            y_min: b.y_min.min(p.lat),
            x_max: b.x_max.max(p.lon),
            y_max: b.y_max.max(p.lat),
        })
    }

    /// Height above sea level, metres, at UTM coordinates within 8 km of the active window (beyond: its edge).
    pub(crate) fn elevation(&self, at: XY) -> f64 {
        self.spot(at).of(&self.elevation)
    }

    /// Köppen–Geiger class, by elevation.
    pub(crate) fn climate(&self, at: XY) -> u8 {
        let terrain = self.region.terrain();
        let drift = 6.0 * (self.local(at).0 / NODE_M / 9.0).sin();
        if self.elevation(at) + drift > self.climate_split_m {
            terrain.high_climate
        } else {
            terrain.low_climate
        }
    }

    /// Land cover of a point.
    pub(crate) fn cover(&self, at: XY) -> Cover {
        self.cover_at(&self.spot(self.source_of(at)))
    }

    fn cover_at(&self, spot: &Spot) -> Cover {
        let terrain = self.region.terrain();
        if spot.of(&self.water) > 1.0 - terrain.water {
            return COVERS[6];
        }
        if spot.of(&self.built) > 1.0 - terrain.built {
            return COVERS[4];
        }
        if spot.of(&self.bare) > 1.0 - terrain.bare {
            return COVERS[5];
        }
        let rank = spot.of(&self.cover);
        let shares = [terrain.tree, terrain.shrub, terrain.grass];
        let mut upper = 1.0;
        for (cover, share) in COVERS.iter().zip(shares) {
            upper -= share;
            if rank > upper {
                return *cover;
            }
        }
        COVERS[3]
    }

    /// The constants of vegetation at a point.
    pub(crate) fn place(&self, at: XY) -> Place {
        let (own, at) = (at, self.source_of(at));
        let spot = self.spot(at);
        let Cover { code, base, amplitude, brightness } = self.cover_at(&spot);
        if code == 80 {
            return Place { code, floor: base, gain: 0.0, brightness, drive: 0 };
        }
        let valley = spot.of(&self.valley);
        let texture = 0.08 * (spot.of(&self.greenness) - 0.5);
        let field = if code == 40 { 0.10 * (self.field_draw(at) - 0.5) } else { 0.0 };
        Place {
            code,
            floor: base + 0.08 * valley + texture + field,
            gain: amplitude * (0.85 + 0.30 * valley),
            brightness: brightness * (1.0 + 0.16 * (spot.of(&self.brightness) - 0.5)),
            drive: self.drive_of(own, valley),
        }
    }

    /// The constants of every 10 m pixel of the active window, made once.
    pub(crate) fn pixels(&self) -> &Pixels {
        self.pixels.get_or_init(|| {
            let window = self.window();
            let rows: Vec<Vec<Place>> = (0..WINDOW_PX)
                .into_par_iter()
                .map(|row| {
                    let y = window.y_max - 10.0 * (row as f64 + 0.5);
                    (0..WINDOW_PX)
                        .map(|col| self.place(XY { x: window.x_min + 10.0 * (col as f64 + 0.5), y }))
                        .collect()
                })
                .collect();
            let map = |value: fn(&Place) -> f64| -> Vec<f32> {
                rows.iter().flatten().map(|place| value(place) as f32).collect()
            };
            Pixels {
                code: rows.iter().flatten().map(|place| place.code).collect(),
                sum: map(|place| place.brightness),
                fixed: map(|place| place.brightness * place.floor),
                growing: map(|place| place.brightness * place.gain),
                drive: rows.iter().flatten().map(|place| place.drive).collect(),
            }
        })
    }

    /// The place whose vegetation grows at a point.
    fn source_of(&self, at: XY) -> XY {
        if self.landscape != Landscape::Scattered {
            return at;
        }
        let draw = |axis: &str| self.block_draw(axis, at);
        let window = self.window();
        XY { x: window.x_min + WINDOW_SIZE_M * draw("east"), y: window.y_min + WINDOW_SIZE_M * draw("north") }
    }

    /// Which drive the vegetation of a point has, from ridge (0) to valley (1).
    fn drive_of(&self, at: XY, valley: f64) -> u8 {
        match self.landscape {
            Landscape::Natural => 0,
            Landscape::GroundWater => (valley * (DRIVES - 1) as f64).round() as u8,
            Landscape::Scattered => (self.block_draw("season", at) * DRIVES as f64) as u8,
        }
    }

    /// Every drive that vegetation of this landscape may have on a day; `None` outside the years of this Earth.
    pub(crate) fn drives(&self, weather: &Series, date: NaiveDate) -> Option<[f64; DRIVES]> {
        match self.landscape {
            Landscape::Natural | Landscape::GroundWater => weather.delayed_drives(date),
            Landscape::Scattered => weather.seasonal_drives(date),
        }
    }

    /// A number in `[0, 1)` of the block of a scattered landscape that holds the point.
    fn block_draw(&self, what: &str, at: XY) -> f64 {
        let block = |distance: f64| (distance / BLOCK_M).floor() as i64 as u64;
        let words = [block(at.x - self.tile.origin.x), block(self.tile.origin.y - at.y)];
        uniform(mix(self.seed, &[text(what), words[0], words[1]]))
    }

    /// A number in `[0, 1)` of the crop field (240 m × 160 m) that holds the point.
    fn field_draw(&self, at: XY) -> f64 {
        let (x, y) = self.local(at);
        uniform(mix(
            self.seed,
            &[text("field"), (x / 240.0).floor() as i64 as u64, (y / 160.0).floor() as i64 as u64],
        ))
    }

    /// Metres to the east and to the south of the first node.
    fn local(&self, at: XY) -> (f64, f64) {
        let window = self.window();
        (at.x - (window.x_min - MARGIN_M), window.y_max + MARGIN_M - at.y)
    }

    fn spot(&self, at: XY) -> Spot {
        let (x, y) = self.local(at);
        let last = (NODES - 1) as f64 - 1e-6;
        let (x, y) = ((x / NODE_M).clamp(0.0, last), (y / NODE_M).clamp(0.0, last));
        let (col, row) = (x as usize, y as usize);
        Spot { upper_left: row * NODES + col, right: x - col as f64, down: y - row as f64 }
    }
}

/// A point between four nodes.
struct Spot {
    upper_left: usize,
    right: f64,
    down: f64,
}

impl Spot {
    /// A field's value at the point, bilinear.
    fn of(&self, field: &[f32]) -> f64 {
        let node = |offset: usize| f64::from(field[self.upper_left + offset]);
        let top = node(0) * (1.0 - self.right) + node(1) * self.right;
        let bottom = node(NODES) * (1.0 - self.right) + node(NODES + 1) * self.right;
        top * (1.0 - self.down) + bottom * self.down
    }
}

fn elevations(seed: u64, terrain: &Terrain) -> Vec<f32> {
    let hills = fractal(mix(seed, &[text("hills")]), GRID, 16_000.0, 3);
    let ridges = ridged(mix(seed, &[text("ridges")]), GRID, 7_000.0, 6);
    let height = |(hill, ridge): (&f32, &f32)| {
        terrain.base_m + terrain.relief_m * (0.45 * f64::from(*hill) + 0.55 * f64::from(*ridge) - 0.5)
    };
    hills.iter().zip(&ridges).map(|pair| height(pair) as f32).collect()
}

/// How much a node lies below its surroundings, 0 (ridge) to 1 (valley), 0.5 on an even slope.
fn valleys(elevation: &[f32]) -> Vec<f32> {
    let smooth = box_means(elevation, SMOOTHING_NODES);
    let above: Vec<f32> = elevation.iter().zip(&smooth).map(|(e, s)| e - s).collect();
    let spread =
        (above.iter().map(|a| f64::from(*a).powi(2)).sum::<f64>() / above.len() as f64).sqrt() as f32;
    above.iter().map(|a| (0.5 - a / (3.0 * spread)).clamp(0.0, 1.0)).collect()
}

fn box_means(field: &[f32], radius: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; (NODES + 1) * (NODES + 1)];
    for row in 0..NODES {
        let mut line = 0.0;
        for col in 0..NODES {
            line += f64::from(field[row * NODES + col]);
            sums[(row + 1) * (NODES + 1) + col + 1] = sums[row * (NODES + 1) + col + 1] + line;
        }
    }
    let span = |i: usize| (i.saturating_sub(radius), (i + radius + 1).min(NODES));
    let sum = |row: usize, col: usize| sums[row * (NODES + 1) + col];
    (0..NODES * NODES)
        .map(|index| {
            let ((top, bottom), (left, right)) = (span(index / NODES), span(index % NODES));
            let total = sum(bottom, right) - sum(top, right) - sum(bottom, left) + sum(top, left);
            (total / ((bottom - top) * (right - left)) as f64) as f32
        })
        .collect()
}

/// Replaces each value by its share of smaller values, so that a threshold is an area share.
fn ranks(field: &[f32]) -> Vec<f32> {
    let mut order: Vec<u32> = (0..field.len() as u32).collect();
    order.par_sort_unstable_by(|&a, &b| field[a as usize].total_cmp(&field[b as usize]).then(a.cmp(&b)));
    let mut ranks = vec![0.0; field.len()];
    for (rank, &index) in order.iter().enumerate() {
        ranks[index as usize] = rank as f32 / field.len() as f32;
    }
    ranks
}

fn quantile(field: &[f32], share: f64) -> f32 {
    let mut sorted = field.to_vec();
    sorted.par_sort_unstable_by(f32::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}
