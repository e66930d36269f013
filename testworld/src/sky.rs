//! What lies between the sensor and the ground: clouds, their shadows and snow, and the scene classification of them.

use rayon::prelude::*;

use crate::Region;
use crate::hash::{mix, text};
use crate::land::{Land, WINDOW_PX};
use crate::noise::periodic_texture;
use crate::scene::Scene;
use crate::weather::Series;

/// Side of the active window in 20 m pixels.
pub(crate) const SKY_PX: usize = WINDOW_PX / 2;
const SNOW_BELOW_C: f64 = -1.0;
const SNOW_DAYS: i64 = 3;

/// Scene classification and what covers each 20 m pixel of the active window, row by row.
#[derive(Debug)]
pub(crate) struct Sky {
    /// Sen2Cor scene classification: 3 shadow, 4 vegetation, 5 bare, 6 water, 8, 9 cloud, 10 cirrus, 11 snow.
    pub(crate) scl: Vec<u8>,
    /// Opacity of cloud or snow, 0 to 255.
    pub(crate) opacity: Vec<u8>,
    /// True where a row of `opacity` and of shadows is all clear.
    pub(crate) clear_row: Vec<bool>,
}

/// Two seamless textures that every scene's clouds are cut from.
#[derive(Debug)]
pub(crate) struct CloudTextures {
    large: Vec<f32>,
    small: Vec<f32>,
}

impl CloudTextures {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            large: periodic_texture(mix(seed, &[text("large clouds")]), SKY_PX, 256, 5),
            small: periodic_texture(mix(seed, &[text("small clouds")]), SKY_PX, 64, 4),
        }
    }
}

/// The sky of a scene. Its share of cloud classes equals [`Scene::cloud_share`] to 0.1 %.
pub(crate) fn sky(scene: &Scene, land: &Land, weather: &Series, textures: &CloudTextures) -> Sky {
    let drives = land.drives(weather, scene.date).unwrap_or_default();
    let mut opacity = cloud_opacity(scene, textures);
    let pixels = land.pixels();
    let mut scl: Vec<u8> = (0..SKY_PX * SKY_PX)
        .into_par_iter()
        .map(|index| {
            let pixel = 2 * (index / SKY_PX) * WINDOW_PX + 2 * (index % SKY_PX);
            let drive = drives[usize::from(pixels.drive[pixel])];
            let greenness = f64::from(pixels.fixed[pixel]) + f64::from(pixels.growing[pixel]) * drive;
            match (opacity[index], pixels.code[pixel]) {
                (171.., _) => 9,
                (86.., _) => 8,
                (1.., _) => 10,
                (0, 80) => 6,
                _ if greenness > 0.3 * f64::from(pixels.sum[pixel]) => 4,
                _ => 5,
            }
        })
        .collect();
    cast_shadows(scene.region, &mut scl);
    add_snow(scene, land, weather, &mut scl, &mut opacity);
    let clear_row = scl.chunks(SKY_PX).map(|row| row.iter().all(|class| matches!(class, 4..=6))).collect();
    Sky { scl, opacity, clear_row }
}

/// Cuts a piece of the textures and thresholds it so that exactly the wanted share is cloud.
fn cloud_opacity(scene: &Scene, textures: &CloudTextures) -> Vec<u8> {
    const LEVELS: usize = 4096;
    let count = SKY_PX * SKY_PX;
    let wanted = (scene.cloud_share * count as f64).round() as usize;
    if wanted == 0 {
        return vec![0; count];
    }
    let seed = scene.seed;
    let turned = mix(seed, &[1]).is_multiple_of(2);
    let shift = |word: u64| (mix(seed, &[word]) as usize) % SKY_PX;
    let (dx, dy, ex, ey) = (shift(2), shift(3), shift(4), shift(5));
    let wrapped = |v: usize| v & (SKY_PX - 1);
    let height: Vec<u16> = (0..count)
        .into_par_iter()
        .map(|index| {
            let (row, col) = (index / SKY_PX, index % SKY_PX);
            let (row, col) = if turned { (col, row) } else { (row, col) };
            let large = textures.large[wrapped(row + dy) * SKY_PX + wrapped(col + dx)];
            let small = textures.small[wrapped(row + ey) * SKY_PX + wrapped(col + ex)];
            ((0.8 * large + 0.2 * small) * LEVELS as f32) as u16
        })
        .collect();
    let mut histogram = vec![0usize; LEVELS + 1];
    for &h in &height {
        histogram[usize::from(h)] += 1;
    }
    let mut covered = 0;
    let mut threshold = LEVELS + 1;
    while covered < wanted && threshold > 0 {
        threshold -= 1;
        covered += histogram[threshold];
    }
    height
        .iter()
        .map(|&h| match usize::from(h).checked_sub(threshold) {
            None => 0,
            Some(above) => (40 + above * 3).min(255) as u8,
        })
        .collect()
}

/// Thick cloud darkens the ground to the west and away from the equator of it: the sun is in the morning sky.
fn cast_shadows(region: Region, scl: &mut [u8]) {
    let (cols, rows): (usize, isize) = match region {
        Region::Africa => (12, -16),
        Region::Europe => (12, 22),
    };
    let before = scl.to_vec();
    for row in 0..SKY_PX {
        let Some(cloud_row) = row.checked_add_signed(rows).filter(|r| *r < SKY_PX) else { continue };
        for col in 0..SKY_PX - cols {
            let here = &mut scl[row * SKY_PX + col];
            let cloud = before[cloud_row * SKY_PX + col + cols];
            if matches!(*here, 4..=6) && matches!(cloud, 8 | 9) {
                *here = 3;
            }
        }
    }
}

/// Snow lies above a line that sinks with the cold of the last days; only Europe has it.
fn add_snow(scene: &Scene, land: &Land, weather: &Series, scl: &mut [u8], opacity: &mut [u8]) {
    if scene.region != Region::Europe {
        return;
    }
    let days = (0..SNOW_DAYS).filter_map(|back| weather.on(scene.date - chrono::Duration::days(back)));
    let cold = days.map(|day| day.temperature_c).sum::<f64>() / SNOW_DAYS as f64;
    if cold >= SNOW_BELOW_C {
        return;
    }
    let terrain = scene.region.terrain();
    let line = terrain.base_m + 0.25 * terrain.relief_m + 60.0 * (cold - SNOW_BELOW_C);
    let window = land.window();
    scl.par_chunks_mut(SKY_PX).zip(opacity.par_chunks_mut(SKY_PX)).enumerate().for_each(
        |(row, (scl, opacity))| {
            let y = window.y_max - 20.0 * (row as f64 + 0.5);
            for col in 0..SKY_PX {
                let x = window.x_min + 20.0 * (col as f64 + 0.5);
                if matches!(scl[col], 4 | 5) && land.elevation(minicube::XY { x, y }) > line {
                    scl[col] = 11;
                    opacity[col] = 230;
                }
            }
        },
    );
}
