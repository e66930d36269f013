//! Analyses of models whose answer is written down: lags, interactions, transitions, dead outputs, noise.

use csp::{
    Config, CounterfactualConfig, Error, Predictor, Replacement, Shape, TrainedModel, Transition,
    run_predictor,
};
use minicube::Cube;
use minicube::run::{Ctx, Project};
use minicube::testing::assert_conforms;
use ndarray::{Array5, ArrayView2, Axis};
use x5_dl::{Batch, DataSpec, Dataset, Functional, InputGradient, ModelConfig};

use crate::pipeline::{WEATHER, config, manifest, project, tiny};
use crate::table::Table;

const CONTEXT: usize = 4;
const TARGET: usize = 6;
const RAIN: usize = 0;
const TEMPERATURE: usize = 1;

/// A model that forecasts one number a step, the same at every pixel, by a formula of the weather `[step, input]`, the
/// sample's number and the forecast step.
struct Formula<F> {
    spec: DataSpec,
    formula: F,
}

fn formula<F: Fn(ArrayView2<'_, f32>, usize, usize) -> f64>(index: &str, formula: F) -> Formula<F> {
    let spec = DataSpec {
        dynamic: vec![index.to_owned()],
        weather: WEATHER.map(str::to_owned).to_vec(),
        statics: Vec::new(),
        context_steps: CONTEXT,
        target_steps: TARGET,
    };
    Formula { spec, formula }
}

impl<F: Fn(ArrayView2<'_, f32>, usize, usize) -> f64> Predictor for Formula<F> {
    fn spec(&self) -> &DataSpec {
        &self.spec
    }
    fn identity(&self) -> String {
        "a formula".to_owned()
    }
    fn predict(&self, batch: &Batch) -> Result<Array5<f32>, Error> {
        let (rows, cols) = (batch.valid.dim().2, batch.valid.dim().3);
        let mut frames = Array5::zeros((batch.len(), TARGET, 1, rows, cols));
        for (sample, mut frame) in frames.outer_iter_mut().enumerate() {
            let weather = batch.weather.index_axis(Axis(0), sample);
            let weather = weather.index_axis(Axis(2), 0).index_axis_move(Axis(2), 0);
            let number = batch.sample_ids[sample][8..].parse().unwrap();
            for t in 0..TARGET {
                frame.index_axis_mut(Axis(0), t).fill((self.formula)(weather, number, t) as f32);
            }
        }
        Ok(frames)
    }
}

/// NDVI = .2 + 24 r(t) + 12 r(t − 1) + 4 r(t − 3) with rain r in m/day.
#[test]
fn a_known_memory_of_rain_is_recovered() {
    let dir = tiny(24);
    let memory = [24.0, 12.0, 0.0, 4.0];
    let model = formula("ndvi", |weather, _, t| {
        let past =
            memory.iter().enumerate().map(|(lag, k)| k * f64::from(weather[[CONTEXT + t - lag, RAIN]]));
        0.2 + past.sum::<f64>()
    });
    run_predictor(&project(dir.path()), &config(), &model, &Ctx::quiet(2)).unwrap();
    let table = Table::read(dir.path(), "lags");
    let rain = table.rows(&[("variable", "precipitation")]);
    let value = table.numbers("value");
    for (row, lag) in rain.iter().zip(0..) {
        let exact = memory.get(lag).unwrap_or(&0.0) * 1e-3;
        let (low, high) = (table.numbers("low")[*row], table.numbers("high")[*row]);
        assert!((value[*row] - exact).abs() <= 0.01 * exact + 1e-7, "lag {lag}: {}", value[*row]);
        assert!(low - 1e-6 <= exact && exact <= high + 1e-6, "lag {lag}: {low} to {high}");
    }
    assert_eq!(rain.len(), CONTEXT + TARGET);
    assert_eq!(table.numbers("n_pairs")[rain[0]], TARGET as f64);
    for row in table.rows(&[("variable", "pressure")]) {
        assert_eq!(value[row], 0.0);
    }
    let lags = &manifest(dir.path())["notes"]["lags"][0];
    assert_eq!((lags["variable"].as_str(), lags["peak_lag"].as_u64()), (Some("precipitation"), Some(0)));
    assert_eq!(lags["half_by_lag"], 0);
    assert!((lags["sum"].as_f64().unwrap() / 0.04 - 1.0).abs() < 0.01);
}

/// NDVI = .4 + .002 (T − 293 K) · r, rain r in mm/day: the mixed effect is .002 per °C and mm/day, pressure has none.
#[test]
fn a_known_interaction_is_recovered() {
    let dir = tiny(24);
    let model = formula("ndvi", |weather, _, t| {
        let of = |input: usize| f64::from(weather[[CONTEXT + t, input]]);
        0.4 + 0.002 * (of(TEMPERATURE) - 293.0) * of(RAIN) * 1e3
    });
    run_predictor(&project(dir.path()), &config(), &model, &Ctx::quiet(2)).unwrap();
    let table = Table::read(dir.path(), "interactions");
    let strength = |first: &str, second: &str| {
        let row = table.rows(&[("first", first), ("second", second)])[0];
        (table.numbers("strength")[row], table.numbers("h2")[row])
    };
    let (both, share) = strength("precipitation", "temperature");
    assert!((both / 0.002 - 1.0).abs() < 0.01 && share > 0.05, "{both} {share}");
    let (none, share) = strength("precipitation", "pressure");
    assert!(none.abs() < 1e-8 && share < 1e-8, "{none} {share}");
    // (3 + 1)² shifts for each of three pairs.
    assert_eq!(Table::read(dir.path(), "surfaces").numbers("mixed").len(), 48);
}

/// NDVI = .2 + .001 T(t): under a ramp over the ten steps, forecast step t gets (4 + t + 1) / 10 of the shift, .75 on
/// average; under a pulse at steps 5 and 6 two of the six forecast steps get all of it.
#[test]
fn transitions_act_by_their_share_of_the_forecast_steps() {
    let dir = tiny(24);
    let model = formula("ndvi", |weather, _, t| {
        0.2 + 0.001 * (f64::from(weather[[CONTEXT + t, TEMPERATURE]]) - 273.15)
    });
    let of = |shape, start, steps| Transition { shape, start, steps };
    let transitions =
        vec![Transition::default(), of(Shape::Ramp, 0, 10), of(Shape::Pulse, 5, 2), of(Shape::Perlin, 0, 3)];
    let shapes = Config { transitions, ..config() };
    run_predictor(&project(dir.path()), &shapes, &model, &Ctx::quiet(2)).unwrap();
    let table = Table::read(dir.path(), "sensitivity");
    let value = |transition: &str| {
        let wanted =
            [("variable", "temperature"), ("reading", "mean_over_pairs"), ("transition", transition)];
        table.numbers("value")[table.rows(&wanted)[0]]
    };
    for (transition, share) in [("constant", 1.0), ("ramp 0+10", 0.75), ("pulse 5+2", 1.0 / 3.0)] {
        let found = value(transition);
        assert!((found / (0.001 * share) - 1.0).abs() < 0.01, "{transition}: {found}");
    }
    assert!((0.0..0.001).contains(&value("perlin 3")));
    let proof = csp::check_predictor(&project(dir.path()), &shapes, &model).unwrap();
    assert!(proof.text().contains("24 samples"), "{}", proof.text());
}

#[test]
fn a_dead_output_is_reported_and_not_taken_for_insensitivity() {
    let dir = tiny(24);
    let dead = formula("kndvi", |_, _, _| 0.0);
    run_predictor(&project(dir.path()), &config(), &dead, &Ctx::quiet(2)).unwrap();
    let remarks = manifest(dir.path())["notes"]["remarks"].as_array().unwrap().clone();
    assert_eq!(remarks.len(), 1);
    assert_eq!(
        remarks[0],
        "the forecast kNDVI is 0 in every step of every sample, whatever the weather: the output of toy is dead or \
         clipped, and all sensitivities are 0 for that reason alone"
    );
    let page = std::fs::read_to_string(dir.path().join("explain/toy/report.html")).unwrap();
    assert!(page.contains("dead or clipped"));
    let table = Table::read(dir.path(), "sensitivity");
    assert!(table.numbers("value").iter().all(|value| *value == 0.0));
    assert!(table.numbers("unmoved").iter().all(|share| *share == 1.0));
}

/// An output clipped at .5 moves in some samples only: in the dry ones.
#[test]
fn a_clipped_output_is_reported_with_its_share() {
    let dir = tiny(24);
    let clipped = formula("ndvi", |weather, number, t| {
        let free = 0.3 + 10.0 * f64::from(weather[[CONTEXT + t, RAIN]]);
        if number % 3 == 0 { free } else { 0.5 }
    });
    run_predictor(&project(dir.path()), &config(), &clipped, &Ctx::quiet(2)).unwrap();
    let remarks = manifest(dir.path())["notes"]["remarks"].as_array().unwrap().clone();
    let text = |i: usize| remarks[i].as_str().unwrap();
    assert!(text(0).starts_with("16 of 24 samples have one and the same NDVI"), "{}", text(0));
    assert!(text(1).starts_with("precipitation: 67 % of all NDVI values do not change"), "{}", text(1));
    assert!(text(2).starts_with("pressure is ignored"), "{}", text(2));
}

/// Every sample answers to temperature in its own way, between half and one and a half times .001 per °C: of twelve
/// such models the interval of the sensitivity holds the true .001 in all but few.
#[test]
fn noisy_answers_lie_inside_the_stated_interval() {
    let mut inside = 0;
    for seed in 0..12_u64 {
        let dir = tiny(36);
        let noisy = formula("ndvi", move |weather, number, t| {
            // A fixed hash of sample and seed, evenly spread over −.5 … .5.
            let mixed = (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(seed << 32);
            let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let noise = (mixed >> 40) as f64 / (1_u64 << 24) as f64 - 0.5;
            0.2 + 0.001 * (1.0 + noise) * (f64::from(weather[[CONTEXT + t, TEMPERATURE]]) - 273.15)
        });
        let few = Config { lag_samples: 0, interaction_samples: 0, bootstrap: 400, ..config() };
        run_predictor(&project(dir.path()), &few, &noisy, &Ctx::quiet(2)).unwrap();
        let table = Table::read(dir.path(), "sensitivity");
        let row = table.rows(&[("variable", "temperature"), ("reading", "mean_over_pairs")])[0];
        let (low, high) = (table.numbers("low")[row], table.numbers("high")[row]);
        assert!(low < high && high - low < 5e-4, "seed {seed}: {low} to {high}");
        inside += usize::from(low <= 0.001 && 0.001 <= high);
    }
    assert!(inside >= 10, "only {inside} of 12");
}

/// Only rain matters, in every class; land cover is 30 everywhere in the tiny stores, and the forecast begins on 10
/// February. The map of each pixel has the same slope.
#[test]
fn ranking_groups_and_maps_name_the_only_input_that_matters() {
    let dir = tiny(24);
    let model = formula("ndvi", |weather, _, t| 0.2 + 20.0 * f64::from(weather[[CONTEXT + t, RAIN]]));
    run_predictor(&project(dir.path()), &config(), &model, &Ctx::quiet(2)).unwrap();
    let ranking = Table::read(dir.path(), "ranking");
    assert_eq!((ranking.texts("input")[0].as_str(), ranking.numbers("rank")[0]), ("tp_mean", 1.0));
    assert_eq!(ranking.texts("input").len(), 6);
    let changes = ranking.numbers("change");
    assert!(changes[0] > 0.001 && changes[1..].iter().all(|change| *change == 0.0), "{changes:?}");

    let groups = Table::read(dir.path(), "groups");
    for (layer, class) in [("landcover", "30"), ("season", "0")] {
        let row = groups.rows(&[("layer", layer), ("class", class), ("variable", "precipitation")])[0];
        assert!((groups.numbers("value")[row] / 0.02 - 1.0).abs() < 0.01, "{layer}");
        assert_eq!((groups.numbers("n_usable")[row], groups.numbers("n_forecast")[row]), (24.0, 24.0));
    }
    let maps = Cube::open(&dir.path().join("explain/toy/saliency.zarr"), "saliency").unwrap();
    assert_eq!(maps.shape("gradient").unwrap(), [2, 3, 4, 4]);
    let gradient = maps.read::<f64>("gradient").unwrap();
    for (variable, map) in gradient.axis_iter(Axis(1)).enumerate() {
        let exact = if variable == 0 { 0.02 } else { 0.0 };
        assert!(map.iter().all(|slope| (slope - exact).abs() < 1e-6), "{map:?}");
    }
    let missing = Config { groups: Some(vec!["soil".into()]), ..config() };
    let failure = run_predictor(&project(dir.path()), &missing, &model, &Ctx::quiet(1)).unwrap_err();
    assert!(failure.to_string().contains("no layer of classes static/soil"), "{failure}");
}

/// NDVI = .2 + 20 r + .001 (T − 273 K) + .2 r (T − 273 K) with rain r in m/day: under other weather r', T' the product is
/// shared by halves, and pressure has no share. Other clusters differ from the sample's own weather.
#[test]
fn shares_of_other_weather_follow_from_the_formula() {
    let terms = |weather: ArrayView2<'_, f32>, t: usize| {
        let of = |input: usize| f64::from(weather[[CONTEXT + t, input]]);
        (of(RAIN), of(TEMPERATURE) - 273.0)
    };
    let ndvi = |r: f64, warm: f64| 0.2 + 20.0 * r + 0.001 * warm + 0.2 * r * warm;
    let model = formula("ndvi", move |weather, _, t| {
        let (r, warm) = terms(weather, t);
        ndvi(r, warm)
    });
    for replace in [Replacement::Climatology, Replacement::OtherCluster] {
        let dir = tiny(24);
        let counterfactual = CounterfactualConfig { replace, ..CounterfactualConfig::default() };
        let wanted = Config { counterfactual, ..config() };
        run_predictor(&project(dir.path()), &wanted, &model, &Ctx::quiet(2)).unwrap();
        let table = Table::read(dir.path(), "counterfactuals");
        let number = |column: &str| table.numbers(column);
        let [change, alone, before, after] = ["change", "alone", "before", "after"].map(number);
        assert_eq!(change.len(), 4 * TARGET * 3);
        let mut moved = 0;
        for row in 0..change.len() / 3 {
            // Variables in the order of their names.
            let [rain, pressure, warm] = [0, 1, 2].map(|v| 3 * row + v);
            assert_eq!(table.texts("variable")[rain], "precipitation");
            let whole = after[rain] - before[rain];
            assert!((change[rain] + change[pressure] + change[warm] - whole).abs() < 1e-12);
            let product = whole - alone[rain] - alone[warm];
            assert!((change[rain] - alone[rain] - 0.5 * product).abs() < 1e-9);
            assert!((change[warm] - alone[warm] - 0.5 * product).abs() < 1e-9);
            assert_eq!((change[pressure], alone[pressure]), (0.0, 0.0));
            moved += usize::from(whole.abs() > 1e-3);
        }
        assert!(moved > TARGET, "{replace:?}: {moved}");
        let page = std::fs::read_to_string(dir.path().join("explain/toy/report.html")).unwrap();
        assert!(page.contains("Other weather"));
    }
    // Level 2 has one sample of each cube.
    let dir = tiny(24);
    let counterfactual =
        CounterfactualConfig { replace: Replacement::OtherYear, ..CounterfactualConfig::default() };
    run_predictor(&project(dir.path()), &Config { counterfactual, ..config() }, &model, &Ctx::quiet(2))
        .unwrap();
    assert_eq!(manifest(dir.path())["notes"]["left out: no other weather"], 4);
    assert!(Table::read(dir.path(), "counterfactuals").numbers("change").is_empty());
    let counterfactual =
        CounterfactualConfig { start: Some(9), steps: Some(2), ..CounterfactualConfig::default() };
    let failure =
        run_predictor(&project(dir.path()), &Config { counterfactual, ..config() }, &model, &Ctx::quiet(2));
    let failure = failure.unwrap_err().to_string();
    assert!(failure.contains("expected steps within the 10 of the model, found 9 to 11"), "{failure}");
}

/// The climatology of February, by hand: the mean rain of all samples at the steps that end in the month.
#[test]
fn the_climatology_is_the_mean_of_the_month() {
    let dir = tiny(24);
    let model = formula("ndvi", |weather, _, t| 20.0 * f64::from(weather[[CONTEXT + t, RAIN]]));
    run_predictor(&project(dir.path()), &config(), &model, &Ctx::quiet(2)).unwrap();
    let cube = Cube::open(&dir.path().join("explain/toy/signals.zarr"), "signals").unwrap();
    let rain = cube.read::<f64>("signal").unwrap();
    let names = cube.read_strings("variable").unwrap();
    let rain = rain.index_axis(Axis(0), names.iter().position(|name| name == "tp_mean").unwrap());
    // Steps end every ten days from 10 January on: 9 and 19 February are steps 3 and 4, 1 March is step 5.
    let usual = rain.iter().zip(0..).filter(|(_, i)| [3, 4].contains(&(i % 10))).map(|(r, _)| *r);
    let usual = usual.sum::<f64>() / 48.0;
    let table = Table::read(dir.path(), "counterfactuals");
    let rows = table.rows(&[("variable", "precipitation")]);
    for row in rows.iter().step_by(TARGET) {
        let found = table.numbers("after")[*row];
        assert!((found - 0.02 * usual).abs() < 1e-6, "{found}, expected {}", 0.02 * usual);
    }
}

/// A model that forecasts the past of each pixel: levelling a patch of the past changes the forecast by as much.
#[test]
fn occlusion_finds_where_the_forecast_comes_from() {
    let dir = tiny(24);
    let past = Past(formula("ndvi", |_, _, _| 0.0).spec);
    run_predictor(&project(dir.path()), &Config { patch_px: 2, ..config() }, &past, &Ctx::quiet(2)).unwrap();
    let maps = Cube::open(&dir.path().join("explain/toy/saliency.zarr"), "saliency").unwrap();
    let (unchanged, occlusion) =
        (maps.read::<f64>("unchanged").unwrap(), maps.read::<f64>("occlusion").unwrap());
    assert_eq!(occlusion.shape(), [2, 1, 2, 2]);
    let map = unchanged.index_axis(Axis(0), 0);
    for (row, col) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let inside = |y: usize, x: usize| y / 2 == row && x / 2 == col;
        let mean = |wanted: bool| {
            let cells = (0..16).map(|i| (i / 4, i % 4)).filter(|(y, x)| inside(*y, *x) == wanted);
            cells.clone().map(|(y, x)| map[[y, x]]).sum::<f64>() / cells.count() as f64
        };
        // A quarter of the pixels goes from its own mean to that of the others.
        let exact = 0.25 * (mean(false) - mean(true));
        let found = occlusion[[0, 0, row, col]];
        assert!((found - exact).abs() < 1e-6, "{row} {col}: {found}, expected {exact}");
    }
    assert_eq!(Table::read(dir.path(), "ranking").texts("kind")[0], "context");
}

/// NDVI = .1 + .5 d² + 20 r(t) at each pixel, of its last value d of the past and of rain r: the gradient by d is d over the
/// number of pixels, and the part of a pixel .5 (d² − m²) over that number, from the mean m of the past.
#[test]
fn integrated_gradients_of_a_known_model_are_exact_and_complete() {
    let dir = tiny(24);
    let sloped = Sloped(formula("ndvi", |_, _, _| 0.0).spec);
    run_predictor(&project(dir.path()), &config(), &sloped, &Ctx::quiet(2)).unwrap();
    let maps = Cube::open(&dir.path().join("explain/toy/saliency.zarr"), "saliency").unwrap();
    let read = |name: &str| maps.read::<f64>(name).unwrap();
    let (slope, part, weather) = (read("slope"), read("integrated"), read("integrated_weather"));
    assert_eq!((slope.shape(), weather.shape()), (&[2, 1, 4, 4][..], &[2, 5, 10][..]));
    let dataset = Dataset::open(&dir.path().join("level2"), minicube::Split::Train, sloped.spec()).unwrap();
    let ids = maps.read_strings("sample_id").unwrap();
    for (map, id) in ids.iter().enumerate() {
        let sample = dataset.sample_ids().iter().position(|other| other == id).unwrap();
        let crop = x5_dl::Crop { row: 2, col: 2, rows: 4, cols: 4 };
        let batch = dataset.batch(&[sample], Some(crop)).unwrap();
        let past = batch.dynamic.mapv(f64::from);
        let usual = past.slice(ndarray::s![0, ..CONTEXT, 0, .., ..]).mean().unwrap();
        for (y, x) in (0..16).map(|i| (i / 4, i % 4)) {
            let last = past[[0, CONTEXT - 1, 0, y, x]];
            assert!((slope[[map, 0, y, x]] - last / 16.0).abs() < 1e-6);
            assert!((part[[map, 0, y, x]] - 0.5 * (last * last - usual * usual) / 16.0).abs() < 1e-6);
        }
        let rain = |t: usize| f64::from(batch.weather[[0, t, RAIN, 0, 0]]);
        let mean = (0..10).map(rain).sum::<f64>() / 10.0;
        for t in 0..10 {
            let exact = if t < CONTEXT { 0.0 } else { 20.0 * (rain(t) - mean) / TARGET as f64 };
            assert!((weather[[map, RAIN, t]] - exact).abs() < 1e-6, "step {t}");
        }
        let ends = read("mean_index");
        let sum = part.index_axis(Axis(0), map).sum() + weather.index_axis(Axis(0), map).sum();
        assert!((sum - (ends[[map, 0]] - ends[[map, 1]])).abs() < 1e-6);
        assert!((sum - (ends[[map, 0]] - ends[[map, 1]]) - read("gap")[[map]]).abs() < 1e-12);
    }
    assert_conforms(&dir.path().join("explain/toy/saliency.zarr"), "saliency");
    let page = std::fs::read_to_string(dir.path().join("explain/toy/report.html")).unwrap();
    assert!(page.contains("Integrated gradients"));
}

/// See the test above.
struct Sloped(DataSpec);

impl Predictor for Sloped {
    fn spec(&self) -> &DataSpec {
        &self.0
    }
    fn identity(&self) -> String {
        "sloped".to_owned()
    }
    fn predict(&self, batch: &Batch) -> Result<Array5<f32>, Error> {
        let (rows, cols) = (batch.valid.dim().2, batch.valid.dim().3);
        Ok(Array5::from_shape_fn((batch.len(), TARGET, 1, rows, cols), |(b, t, _, y, x)| {
            let last = batch.dynamic[[b, CONTEXT - 1, 0, y, x]];
            0.1 + 0.5 * last * last + 20.0 * batch.weather[[b, CONTEXT + t, RAIN, 0, 0]]
        }))
    }
    fn gradient(&self, batch: &Batch, of: &Functional<'_>) -> Result<Option<InputGradient>, Error> {
        let frames = self.predict(batch)?;
        let mut slopes = InputGradient {
            value: Vec::new(),
            dynamic: Array5::zeros(batch.dynamic.dim()),
            weather: Array5::zeros(batch.weather.dim()),
            statics: ndarray::Array4::zeros(batch.statics.dim()),
        };
        for (b, frame) in frames.outer_iter().enumerate() {
            let (value, derivative) = of(b, frame);
            slopes.value.push(value);
            for ((t, _, y, x), by) in derivative.indexed_iter() {
                let last = f64::from(batch.dynamic[[b, CONTEXT - 1, 0, y, x]]);
                slopes.dynamic[[b, CONTEXT - 1, 0, y, x]] += by * last;
                slopes.weather[[b, CONTEXT + t, RAIN, 0, 0]] += 20.0 * by;
            }
        }
        Ok(Some(slopes))
    }
}

/// A network trained for a few steps.
fn trained(project: &Project) -> TrainedModel {
    let model = ModelConfig {
        name: "rnn".into(),
        weather: Some(["tp_mean", "t2m_mean", "sp_mean"].map(str::to_owned).to_vec()),
        hidden: Some(vec![8]),
        steps: Some(4),
        pixels: Some(8),
        ..ModelConfig::default()
    };
    let train = x5_dl::Config {
        context_steps: CONTEXT,
        target_steps: TARGET,
        models: vec![model],
        ..x5_dl::Config::default()
    };
    x5_dl::run(&train.resolve(project).unwrap(), &Ctx::quiet(2)).unwrap();
    TrainedModel::load(&project.models().join("rnn")).unwrap()
}

/// The parts add up to what it forecasts less what it forecasts from means.
#[test]
fn integrated_gradients_of_a_network_are_complete() {
    let dir = tiny(24);
    let project = project(dir.path());
    run_predictor(&project, &config(), &trained(&project), &Ctx::quiet(2)).unwrap();
    let maps = Cube::open(&dir.path().join("explain/toy/saliency.zarr"), "saliency").unwrap();
    let (ends, gaps) = (maps.read::<f64>("mean_index").unwrap(), maps.read::<f64>("gap").unwrap());
    for map in 0..2 {
        let change = ends[[map, 0]] - ends[[map, 1]];
        assert!(gaps[[map]].abs() < 0.02 * change.abs() + 1e-4, "{} of {change}", gaps[[map]]);
    }
}

/// Four steps are too few to be better than yesterday's vegetation, and a model without scores has no caveats.
#[test]
fn a_network_that_errs_more_than_a_baseline_is_told_to_have_no_skill() {
    let dir = tiny(24);
    let project = project(dir.path());
    let model = trained(&project);
    run_predictor(&project, &config(), &model, &Ctx::quiet(2)).unwrap();
    let remark = manifest(dir.path())["notes"]["remarks"][0].as_str().unwrap().to_owned();
    assert!(remark.starts_with("rnn has no skill on val: its forecasts miss kNDVI by 0."), "{remark}");
    let page = std::fs::read_to_string(dir.path().join("explain/toy/report.html")).unwrap();
    assert!(page.contains(&format!("⚠ {remark}.")), "{remark}");
    std::fs::remove_file(project.models().join("rnn/scores.json")).unwrap();
    assert_eq!(model.caveats().unwrap(), Vec::<String>::new());
}

/// Forecasts the last step of the past.
struct Past(DataSpec);

impl Predictor for Past {
    fn spec(&self) -> &DataSpec {
        &self.0
    }
    fn identity(&self) -> String {
        "the past".to_owned()
    }
    fn predict(&self, batch: &Batch) -> Result<Array5<f32>, Error> {
        let (rows, cols) = (batch.valid.dim().2, batch.valid.dim().3);
        let mut frames = Array5::zeros((batch.len(), TARGET, 1, rows, cols));
        let last = batch.dynamic.index_axis(Axis(1), CONTEXT - 1);
        for t in 0..TARGET {
            frames.index_axis_mut(Axis(1), t).assign(&last);
        }
        Ok(frames)
    }
}
