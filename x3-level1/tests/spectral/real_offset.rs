//! The judge of the offset on real series: with the offsets that they have, and with others put into them.

use std::fs;

use minicube::testing::real;
use ndarray::{ArrayD, s};
use x3_level1::{DarkLevels, Says, judge};

/// Classes and digital numbers in blue and red of one scene.
type Pixels = (Vec<u8>, [Vec<u16>; 2]);

fn levels((classes, bands): &Pixels, offset: u16) -> DarkLevels {
    let with = |band: &Vec<u16>| band.iter().map(|&n| if n == 0 { 0 } else { n + offset }).collect();
    DarkLevels::of(classes, &[with(&bands[0]), with(&bands[1])])
}

/// 118 acquisitions over a Belgian field, clouds and all, at 20 m.
fn belgium() -> Option<Vec<Pixels>> {
    let folder = real("worldcereal/00002806639B424A")?;
    let open = |part: &str| {
        let paths = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        netcdf::open(paths.into_iter().find(|path| path.to_string_lossy().contains(part)).unwrap()).unwrap()
    };
    let (ten, twenty) = (open("S2_L2A_10m"), open("S2_L2A_20m"));
    let read = |file: &netcdf::File, name: &str| -> ArrayD<u16> {
        file.variable(name).unwrap().get::<f64, _>(..).unwrap().mapv(|value| value as u16)
    };
    let (blue, red, scl) = (read(&ten, "B02"), read(&ten, "B04"), read(&twenty, "SCL"));
    let scene = |t: usize| {
        let pixels = |band: &ArrayD<u16>| band.slice(s![t, ..;2, ..;2]).iter().copied().collect::<Vec<u16>>();
        let classes: Vec<u8> = scl.slice(s![t, .., ..]).iter().map(|&class| class as u8).collect();
        (classes, [pixels(&blue), pixels(&red)])
    };
    Some((0..scl.shape()[0]).map(scene).collect())
}

/// None of these has an offset. With one put into all of them, into the later part, or into a few here and there, no
/// scene is ever taken for the other kind, and most of the clear ones are told.
#[test]
fn no_scene_is_taken_for_the_other_kind() {
    let Some(scenes) = belgium() else { return };
    assert_eq!(scenes.len(), 118);
    type Rule = fn(usize) -> bool;
    let rules: [(&str, Rule, usize); 5] = [
        ("none", |_| false, 40),
        ("all", |_| true, 40),
        ("the later half", |t| t >= 59, 40),
        ("every tenth", |t| t % 10 == 3, 40),
        ("all but every fifth", |t| t % 5 != 0, 25),
    ];
    for (name, has_offset, least) in rules {
        let offset = |t: usize| if has_offset(t) { 1000 } else { 0 };
        let series: Vec<DarkLevels> =
            scenes.iter().enumerate().map(|(t, scene)| levels(scene, offset(t))).collect();
        let says = judge(&series);
        for (t, &says) in says.iter().enumerate() {
            let other = if has_offset(t) { Says::Plain } else { Says::Offset };
            assert_ne!(says, other, "offset in {name}: acquisition {t}: {:?}", series[t]);
        }
        let sure = says.iter().filter(|says| **says != Says::Unsure).count();
        assert!(sure >= least, "offset in {name}: {sure} of 118 are sure");
    }
}

/// A scene of 2024 that still has its offset, averaged to a kilometre: every pixel is above 1000. One scene is no
/// series; three such are, and beside plain ones of another place and time it stands out.
#[test]
fn a_scene_of_2024_still_has_its_offset() {
    let Some(path) = real("s2_l2a_misc/terra_sent2_L2A_2024-08-24.tif") else { return };
    let file = gdal::Dataset::open(&path).unwrap();
    let (cols, rows) = file.raster_size();
    let read = |number: usize| -> Vec<u16> {
        let band = file.rasterband(number).unwrap();
        band.read_as::<f32>((0, 0), (cols, rows), (cols, rows), None)
            .unwrap()
            .data()
            .iter()
            .map(|&v| v as u16)
            .collect()
    };
    let [blue, red, nir] = [1, 3, 4].map(read);
    // There is no classification: NDVI above 0.4 is vegetation.
    let classes: Vec<u8> = red
        .iter()
        .zip(&nir)
        .map(|(&red, &nir)| {
            let (red, nir) = (f64::from(red) - 1000.0, f64::from(nir) - 1000.0);
            if (nir - red) / (nir + red) > 0.4 { 4 } else { 5 }
        })
        .collect();
    let scene = DarkLevels::of(&classes, &[blue, red]);
    assert!(scene.dark.iter().flatten().all(|level| (1100..1200).contains(level)), "{scene:?}");
    assert_eq!(judge(std::slice::from_ref(&scene)), [Says::Unsure]);
    assert_eq!(judge(&vec![scene.clone(); 3]), [Says::Offset; 3]);
    let Some(belgium) = belgium() else { return };
    let mut series: Vec<DarkLevels> = belgium.iter().map(|pixels| levels(pixels, 0)).collect();
    series.push(scene);
    assert_eq!(judge(&series)[118], Says::Offset);
}
