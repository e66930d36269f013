//! Full tiles: the active window's blocks over and over, in files that GDAL reads.

use gdal::raster::RasterBand;
use gdal::vsi::{create_mem_file, unlink_mem_file};
use gdal::{Dataset, Metadata};
use testworld::{Asset, Region, ServeOptions, World, serve};

use crate::{client, get_bytes};

/// Opens bytes as a raster under a name of its own.
fn with_band<R>(name: &str, bytes: &[u8], read: impl FnOnce(&RasterBand<'_>) -> R) -> R {
    let path = format!("/vsimem/filled_{name}.tif");
    create_mem_file(&path, bytes.to_vec()).unwrap();
    let result = read(&Dataset::open(&path).unwrap().rasterband(1).unwrap());
    unlink_mem_file(&path).unwrap();
    result
}

/// Offset and length of a block as GDAL reads them.
fn block(band: &RasterBand<'_>, row: usize, col: usize) -> (usize, usize) {
    let number = |name: &str| -> usize {
        band.metadata_item(&format!("{name}_{col}_{row}"), "TIFF").unwrap().parse().unwrap()
    };
    (number("BLOCK_OFFSET"), number("BLOCK_SIZE"))
}

fn pixel(band: &RasterBand<'_>, row: usize, col: usize) -> u16 {
    band.read_as::<u16>((col as isize, row as isize), (1, 1), (1, 1), None).unwrap().data()[0]
}

#[tokio::test]
async fn a_filled_tile_repeats_the_window_and_is_read_by_gdal() {
    let world = World::new(42).unwrap();
    let scene =
        world.scenes(Region::Africa).iter().find(|s| s.cloud_share > 0.1 && s.cloud_share < 0.6).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = ServeOptions { cache: Some(folder.path().to_owned()), ..ServeOptions::default() };
    let plain = serve(world.clone(), options.clone()).unwrap();
    let full = serve(world.clone(), ServeOptions { fill: true, ..options }).unwrap();
    // Blocks of 1024 pixels: the window is 2 x 2 of them at 10 m and one at 20 m.
    for (asset, first, period, side) in [(Asset::Scl, 2, 1, 6), (Asset::Green, 4, 2, 11)] {
        let path = format!("/cogs/35KMQ/{}/{}/{asset}.tif", scene.date.format("%Y%m%d"), scene.id);
        let url = format!("{}{path}", full.base_url());
        let (small, large) = (get_bytes(&format!("{}{path}", plain.base_url())).await, get_bytes(&url).await);
        println!("{asset}: {} bytes, filled {}", small.len(), large.len());
        let window_blocks: Vec<Vec<u8>> = with_band("small", &small, |band| {
            let of = |k: usize| block(band, first + k / period, first + k % period);
            (0..period * period).map(|k| small[of(k).0..][..of(k).1].to_vec()).collect()
        });
        with_band(&format!("{asset}"), &large, |band| {
            assert_eq!((band.size(), band.block_size()), ((asset.size_px(), asset.size_px()), (1024, 1024)));
            assert_eq!(band.overview_count().unwrap(), 4);
            for (row, col) in (0..side * side).map(|k| (k / side, k % side)) {
                let (offset, count) = block(band, row, col);
                // The window begins at an even block, so block (0, 0) is like its first.
                let like = (row % period) * period + col % period;
                assert!(offset > 0 && large[offset..offset + count] == window_blocks[like], "{row} {col}");
            }
            let (offset, count) = block(band, side - 1, side - 1);
            assert_eq!(offset + count, large.len());
            let (origin, size) = (first * 1024, period * 1024);
            let mut seen = std::collections::BTreeSet::new();
            for k in 0..40 {
                let (row, col) = (k * 7919 % asset.size_px(), k * 104_729 % asset.size_px());
                let value = pixel(band, row, col);
                assert_eq!(value, pixel(band, origin + row % size, origin + col % size), "{row} {col}");
                assert!(value > 0);
                seen.insert(value);
            }
            assert!(seen.len() > 1, "all alike");
            for overview in 0..4 {
                let small = band.overview(overview).unwrap();
                let (width, height) = small.size();
                let pixels = small.read_as::<u16>((0, 0), (width, height), (width, height), None).unwrap();
                assert_eq!(pixels.data().len(), width * height);
            }
        });
        // Ranges across pieces are those of the whole; tags differ even if lengths did not.
        for (from, to) in
            [(0, 99_999), (large.len() / 2, large.len() / 2 + 3_000_000), (large.len() - 1, large.len() - 1)]
        {
            let part = client().get(&url).header("range", format!("bytes={from}-{to}")).send().await.unwrap();
            let end = to.min(large.len() - 1);
            assert_eq!(part.headers()["content-length"], (end + 1 - from).to_string().as_str());
            assert!(part.bytes().await.unwrap() == large[from..=end], "{asset} {from}-{to}");
        }
        let tag = |base: &str| {
            let url = format!("{base}{path}");
            async move { client().head(url).send().await.unwrap().headers()["etag"].clone() }
        };
        assert_ne!(tag(plain.base_url()).await, tag(full.base_url()).await);
    }
    let stats = full.stats();
    assert_eq!(stats.file_bytes, stats.sent_bytes);
}
