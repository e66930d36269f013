//! The fillings on real series: how far each is from clear observations that it has not seen.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

mod common;

use common::{config, import_section, succeed};
use minicube::Cube;
use minicube::testing::real;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use x4_level2::{Method, leave_out, trial_pixels};

const BANDS: [&str; 4] = ["blue", "green", "red", "nir"];

#[test]
fn every_filling_is_near_real_observations() {
    let Some(input) = real("greenearthnet") else { return };
    let dir = tempfile::tempdir().unwrap();
    let section = import_section("greenearthnet", &[input], "split = \"test\"");
    succeed("run", &config(dir.path(), &section), &[]);
    let mut methods = vec![Method::Linear];
    methods.extend([1.0, 1e1, 1e2, 1e3, 1e4].map(|lambda| Method::Whittaker { lambda }));
    methods.push(Method::Harmonic { harmonics: 2, ridge: 0.1 });
    methods.push(Method::Rbf { sigmas: vec![8.0, 16.0, 32.0], cutoff: 0.95 });
    for tile in ["29SND", "34TET"] {
        let cube = Cube::open(&dir.path().join(format!("level2/test/{tile}.zarr")), "level2").unwrap();
        let bands = BANDS.map(|band| cube.read::<f32>(band).unwrap());
        let (mask, days) = (cube.read::<u8>("mask").unwrap(), cube.read::<i32>("date").unwrap());
        let days: Vec<i32> = days.iter().copied().collect();
        let pixels = trial_pixels(128, 128);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let found =
            leave_out(&days, &pixels, (4, (2, 3)), &methods, 0.1, &mut rng, |time, range, valid, values| {
                for (i, pixel) in range.enumerate() {
                    let at = [0, time, pixel / 128, pixel % 128];
                    valid[i] = 1 - mask[at];
                    bands.iter().zip(&mut *values).for_each(|(band, values)| values[i] = band[at]);
                }
            });
        println!("{tile}: {} observations", found.count);
        for (method, rmse) in methods.iter().zip(&found.rmse) {
            println!("  {method:?}: NDVI {:.4}, nir {:.4}", rmse[4], rmse[3]);
        }
        let ndvi: Vec<f64> = found.rmse.iter().map(|rmse| rmse[4]).collect();
        assert!(found.count > 200 && (0.005..0.1).contains(&ndvi[0]));
        assert!(ndvi.iter().all(|rmse| *rmse < 0.1) && ndvi[3] < 1.1 * ndvi[0], "{ndvi:?}");
    }
}
