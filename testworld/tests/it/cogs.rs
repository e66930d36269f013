//! COGs: layout, georeference, and pixels that equal the truth where the classification says clear.

use gdal::Dataset;
use gdal::raster::Buffer;
use gdal::vsi::{create_mem_file, unlink_mem_file};
use testworld::{Asset, NOISE_LIMIT, Region, SUPERSEDED_BIAS, Scene, World};

use crate::{client, get_bytes, served};

fn href(base: &str, scene: &Scene, asset: Asset) -> String {
    let (tile, day) = (scene.region.tile_id(), scene.date.format("%Y%m%d"));
    format!("{base}/cogs/{tile}/{day}/{}/{asset}.tif", scene.id)
}

/// Opens bytes as a raster under a name of its own.
fn with_raster<R>(name: &str, bytes: Vec<u8>, read: impl FnOnce(&Dataset) -> R) -> R {
    let path = format!("/vsimem/{name}");
    create_mem_file(&path, bytes).unwrap();
    let result = read(&Dataset::open(&path).unwrap());
    unlink_mem_file(&path).unwrap();
    result
}

fn window(data: &Dataset, col: isize, row: isize, size: usize) -> Buffer<u16> {
    data.rasterband(1).unwrap().read_as::<u16>((col, row), (size, size), (size, size), None).unwrap()
}

/// A scene with both cloud and clear sky, on a day too warm for snow.
fn clearest(world: &World, region: Region, keep: impl Fn(&Scene) -> bool) -> Scene {
    let warm = |scene: &Scene| world.weather(region, scene.date).unwrap().smoothed_temperature_c > 6.0;
    let partly =
        |scene: &&Scene| keep(scene) && scene.cloud_share > 0.1 && scene.cloud_share < 0.6 && warm(scene);
    world.scenes(region).iter().find(partly).unwrap().clone()
}

/// Largest difference to the truth over clear pixels, with the number of them; a grid of 16 × 16 pixels is compared.
async fn compare(world: &World, base: &str, scene: &Scene, asset: Asset) -> (f64, usize) {
    let bytes = get_bytes(&href(base, scene, asset)).await;
    let scl = get_bytes(&href(base, scene, Asset::Scl)).await;
    let resolution = asset.resolution_m();
    let first = (40_960.0 / resolution) as isize;
    let size = (20_480.0 / resolution) as usize;
    let pixels =
        with_raster(&format!("{}_{asset}.tif", scene.id), bytes, |data| window(data, first, first, size));
    let classes =
        with_raster(&format!("{}_{asset}_scl.tif", scene.id), scl, |data| window(data, 2048, 2048, 1024));
    let active = world.active_window(scene.region);
    let (mut worst, mut clear) = (0.0f64, 0);
    for row in (3..size).step_by(size / 16) {
        for col in (5..size).step_by(size / 16) {
            let sky = (row * 1024 / size) * 1024 + col * 1024 / size;
            if !matches!(classes.data()[sky], 4..=6) {
                continue;
            }
            let stored = f64::from(pixels.data()[row * size + col]) - f64::from(scene.stored_offset);
            let x = active.x_min + resolution * (col as f64 + 0.5);
            let y = active.y_max - resolution * (row as f64 + 0.5);
            let truth = world.truth_reflectance(scene.region, asset, x, y, scene.date);
            worst = worst.max((stored * 1e-4 - truth).abs());
            clear += 1;
        }
    }
    (worst, clear)
}

#[tokio::test]
async fn clear_pixels_are_the_truth_within_noise() {
    let (world, server) = served();
    for region in Region::ALL {
        let early = clearest(&world, region, |scene| scene.baseline < "04");
        let shifted = clearest(&world, region, |scene| scene.stored_offset == 1000);
        let removed = clearest(&world, region, |scene| scene.baseline == "04.00" && scene.offset_applied);
        assert_eq!(removed.stored_offset, 0);
        for (scene, assets) in [
            (early, &Asset::ALL[..5]),
            (shifted, &[Asset::Red, Asset::Nir08][..]),
            (removed, &[Asset::Red][..]),
        ] {
            for &asset in assets {
                let (worst, clear) = compare(&world, server.base_url(), &scene, asset).await;
                assert!(clear > 60, "{} {asset}: {clear} clear pixels", scene.id);
                assert!(worst <= NOISE_LIMIT, "{} {asset}: {worst}", scene.id);
                assert!(worst > 0.0002, "{} {asset}: no noise at all", scene.id);
            }
        }
    }
}

#[tokio::test]
async fn a_superseded_scene_is_biased_and_its_successor_is_not() {
    let (world, server) = served();
    let old =
        world.scenes(Region::Africa).iter().find(|s| s.superseded && s.cloud_share < 0.6).unwrap().clone();
    let new =
        world.scenes(Region::Africa).iter().find(|s| s.date == old.date && s.sequence == 1).unwrap().clone();
    let (biased, _) = compare(&world, server.base_url(), &old, Asset::Red).await;
    let (right, _) = compare(&world, server.base_url(), &new, Asset::Red).await;
    assert!((biased - SUPERSEDED_BIAS).abs() <= NOISE_LIMIT, "{biased}");
    assert!(right <= NOISE_LIMIT, "{right}");
}

#[tokio::test]
async fn gdal_sees_a_cog_of_the_tile() {
    let (world, server) = served();
    for (region, asset) in [(Region::Africa, Asset::Nir), (Region::Europe, Asset::Scl)] {
        let scene = world.scenes(region)[10].clone();
        let bytes = get_bytes(&href(server.base_url(), &scene, asset)).await;
        println!("{asset}: {} bytes", bytes.len());
        let tile = world.tile(region).clone();
        with_raster(&format!("layout_{}_{asset}.tif", scene.id), bytes, |data| {
            let resolution = asset.resolution_m();
            assert_eq!(data.raster_size(), (asset.size_px(), asset.size_px()));
            assert_eq!(
                data.geo_transform().unwrap(),
                [tile.origin.x, resolution, 0.0, tile.origin.y, 0.0, -resolution]
            );
            assert_eq!(data.spatial_ref().unwrap().auth_code().unwrap(), tile.epsg.0 as i32);
            let band = data.rasterband(1).unwrap();
            assert_eq!(band.no_data_value(), Some(0.0));
            assert_eq!(band.block_size(), (1024, 1024));
            assert_eq!(band.overview_count().unwrap(), 4);
            // Outside the active window is nodata, inside is not.
            assert!(window(data, 0, 0, 64).data().iter().all(|&pixel| pixel == 0));
            let first = (40_960.0 / resolution) as isize;
            assert!(window(data, first, first, 64).data().iter().all(|&pixel| pixel > 0));
            assert!(window(data, first - 64, first - 64, 64).data().iter().all(|&pixel| pixel == 0));
            // An overview pixel is the full-resolution pixel at its corner.
            let small = band
                .overview(1)
                .unwrap()
                .read_as::<u16>((first / 4, first / 4), (8, 8), (8, 8), None)
                .unwrap();
            let full = window(data, first, first, 32);
            assert_eq!(small.data()[8 * 3 + 5], full.data()[32 * 12 + 20]);
        });
    }
}

#[tokio::test]
async fn the_classification_has_the_cloud_share_of_the_item() {
    let (world, server) = served();
    let wanted = [0.0, 0.3, 0.7, 1.0];
    for share in wanted {
        let near = |scene: &&Scene| (scene.cloud_share - share).abs() < 0.1 && !scene.superseded;
        let scene = world.scenes(Region::Africa).iter().find(near).unwrap().clone();
        let bytes = get_bytes(&href(server.base_url(), &scene, Asset::Scl)).await;
        let classes =
            with_raster(&format!("share_{}.tif", scene.id), bytes, |data| window(data, 2048, 2048, 1024));
        let cloud =
            classes.data().iter().filter(|class| matches!(class, 8..=10)).count() as f64 / 1024.0f64.powi(2);
        assert!((cloud - scene.cloud_share).abs() < 0.003, "{}: {cloud} {}", scene.id, scene.cloud_share);
        let shadow = classes.data().contains(&3);
        assert_eq!(shadow, scene.cloud_share > 0.0 && scene.cloud_share < 1.0, "{}", scene.id);
    }
}

#[tokio::test]
async fn ranges_heads_and_tags() {
    let (world, server) = served();
    let scene = world.scenes(Region::Europe)[3].clone();
    let url = href(server.base_url(), &scene, Asset::Scl);
    let whole = get_bytes(&url).await;
    let head = client().head(&url).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], whole.len().to_string().as_str());
    assert_eq!(head.headers()["accept-ranges"], "bytes");
    let tag = head.headers()["etag"].to_str().unwrap().to_owned();
    let get = |range: &str| client().get(&url).header("range", range).send();

    let part = get("bytes=100-199").await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], format!("bytes 100-199/{}", whole.len()).as_str());
    assert_eq!(part.headers()["etag"], tag.as_str());
    assert_eq!(part.bytes().await.unwrap(), whole[100..200]);
    let tail = get("bytes=-10").await.unwrap();
    assert_eq!(tail.bytes().await.unwrap(), whole[whole.len() - 10..]);
    let outside = get(&format!("bytes={}-", whole.len())).await.unwrap();
    assert_eq!(outside.status(), 416);
    assert_eq!(outside.headers()["content-range"], format!("bytes */{}", whole.len()).as_str());
    let unchanged = client().get(&url).header("if-none-match", &tag).send().await.unwrap();
    assert_eq!(unchanged.status(), 304);
    let other = client().get(&url).header("if-match", "\"other\"").send().await.unwrap();
    assert_eq!(other.status(), 412);
    assert_eq!(client().get(url.replace("scl.tif", "aot.tif")).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn two_servers_give_the_same_bytes_and_other_seeds_others() {
    let (world, one) = served();
    let cache = tempfile::tempdir().unwrap();
    let kept = testworld::ServeOptions { cache: Some(cache.path().to_owned()), ..Default::default() };
    let two = testworld::serve(World::new(42).unwrap(), kept.clone()).unwrap();
    let scene = world.scenes(Region::Africa)[40].clone();
    let path = |base: &str| href(base, &scene, Asset::Green);
    let first = get_bytes(&path(one.base_url())).await;
    assert!(first == get_bytes(&path(two.base_url())).await);
    drop(two);
    // A third server finds the file in the folder.
    let three = testworld::serve(World::new(42).unwrap(), kept).unwrap();
    assert!(first == get_bytes(&path(three.base_url())).await);
    let files = walk(cache.path());
    assert!(
        files.iter().any(|file| file.ends_with("green.tif")) && !files.iter().any(|f| f.contains(".partial")),
        "{files:?}"
    );
    let other = testworld::serve(World::new(43).unwrap(), testworld::ServeOptions::default()).unwrap();
    assert!(first != get_bytes(&path(other.base_url())).await);
}

fn walk(folder: &std::path::Path) -> Vec<String> {
    std::fs::read_dir(folder)
        .unwrap()
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path) } else { vec![path.display().to_string()] }
        })
        .collect()
}

#[tokio::test]
async fn rendering_speed_is_printed() {
    let (world, server) = served();
    let scenes: Vec<Scene> = world.scenes(Region::Africa).iter().take(9).cloned().collect();
    for asset in [Asset::Scl, Asset::Red, Asset::Nir, Asset::Nir08] {
        get_bytes(&href(server.base_url(), &scenes[0], asset)).await;
        let start = std::time::Instant::now();
        let mut bytes = 0;
        for scene in &scenes[1..] {
            bytes += get_bytes(&href(server.base_url(), scene, asset)).await.len();
        }
        let each = start.elapsed().as_secs_f64() * 1e3 / 8.0;
        println!("{asset}: {each:.1} ms, {} kB a file", bytes / 8000);
    }
}
