//! Windows of GeoTIFFs of one band of unsigned numbers, unpacked without GDAL: every block once, in memory that is used again.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;

use gdal::raster::GdalType;
use minicube::{DType, Element};
use minicube_tiff::{TiffFile, decode_into, is_decodable};
use ndarray::Array2;

/// Rows of blocks that are kept unpacked: cubes follow each other from north to south, and one that lies across the edge of
/// two rows needs both.
const ROWS_KEPT: usize = 2;

/// A number that bands are made of.
pub(crate) trait Sample: Element + GdalType {
    /// Reads numbers from as many bytes as they have.
    fn read(bytes: &[u8], big_endian: bool, into: &mut [Self]);
}

impl Sample for u8 {
    fn read(bytes: &[u8], _: bool, into: &mut [u8]) {
        into.copy_from_slice(bytes);
    }
}

impl Sample for u16 {
    fn read(bytes: &[u8], big_endian: bool, into: &mut [u16]) {
        let of = if big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
        into.iter_mut().zip(bytes.as_chunks::<2>().0).for_each(|(to, &bytes)| *to = of(bytes));
    }
}

/// A file, and the blocks of it that were unpacked last.
pub(crate) struct Blocks {
    file: TiffFile,
    /// Number and bytes of blocks, the oldest first.
    kept: VecDeque<(usize, Vec<u8>)>,
}

impl Blocks {
    /// `None` for everything that is better left to GDAL.
    pub(crate) fn open(path: &Path) -> Option<Blocks> {
        let file = TiffFile::open(path)?;
        let header = &file.header;
        let plain = header.samples == 1 && header.planes == 1 && header.unsigned;
        let fits = [8, 16].contains(&header.bits) && is_decodable(header);
        (plain && fits).then(|| Blocks { file, kept: VecDeque::new() })
    }

    /// Whether its numbers are of this type.
    pub(crate) fn holds(&self, dtype: DType) -> bool {
        matches!((self.file.header.bits, dtype), (8, DType::U8) | (16, DType::U16))
    }

    /// Blocks (row, column) under a window that the file does not hold.
    pub(crate) fn absent(&self, rows: &Range<usize>, cols: &Range<usize>) -> Vec<(usize, usize)> {
        let header = &self.file.header;
        let absent = |&(row, col): &(usize, usize)| header.span(row * header.blocks_across() + col).is_none();
        self.under(rows, cols).into_iter().filter(absent).collect()
    }

    /// Reads a window, `[rows, cols]`, `nodata` where a block is absent.
    ///
    /// # Errors
    /// The reason, in words, if a block is damaged or the file ends before it.
    pub(crate) fn read<T: Sample>(
        &mut self,
        rows: &Range<usize>,
        cols: &Range<usize>,
        nodata: T,
    ) -> Result<Array2<T>, String> {
        let mut window = Array2::from_elem((rows.len(), cols.len()), nodata);
        for (row, col) in self.under(rows, cols) {
            let (height, width) = (self.file.header.block_height, self.file.header.block_width);
            let (top, left) = (row * height, col * width);
            let (row_bytes, big_endian) = (self.file.header.row_bytes(), self.file.header.big_endian);
            let Some(bytes) = self.block((row, col))? else { continue };
            let (first, last) = (cols.start.max(left), cols.end.min(left + width));
            for line in rows.start.max(top)..rows.end.min(top + height) {
                let from = (line - top) * row_bytes + (first - left) * size_of::<T>();
                let bytes = &bytes[from..][..(last - first) * size_of::<T>()];
                let mut target = window.row_mut(line - rows.start);
                let target =
                    &mut target.as_slice_mut().unwrap_or_default()[first - cols.start..last - cols.start];
                T::read(bytes, big_endian, target);
            }
        }
        Ok(window)
    }

    /// Rows and columns of the blocks under a window.
    fn under(&self, rows: &Range<usize>, cols: &Range<usize>) -> Vec<(usize, usize)> {
        if rows.is_empty() || cols.is_empty() {
            return Vec::new();
        }
        let header = &self.file.header;
        let down = rows.start / header.block_height..rows.end.div_ceil(header.block_height);
        let across = cols.start / header.block_width..cols.end.div_ceil(header.block_width);
        down.flat_map(|row| across.clone().map(move |col| (row, col))).collect()
    }

    /// The bytes of a block; `None` if the file does not hold it.
    fn block(&mut self, (row, col): (usize, usize)) -> Result<Option<&[u8]>, String> {
        let header = &self.file.header;
        let block = row * header.blocks_across() + col;
        let Some((at, len)) = header.span(block) else { return Ok(None) };
        let place = match self.kept.iter().position(|(kept, _)| *kept == block) {
            Some(place) => place,
            None => {
                let packed = self.file.block(block).ok_or_else(|| {
                    let end = at.saturating_add(len);
                    format!("block {row},{col}: expected {end} bytes in the file, found {}", self.file.len)
                })?;
                let full = self.kept.len() >= (ROWS_KEPT * header.blocks_across()).max(2);
                let mut bytes = if full { self.kept.pop_front().unwrap_or_default().1 } else { Vec::new() };
                decode_into(header, block, &packed, &mut bytes)
                    .map_err(|reason| format!("block {row},{col}: {reason}"))?;
                self.kept.push_back((block, bytes));
                self.kept.len() - 1
            }
        };
        Ok(self.kept.get(place).map(|(_, bytes)| bytes.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use gdal::raster::{Buffer, RasterCreationOptions};
    use gdal::{Dataset, DriverManager};

    use super::*;

    /// Numbers with a slope and noise; 60 rows and 75 columns, so that no block ends with the raster.
    fn pixels<T>(of: fn(u32) -> T) -> Vec<T> {
        (0..60 * 75)
            .map(|i: u32| of(i / 75 * 7 + i % 75 * 3 + (i.wrapping_mul(2_654_435_761) >> 27)))
            .collect()
    }

    fn write<T: Sample>(path: &Path, options: &[&str], pixels: Vec<T>, sparse: bool) {
        let options = RasterCreationOptions::from_iter(options.iter().copied());
        let driver = DriverManager::get_driver_by_name("GTiff").unwrap();
        let mut raster =
            driver.create_with_band_type_with_options::<T, _>(path, 75, 60, 1, &options).unwrap();
        raster.set_geo_transform(&[500_000.0, 10.0, 0.0, 7_600_000.0, 0.0, -10.0]).unwrap();
        let mut band = raster.rasterband(1).unwrap();
        // A sparse file holds the northern half only.
        let rows = if sparse { 32 } else { 60 };
        let mut part = Buffer::new((75, rows), pixels[..75 * rows].to_vec());
        band.write((0, 0), (75, rows), &mut part).unwrap();
        raster.flush_cache().unwrap();
    }

    fn compare<T: Sample + PartialEq + std::fmt::Debug>(options: &[&str], of: fn(u32) -> T) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tif");
        let sparse = options.contains(&"SPARSE_OK=TRUE");
        write(&path, options, pixels(of), sparse);
        let mut ours = Blocks::open(&path).unwrap();
        assert!(ours.holds(T::DTYPE), "{options:?}");
        let theirs = Dataset::open(&path).unwrap();
        let theirs = theirs.rasterband(1).unwrap();
        for (rows, cols) in
            [(0..60, 0..75), (3..5, 70..75), (31..49, 15..33), (59..60, 0..1), (16..32, 16..32)]
        {
            let found = ours.read::<T>(&rows, &cols, T::from_f64(0.0)).unwrap();
            let size = (cols.len(), rows.len());
            let expected =
                theirs.read_as::<T>((cols.start as isize, rows.start as isize), size, size, None).unwrap();
            assert_eq!(found.as_slice().unwrap(), expected.data(), "{options:?} {rows:?} {cols:?}");
        }
        let absent = ours.absent(&(0..60), &(0..75));
        assert!(absent.iter().all(|&(row, _)| row >= 2), "{absent:?}");
        assert_eq!(absent.is_empty(), !sparse, "{options:?}");
    }

    #[test]
    fn pixels_are_those_of_gdal() {
        let tiled = ["TILED=YES", "BLOCKXSIZE=16", "BLOCKYSIZE=16"];
        for packing in ["NONE", "DEFLATE", "LZW", "ZSTD"] {
            let packing = format!("COMPRESS={packing}");
            for predictor in ["PREDICTOR=1", "PREDICTOR=2"] {
                for more in ["ENDIANNESS=LITTLE", "ENDIANNESS=BIG", "BIGTIFF=YES", "SPARSE_OK=TRUE"] {
                    let options = [&tiled[..], &[packing.as_str(), predictor, more]].concat();
                    compare::<u16>(&options, |n| n as u16 * 17);
                    compare::<u8>(&options, |n| n as u8);
                }
                compare::<u16>(&[packing.as_str(), predictor, "BLOCKYSIZE=7"], |n| n as u16 * 17);
            }
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_gdal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tif");
        let driver = DriverManager::get_driver_by_name("GTiff").unwrap();
        let create = |bands: usize, options: &[&str]| {
            let options = RasterCreationOptions::from_iter(options.iter().copied());
            let mut raster =
                driver.create_with_band_type_with_options::<i16, _>(&path, 20, 20, bands, &options).unwrap();
            raster.set_geo_transform(&[0.0, 10.0, 0.0, 0.0, 0.0, -10.0]).unwrap();
            raster.flush_cache().unwrap();
        };
        create(1, &[]);
        assert!(Blocks::open(&path).is_none(), "numbers with a sign");
        let options = RasterCreationOptions::from_iter(["COMPRESS=LERC"]);
        let made = driver.create_with_band_type_with_options::<u16, _>(
            &path,
            20,
            20,
            3,
            &RasterCreationOptions::default(),
        );
        made.unwrap().set_geo_transform(&[0.0, 10.0, 0.0, 0.0, 0.0, -10.0]).unwrap();
        assert!(Blocks::open(&path).is_none(), "three bands");
        if let Ok(mut raster) =
            driver.create_with_band_type_with_options::<u16, _>(&path, 20, 20, 1, &options)
        {
            raster.set_geo_transform(&[0.0, 10.0, 0.0, 0.0, 0.0, -10.0]).unwrap();
            drop(raster);
            assert!(Blocks::open(&path).is_none(), "a packing that is not read here");
        }
        std::fs::write(&path, b"no raster").unwrap();
        assert!(Blocks::open(&path).is_none() && Blocks::open(&dir.path().join("none")).is_none());
    }

    #[test]
    fn damage_is_told_and_never_pixels() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tif");
        write::<u16>(
            &path,
            &["TILED=YES", "BLOCKXSIZE=64", "BLOCKYSIZE=64", "COMPRESS=DEFLATE", "PREDICTOR=2"],
            pixels(|n| n as u16),
            false,
        );
        let whole = std::fs::read(&path).unwrap();
        let (at, len) = Blocks::open(&path).unwrap().file.header.span(0).unwrap();
        let mut damaged = whole.clone();
        damaged[(at + len / 2) as usize] ^= 0x55;
        std::fs::write(&path, &damaged).unwrap();
        let told = |path: &Path| Blocks::open(path).unwrap().read::<u16>(&(0..9), &(0..9), 0).unwrap_err();
        assert!(told(&path).contains("block 0,0: expected 8192 bytes of pixels"), "{}", told(&path));
        std::fs::write(&path, &whole[..(at + 10) as usize]).unwrap();
        assert!(told(&path).contains("bytes in the file, found"), "{}", told(&path));
    }
}
