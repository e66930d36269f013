//! The rasters of a sample, and what they say of the cells of a tile.

use minicube::terrain::{Geomorphons, geomorphons, slope_deg};
use minicube::{CellGrid, Tile};
use ndarray::{Array2, ArrayView2, s};

use crate::Error;
use crate::config::DemStratum;
use crate::legend::Legend;
use crate::raster::{Block, Lookup, Raster, RasterSpec};
use crate::strata::{Composition, mean, relief};

/// A raster of classes and what they mean.
#[derive(Clone, Debug)]
pub struct ClassLayer {
    /// Where it is; its stratum is the name of the column.
    pub raster: RasterSpec,
    /// What its values mean.
    pub legend: Legend,
    /// Whether it gives `heterogeneity` as well, and the land.
    pub is_landcover: bool,
}

/// A raster of elevations, metres.
#[derive(Clone, Debug)]
pub struct DemLayer {
    /// Where it is.
    pub raster: RasterSpec,
    /// Strata made of it.
    pub strata: Vec<DemStratum>,
    /// How far the geomorphons look, metres.
    pub search_m: f64,
    /// What is flat to them, degrees.
    pub flat_deg: f64,
}

/// A raster that leaves out cells.
#[derive(Clone, Debug)]
pub struct ExcludeLayer {
    /// Where it is; its stratum is the reason.
    pub raster: RasterSpec,
    /// Codes to avoid, and their largest share.
    pub values: Vec<f32>,
    /// Largest share of `values`, 0 to 1.
    pub max_share: f64,
    /// Smallest mean.
    pub below: Option<f64>,
    /// Largest mean.
    pub above: Option<f64>,
}

/// All rasters of a sample.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// Cells to leave out.
    pub exclude: Vec<ExcludeLayer>,
    /// Rasters of classes, land cover first, so that water is left out before anything else is read.
    pub classes: Vec<ClassLayer>,
    /// Elevation.
    pub dem: Option<DemLayer>,
    /// Rasters of numbers; their mean is the attribute `<stratum>_mean`.
    pub numbers: Vec<RasterSpec>,
    /// Most points along an edge of a cell.
    pub samples: usize,
    /// Largest share of water.
    pub water_max: f64,
}

/// Why a cell is no candidate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// Not wholly inside the area of interest.
    Outside,
    /// More water than allowed.
    Water,
    /// No data in the raster of this stratum.
    NoData(String),
    /// Left out by the raster of this name.
    Excluded(String),
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Loss::Outside => f.write_str("not wholly in the area"),
            Loss::Water => f.write_str("water"),
            Loss::NoData(stratum) => match stratum.as_str() {
                "climate" => f.write_str("no climate data"),
                "landcover" => f.write_str("no land-cover data"),
                "dem" => f.write_str("no elevation data"),
                other => write!(f, "no data of {other}"),
            },
            Loss::Excluded(name) => write!(f, "excluded: {name}"),
        }
    }
}

/// What is known of one cell: a class per class layer (and the geomorphon, if asked for), and the numbers named by
/// [`Layers::attributes`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// Index into the layer's classes; the geomorphon (0 flat … 9 depression) last.
    pub classes: Vec<u16>,
    /// Attributes.
    pub numbers: Vec<f32>,
}

/// One set of open rasters. GDAL datasets must not be shared between threads: each worker opens its own.
pub(crate) struct Readers {
    exclude: Vec<Raster>,
    classes: Vec<Raster>,
    dem: Option<Raster>,
    numbers: Vec<Raster>,
}

impl Layers {
    /// Names of the numbers that are found of each cell, in their order.
    #[must_use]
    pub fn attributes(&self) -> Vec<String> {
        let mut names: Vec<&str> = Vec::new();
        if self.classes.iter().any(|layer| layer.is_landcover) {
            names.extend(["landcover_entropy", "landcover_classes", "landcover_share"]);
        }
        if self.dem.is_some() {
            names.extend(["elevation_m", "relief_m", "slope_deg"]);
        }
        let means = self.numbers.iter().map(|raster| mean_of(&raster.stratum));
        names.into_iter().map(str::to_owned).chain(means).collect()
    }

    /// Whether the landforms are wanted.
    #[must_use]
    pub fn wants_geomorphons(&self) -> bool {
        self.dem.as_ref().is_some_and(|dem| dem.strata.contains(&DemStratum::Geomorphon))
    }
}

/// The attribute that holds the mean of a user's raster of numbers.
#[must_use]
pub(crate) fn mean_of(stratum: &str) -> String {
    format!("{stratum}_mean")
}

impl Readers {
    /// Opens every raster.
    ///
    /// # Errors
    /// [`Error::Raster`] for the first that does not open.
    pub(crate) fn open(layers: &Layers) -> Result<Readers, Error> {
        Ok(Readers {
            exclude: layers
                .exclude
                .iter()
                .map(|layer| Raster::open(&layer.raster))
                .collect::<Result<_, _>>()?,
            classes: layers
                .classes
                .iter()
                .map(|layer| Raster::open(&layer.raster))
                .collect::<Result<_, _>>()?,
            dem: layers.dem.as_ref().map(|layer| Raster::open(&layer.raster)).transpose()?,
            numbers: layers.numbers.iter().map(Raster::open).collect::<Result<_, _>>()?,
        })
    }

    /// What the rasters say of some cells (row, col) of a tile, in their order. Each raster is read once; one that no
    /// cell is left for is not read.
    ///
    /// # Errors
    /// [`Error::Raster`] if one cannot be read, [`Error::UnknownClass`] if it holds a value its legend does not know.
    pub(crate) fn find(
        &self,
        layers: &Layers,
        tile: &Tile,
        grid: &CellGrid,
        cells: &[(usize, usize)],
    ) -> Result<Vec<Result<Findings, Loss>>, Error> {
        let mut found: Vec<Result<Findings, Loss>> = vec![Ok(Findings::default()); cells.len()];
        for (layer, raster) in layers.exclude.iter().zip(&self.exclude) {
            let lookup = if layer.values.is_empty() { Lookup::Bilinear } else { Lookup::Nearest };
            each_cell(raster, (tile, grid, layers.samples), lookup, cells, &mut found, |values, _| {
                Ok(judge(layer, values))
            })?;
        }
        for (layer, raster) in layers.classes.iter().zip(&self.classes) {
            each_cell(
                raster,
                (tile, grid, layers.samples),
                Lookup::Nearest,
                cells,
                &mut found,
                |values, into| {
                    let composition =
                        Composition::of(values, &layer.legend).map_err(|value| Error::UnknownClass {
                            stratum: layer.raster.stratum.clone(),
                            source_name: layer.raster.source.clone(),
                            value,
                            tile: tile.id.clone(),
                            legend: layer.legend.name.clone(),
                        })?;
                    let Some(composition) = composition else {
                        return Ok(Some(Loss::NoData(layer.raster.stratum.clone())));
                    };
                    if layer.is_landcover {
                        if composition.water_share(&layer.legend) > layers.water_max {
                            return Ok(Some(Loss::Water));
                        }
                        into.numbers.extend([
                            composition.entropy() as f32,
                            composition.richness() as f32,
                            composition.dominant_share() as f32,
                        ]);
                    } else if layer.legend.is_water[composition.dominant()] {
                        return Ok(Some(Loss::Water));
                    }
                    into.classes.push(composition.dominant() as u16);
                    Ok(None)
                },
            )?;
        }
        if let (Some(layer), Some(raster)) = (&layers.dem, &self.dem) {
            terrain(layer, raster, (tile, grid, layers.samples), cells, &mut found)?;
        }
        for (spec, raster) in layers.numbers.iter().zip(&self.numbers) {
            each_cell(
                raster,
                (tile, grid, layers.samples),
                Lookup::Bilinear,
                cells,
                &mut found,
                |values, into| {
                    match mean(values) {
                        Some(value) => into.numbers.push(value as f32),
                        None => return Ok(Some(Loss::NoData(spec.stratum.clone()))),
                    }
                    Ok(None)
                },
            )?;
        }
        Ok(found)
    }
}

type Place<'a> = (&'a Tile, &'a CellGrid, usize);

/// Reads a raster for the cells that are still candidates and lets `judge` look at the values of each.
fn each_cell(
    raster: &Raster,
    (tile, grid, samples): Place<'_>,
    lookup: Lookup,
    cells: &[(usize, usize)],
    found: &mut [Result<Findings, Loss>],
    mut judge: impl FnMut(&[f32], &mut Findings) -> Result<Option<Loss>, Error>,
) -> Result<(), Error> {
    let Some(block) = block_of(cells, found, 0) else { return Ok(()) };
    let per_cell = raster.points_per_cell(tile, grid, samples)?;
    let values = raster.sample(tile, grid, &block, per_cell, lookup)?;
    let mut flat = Vec::with_capacity(per_cell * per_cell);
    for (&cell, slot) in cells.iter().zip(found) {
        if let Ok(findings) = slot {
            flat.clear();
            flat.extend(part(&values, &block, cell, per_cell));
            if let Some(loss) = judge(&flat, findings)? {
                *slot = Err(loss);
            }
        }
    }
    Ok(())
}

/// Elevation, relief and slope of each cell, and its landform if it is wanted. Slope and landforms are those of the
/// elevations on the lattice of look-up points.
fn terrain(
    layer: &DemLayer,
    raster: &Raster,
    (tile, grid, samples): Place<'_>,
    cells: &[(usize, usize)],
    found: &mut [Result<Findings, Loss>],
) -> Result<(), Error> {
    let wants_forms = layer.strata.contains(&DemStratum::Geomorphon);
    let margin = if wants_forms { (layer.search_m / grid.cell_size_m()).ceil().max(1.0) as i32 } else { 1 };
    let Some(block) = block_of(cells, found, margin) else { return Ok(()) };
    let per_cell = raster.points_per_cell(tile, grid, samples)?.max(2);
    let spacing = grid.cell_size_m() / per_cell as f64;
    let heights = raster.sample(tile, grid, &block, per_cell, Lookup::Bilinear)?;
    let slopes = slope_deg(heights.view(), spacing);
    let forms = wants_forms.then(|| {
        let options = Geomorphons {
            search: (layer.search_m / spacing).round().max(1.0) as usize,
            flat_deg: layer.flat_deg,
            ..Geomorphons::default()
        };
        geomorphons(heights.view(), spacing, &options)
    });
    for (&cell, slot) in cells.iter().zip(found) {
        let Ok(findings) = slot else { continue };
        let values: Vec<f32> = part(&heights, &block, cell, per_cell).collect();
        let slope: Vec<f32> = part(&slopes, &block, cell, per_cell).collect();
        let (Some(height), Some(relief)) = (mean(&values), relief(&values)) else {
            *slot = Err(Loss::NoData("dem".into()));
            continue;
        };
        findings.numbers.extend([height as f32, relief as f32, mean(&slope).unwrap_or(0.0) as f32]);
        if let Some(forms) = &forms {
            match most_frequent_form(window(forms, &block, cell, per_cell)) {
                Some(form) => findings.classes.push(form),
                None => *slot = Err(Loss::NoData("dem".into())),
            }
        }
    }
    Ok(())
}

/// The smallest block that holds the cells still in question, `margin` cells wider on all sides; `None` if there are none.
fn block_of(cells: &[(usize, usize)], found: &[Result<Findings, Loss>], margin: i32) -> Option<Block> {
    let open = || cells.iter().zip(found).filter(|(_, found)| found.is_ok()).map(|(cell, _)| cell);
    let (top, left) = (open().map(|c| c.0).min()?, open().map(|c| c.1).min()?);
    let (bottom, right) = (open().map(|c| c.0).max()?, open().map(|c| c.1).max()?);
    let wide = 2 * margin as usize;
    Some(Block {
        row0: top as i32 - margin,
        col0: left as i32 - margin,
        rows: bottom - top + 1 + wide,
        cols: right - left + 1 + wide,
    })
}

/// The part of a block's lattice that belongs to a cell.
fn window<'a, T>(
    lattice: &'a Array2<T>,
    block: &Block,
    cell: (usize, usize),
    per_cell: usize,
) -> ArrayView2<'a, T> {
    let (row, col) = ((cell.0 as i32 - block.row0) as usize, (cell.1 as i32 - block.col0) as usize);
    let (y, x) = (row * per_cell, col * per_cell);
    lattice.slice(s![y..y + per_cell, x..x + per_cell])
}

fn part<'a>(
    lattice: &'a Array2<f32>,
    block: &Block,
    cell: (usize, usize),
    per_cell: usize,
) -> impl Iterator<Item = f32> + 'a {
    window(lattice, block, cell, per_cell).into_iter().copied()
}

/// 0 (flat) to 9 (depression); of equals the first; `None` where no point has a form.
fn most_frequent_form(forms: ArrayView2<'_, u8>) -> Option<u16> {
    let mut counts = [0_usize; 10];
    for &form in forms.iter().filter(|form| (1..=10).contains(*form)) {
        counts[usize::from(form) - 1] += 1;
    }
    let most = counts.iter().copied().max().filter(|&most| most > 0)?;
    counts.iter().position(|&count| count == most).map(|index| index as u16)
}

/// Whether an excluding raster takes the cell out. A cell without data stays.
fn judge(layer: &ExcludeLayer, values: &[f32]) -> Option<Loss> {
    let excluded = || Some(Loss::Excluded(layer.raster.stratum.clone()));
    let valid = values.iter().filter(|value| !value.is_nan()).count();
    let hits = values.iter().filter(|value| layer.values.contains(value)).count();
    if valid > 0 && hits as f64 / valid as f64 > layer.max_share {
        return excluded();
    }
    let mean = mean(values)?;
    let low = layer.below.is_some_and(|bound| mean < bound);
    let high = layer.above.is_some_and(|bound| mean > bound);
    if low || high { excluded() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn blocks_hold_the_open_cells() {
        let open = || Ok(Findings::default());
        let cells = [(2, 5), (3, 4), (9, 9)];
        let found = [open(), open(), Err(Loss::Water)];
        assert_eq!(block_of(&cells, &found, 0), Some(Block { row0: 2, col0: 4, rows: 2, cols: 2 }));
        assert_eq!(block_of(&cells, &found, 3), Some(Block { row0: -1, col0: 1, rows: 8, cols: 8 }));
        assert_eq!(block_of(&cells[2..], &found[2..], 1), None);
    }

    #[test]
    fn exclusion_by_share_and_by_mean() {
        let raster = RasterSpec {
            stratum: "urban".into(),
            source: "x.tif".into(),
            crs: None,
            extent: None,
            missing: Vec::new(),
        };
        let layer = ExcludeLayer { raster, values: vec![50.0], max_share: 0.25, below: None, above: None };
        assert_eq!(judge(&layer, &[50.0, 10.0, 10.0, 10.0]), None, "a quarter is allowed");
        assert_eq!(judge(&layer, &[50.0, 50.0, 10.0, 10.0]), Some(Loss::Excluded("urban".into())));
        assert_eq!(judge(&layer, &[f32::NAN; 4]), None);
        let land = ExcludeLayer { values: Vec::new(), below: Some(0.5), ..layer };
        assert_eq!(judge(&land, &[0.0, 0.4, 1.0, 1.0]), None);
        assert!(judge(&land, &[0.0, 0.4, 0.2, 1.0]).is_some());
    }

    #[test]
    fn the_most_frequent_form_counts_from_flat() {
        assert_eq!(most_frequent_form(array![[6, 6], [1, 0]].view()), Some(5));
        assert_eq!(most_frequent_form(array![[9, 3], [0, 0]].view()), Some(2), "of equals the first");
        assert_eq!(most_frequent_form(array![[0, 0]].view()), None);
    }
}
