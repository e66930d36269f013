//! Which blocks have clear pixels under a wanted cube, by the scene classification.

use std::collections::BTreeMap;
use std::ops::Range;

use minicube::Bounds;
use minicube_tiff::{Header, TiffFile, decode_block};

use crate::blocks::{blocks_under, wanted_area};
use crate::plan::{Cell, CloudRule};
use crate::raster::Choice;

/// The clear pixels of every wanted cell.
pub(crate) struct ClearSky {
    cells: Vec<CellSky>,
    header: Header,
    min_clear_fraction: f64,
}

struct CellSky {
    bounds: Bounds,
    rows: Range<usize>,
    cols: Range<usize>,
    /// By pixel of the classification, row-major over `rows` and `cols`.
    clear: Vec<bool>,
}

/// All blocks under the cells.
pub(crate) fn all_blocks(header: &Header, cells: &[Cell]) -> Choice {
    Choice {
        wanted: cells.iter().flat_map(|cell| blocks_under(header, &cell.bounds)).collect(),
        ..Choice::default()
    }
}

impl ClearSky {
    /// Reads the classification under the cells from a stored SCL file. `Ok(None)` if it is packed in a way that is
    /// not read here.
    ///
    /// # Errors
    /// A reason if a block is not there or damaged.
    pub(crate) fn read(scl: &TiffFile, cells: &[Cell], rule: &CloudRule) -> Result<Option<ClearSky>, String> {
        let header = &scl.header;
        if (header.bits, header.samples, header.planes) != (8, 1, 1) {
            return Ok(None);
        }
        let mut skies: Vec<CellSky> = cells
            .iter()
            .map(|cell| {
                let (rows, cols) = wanted_area(header, &cell.bounds);
                let clear = vec![false; rows.len() * cols.len()];
                CellSky { bounds: cell.bounds, rows, cols, clear }
            })
            .collect();
        let mut users: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, cell) in cells.iter().enumerate() {
            for block in blocks_under(header, &cell.bounds) {
                users.entry(block).or_default().push(index);
            }
        }
        for (block, users) in users {
            let packed = scl
                .block(block)
                .ok_or_else(|| format!("block {block} of the classification is not there"))?;
            let Some(classes) = decode_block(header, block, &packed)? else { return Ok(None) };
            for index in users {
                skies[index].add(header, block, &classes, &rule.clear_classes);
            }
        }
        Ok(Some(ClearSky {
            cells: skies,
            header: header.clone(),
            min_clear_fraction: rule.min_clear_fraction,
        }))
    }

    /// Parts the blocks of a band under the cells into those in which some cell is clear enough, and the others.
    pub(crate) fn choose(&self, band: &Header) -> Choice {
        let mut choice = Choice::default();
        for cell in &self.cells {
            for block in blocks_under(band, &cell.bounds) {
                let clear = self.clear_share(cell, &block_bounds(band, block));
                if clear.is_none_or(|share| share > self.min_clear_fraction) {
                    choice.wanted.insert(block);
                }
                choice.cloudy.insert(block);
            }
        }
        choice.cloudy = &choice.cloudy - &choice.wanted;
        choice
    }

    /// Share of clear pixels of a cell within an area, by pixel centres; `None` if there are none.
    fn clear_share(&self, cell: &CellSky, area: &Bounds) -> Option<f64> {
        let (origin, pixel) = (self.header.origin, self.header.pixel);
        let x = |col: usize| origin.x + (col as f64 + 0.5) * pixel.x;
        let y = |row: usize| origin.y - (row as f64 + 0.5) * pixel.y;
        let inside_x =
            |x: f64| x > area.x_min.max(cell.bounds.x_min) && x < area.x_max.min(cell.bounds.x_max);
        let inside_y =
            |y: f64| y > area.y_min.max(cell.bounds.y_min) && y < area.y_max.min(cell.bounds.y_max);
        let cols: Vec<usize> = (0..cell.cols.len()).filter(|&i| inside_x(x(cell.cols.start + i))).collect();
        let (mut clear, mut all) = (0_usize, 0_usize);
        for row in (0..cell.rows.len()).filter(|&i| inside_y(y(cell.rows.start + i))) {
            let line = &cell.clear[row * cell.cols.len()..][..cell.cols.len()];
            clear += cols.iter().filter(|&&col| line[col]).count();
            all += cols.len();
        }
        (all > 0).then(|| clear as f64 / all as f64)
    }
}

impl CellSky {
    /// Takes over the pixels of a block, row-major, that lie in the cell.
    fn add(&mut self, header: &Header, block: usize, classes: &[u8], clear_classes: &[u8]) {
        let (block_row, block_col) = header.place(block);
        let (top, left) = (block_row * header.block_height, block_col * header.block_width);
        let overlap =
            |cell: &Range<usize>, from: usize, len: usize| cell.start.max(from)..cell.end.min(from + len);
        let cols = overlap(&self.cols, left, header.block_width);
        for row in overlap(&self.rows, top, header.block_height) {
            for col in cols.clone() {
                let class = classes[(row - top) * header.block_width + col - left];
                let at = (row - self.rows.start) * self.cols.len() + col - self.cols.start;
                self.clear[at] = clear_classes.contains(&class);
            }
        }
    }
}

fn block_bounds(header: &Header, block: usize) -> Bounds {
    let (row, col) = header.place(block % header.blocks_a_plane());
    let x_min = header.origin.x + (col * header.block_width) as f64 * header.pixel.x;
    let y_max = header.origin.y - (row * header.block_height) as f64 * header.pixel.y;
    let (width, height) =
        (header.block_width as f64 * header.pixel.x, header.block_height as f64 * header.pixel.y);
    Bounds { x_min, y_min: y_max - height, x_max: x_min + width, y_max }
}
