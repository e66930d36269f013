//! The time-series library against tslearn 0.10 (origin of the numbers: `data/README.md`).

use crate::vectors::{Golden, close, numbers};
use csp::series::{
    BarycentreOptions, KMeans, Metric, SeriesError, assign, dtw, dtw_banded, dtw_barycentre, dtw_cross,
    soft_dtw, soft_dtw_barycentre, soft_dtw_cross, soft_dtw_divergence, soft_dtw_gradient,
};
use ndarray::{Array2, Array3, Axis, array};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Accuracy asked of a value: 1e-8, reached with room by kernels good to 1e-13.
const VALUE: f64 = 1e-11;

#[test]
fn pairs_equal_tslearn() {
    let golden = Golden::read("tslearn");
    for (i, pair) in golden.0["pairs"].as_array().unwrap().iter().enumerate() {
        let (a, b) = (golden.one(&format!("pair{i}_a")), golden.one(&format!("pair{i}_b")));
        close(dtw(a.view(), b.view()).unwrap(), pair["dtw"].as_f64().unwrap(), VALUE, &format!("dtw {i}"));
        for gamma in ["1.0", "0.1", "0.01", "0.001"] {
            let what = format!("soft-DTW {i}, gamma {gamma}");
            let expected = pair[format!("soft_dtw_gamma{gamma}")].as_f64().unwrap();
            let gamma: f64 = gamma.parse().unwrap();
            close(soft_dtw(a.view(), b.view(), gamma).unwrap(), expected, VALUE, &what);
            close(soft_dtw_gradient(a.view(), b.view(), gamma).unwrap().value, expected, VALUE, &what);
        }
        let own = pair["soft_dtw_self_gamma1"].as_f64().unwrap();
        close(soft_dtw(a.view(), a.view(), 1.0).unwrap(), own, VALUE, "with itself");
    }
}

#[test]
fn alignment_matrices_equal_tslearn() {
    let golden = Golden::read("tslearn");
    for i in [1, 3, 5, 6] {
        for gamma in ["1.0", "0.01"] {
            let (a, b) = (golden.one(&format!("pair{i}_a")), golden.one(&format!("pair{i}_b")));
            let expected = golden.one(&format!("pair{i}_align_gamma{gamma}"));
            let ours = soft_dtw_gradient(a.view(), b.view(), gamma.parse().unwrap()).unwrap().alignment;
            for (ours, theirs) in ours.iter().zip(&expected) {
                close(*ours, *theirs, 1e-9, &format!("E of pair {i}, gamma {gamma}"));
            }
        }
    }
}

#[test]
fn matrices_equal_tslearn() {
    let golden = Golden::read("tslearn");
    let x = golden.series("cdist_X");
    let check = |ours: Array2<f64>, name: &str| {
        for (ours, theirs) in ours.iter().zip(&golden.array(name)) {
            close(*ours, *theirs, VALUE, name);
        }
    };
    check(dtw_cross(x.view(), x.view()).unwrap(), "cdist_dtw");
    check(soft_dtw_cross(x.view(), x.view(), 1.0).unwrap(), "cdist_soft_dtw_gamma1");
    check(soft_dtw_cross(x.view(), x.view(), 0.05).unwrap(), "cdist_soft_dtw_gamma0.05");
}

#[test]
fn barycentre_objective_is_not_above_tslearn() {
    let golden = Golden::read("tslearn");
    let x = golden.series("bary_X");
    for name in ["g1_default", "g01", "g001", "g1_init_first"] {
        let expected = &golden.0["barycenter"][name];
        let gamma = expected["gamma"].as_f64().unwrap();
        let start = (name == "g1_init_first").then(|| x.index_axis(Axis(0), 0));
        let ours = soft_dtw_barycentre(x.view(), gamma, start, BarycentreOptions::default()).unwrap();
        let theirs = expected["objective_mean"].as_f64().unwrap();
        assert!(
            ours.objective <= theirs + 1e-9 * theirs.abs(),
            "{name}: {} against {theirs}",
            ours.objective
        );
        if gamma >= 0.1 {
            let curve = golden.one(&format!("bary_{name}"));
            for (ours, theirs) in ours.series.iter().zip(&curve) {
                close(*ours, *theirs, 2e-2, &format!("curve of {name}"));
            }
        }
    }
}

#[test]
fn barycentre_gradient_equals_tslearn() {
    let golden = Golden::read("tslearn");
    let x = golden.series("bary_X");
    let mean = x.mean_axis(Axis(0)).unwrap();
    for (gamma, name) in [(1.0, "gamma1.0"), (0.1, "gamma0.1")] {
        let mut value = 0.0;
        let mut gradient = Array2::<f64>::zeros(mean.dim());
        for series in x.outer_iter() {
            let one = soft_dtw_gradient(mean.view(), series, gamma).unwrap();
            value += one.value;
            gradient += &one.gradient;
        }
        close(
            value,
            golden.0["barycenter"][format!("value_at_mean_sum_{name}")].as_f64().unwrap(),
            VALUE,
            name,
        );
        for (ours, theirs) in gradient.iter().zip(&golden.array(&format!("bary_grad_at_mean_{name}"))) {
            close(*ours, *theirs, 1e-9, name);
        }
    }
}

#[test]
fn k_means_from_given_centres_equals_tslearn() {
    let golden = Golden::read("tslearn");
    let x = golden.series("km_X");
    for name in ["k3_g1", "k5_g1", "k5_g001", "k5_g0001"] {
        let expected = &golden.0["kmeans"][name];
        let gamma = expected["gamma"].as_f64().unwrap();
        let metric = Metric::SoftDtw { gamma };
        let start = golden.series(&format!("km_{name}_init"));
        let as_labels = |key: &str| -> Vec<usize> { golden.array(key).iter().map(|v| *v as usize).collect() };
        let first = assign(x.view(), start.view(), metric).unwrap();
        assert_eq!(first, as_labels(&format!("km_{name}_first_assign")), "{name}: first assignment");
        let found = KMeans::new(start.len_of(Axis(0)), metric).fit_from(x.view(), start.view()).unwrap();
        assert_eq!(found.labels, as_labels(&format!("km_{name}_labels")), "{name}: labels");
        close(
            found.tslearn_inertia(),
            expected["inertia"].as_f64().unwrap(),
            1e-2,
            &format!("{name}: inertia"),
        );
        let theirs = golden.series(&format!("km_{name}_centers"));
        let table = soft_dtw_cross(x.view(), theirs.view(), gamma).unwrap();
        let their_objective =
            found.labels.iter().enumerate().map(|(i, k)| table[[i, *k]]).sum::<f64>() / 60.0;
        let limit = their_objective + 1e-4 * their_objective.abs();
        assert!(found.objective <= limit, "{name}: {} against {their_objective}", found.objective);
        // At gamma .001 the objective has many minima, so only its value is compared.
        if gamma >= 0.01 {
            for (ours, theirs) in found.centres.iter().zip(&theirs) {
                close(*ours, *theirs, 1e-2, &format!("{name}: centres"));
            }
        }
    }
}

#[test]
fn number_systems_agree_where_both_hold() {
    // Scaling all series by c and gamma by c² scales soft-DTW by c²; far out, only the wide system holds.
    let a = Array2::from_shape_fn((40, 1), |(t, _)| (t as f64 * 0.3).sin());
    let b = Array2::from_shape_fn((35, 1), |(t, _)| (t as f64 * 0.31 + 0.4).cos());
    let narrow = soft_dtw(a.view(), b.view(), 2.0).unwrap();
    let offset = soft_dtw((&a * 1e3).view(), (&b * 1e3).view(), 2e6).unwrap();
    close(offset / 1e6, narrow, VALUE, "scaled");
    let hard = dtw(a.view(), b.view()).unwrap().powi(2);
    close(soft_dtw(a.view(), b.view(), 1e-9).unwrap(), hard, 1e-6, "gamma to zero is DTW squared");
}

#[test]
fn long_series_neither_overflow_nor_vanish() {
    let a = Array2::from_shape_fn((1500, 1), |(t, _)| (t as f64 * 0.05).sin());
    let b = Array2::from_shape_fn((1400, 1), |(t, _)| (t as f64 * 0.05 + 0.1).sin() + 3.0);
    for gamma in [1.0, 0.01] {
        let found = soft_dtw_gradient(a.view(), b.view(), gamma).unwrap();
        assert!(found.value.is_finite() && found.gradient.iter().all(|g| g.is_finite()));
        // Each point of `a` is matched at least once, so every row of E sums to one or more.
        assert!(found.alignment.rows().into_iter().all(|row| row.sum() > 0.999));
    }
}

#[test]
fn gradient_is_the_derivative() {
    let a = array![[0.1, 0.5], [0.4, -0.2], [0.9, 0.0]];
    let b = array![[0.0, 0.4], [0.6, 0.1], [0.7, 0.3], [1.0, 0.2]];
    for gamma in [1.0, 0.05, 0.0005] {
        let found = soft_dtw_gradient(a.view(), b.view(), gamma).unwrap();
        for index in [[0, 0], [1, 1], [2, 0]] {
            let step = 1e-6;
            let at = |change: f64| {
                let mut moved = a.clone();
                moved[index] += change;
                soft_dtw(moved.view(), b.view(), gamma).unwrap()
            };
            close(found.gradient[index], (at(step) - at(-step)) / (2.0 * step), 1e-5, "numerical derivative");
        }
    }
}

#[test]
fn divergence_is_zero_for_equal_series_and_positive_for_different_ones() {
    let x = Array3::from_shape_fn((4, 12, 1), |(i, t, _)| 0.2 * i as f64 + (t as f64).sin() * 0.1);
    let table = soft_dtw_divergence(x.view(), x.view(), 1.0).unwrap();
    for ((i, j), value) in table.indexed_iter() {
        assert!(if i == j { value.abs() < 1e-12 } else { *value > 1e-3 }, "{i} {j} {value}");
    }
}

#[test]
fn clusters_of_known_shapes_are_found_and_threads_do_not_matter() {
    let shape = |k: usize, t: usize| match k {
        0 => (t as f64 * 0.2).sin() * 0.2,
        1 => t as f64 * 0.02,
        _ => -0.3,
    };
    let x = Array3::from_shape_fn((90, 30, 1), |(i, t, _)| {
        shape(i % 3, t) + 0.01 * (((i * 31 + t * 17) % 23) as f64 / 11.0 - 1.0)
    });
    for metric in [
        Metric::SoftDtw { gamma: 1.0 },
        Metric::SoftDtw { gamma: 0.01 },
        Metric::Divergence { gamma: 0.01 },
        Metric::Dtw,
        Metric::Euclidean,
    ] {
        let fit = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let options = KMeans { restarts: 3, ..KMeans::new(3, metric) };
            pool.install(|| options.fit(x.view(), &mut ChaCha8Rng::seed_from_u64(5)).unwrap())
        };
        let (one, three) = (fit(1), fit(3));
        assert_eq!(one.labels, three.labels);
        assert_eq!(one.centres, three.centres);
        for i in 3..90 {
            assert_eq!(one.labels[i], one.labels[i % 3], "{metric:?}, sample {i}");
        }
        assert!(one.objective.is_finite() && one.tslearn_inertia().is_finite());
    }
}

/// Overlapping levels and phases, where every start ends elsewhere: few steps a round and starts on a part of the series
/// lose nothing that matters, as a share of what clustering gains over one cluster.
#[test]
fn shortcuts_cost_next_to_nothing() {
    let x = Array3::from_shape_fn((600, 20, 1), |(i, t, _)| {
        let (level, phase) = (((i * 37) % 101) as f64 / 101.0, ((i * 53) % 89) as f64 / 14.0);
        level + 0.2 * (t as f64 * 0.3 + phase).sin() + 0.02 * (((i * 31 + t * 17) % 23) as f64 / 11.0 - 1.0)
    });
    for gamma in [1.0, 0.01] {
        let fit = |clusters, quick_steps, start_samples| {
            let options = KMeans {
                restarts: 3,
                quick_steps,
                start_samples,
                ..KMeans::new(clusters, Metric::SoftDtw { gamma })
            };
            options.fit(x.view(), &mut ChaCha8Rng::seed_from_u64(5)).unwrap().objective
        };
        let (one, thorough) = (fit(1, 100, 600), fit(6, 100, 600));
        for (quick_steps, start_samples) in [(2, 600), (100, 200), (2, 200)] {
            let quick = fit(6, quick_steps, start_samples);
            let lost = (quick - thorough) / (one - thorough);
            assert!(lost < 0.02, "gamma {gamma}, {quick_steps} steps, {start_samples} series: {lost}");
        }
    }
}

#[test]
fn empty_clusters_are_reseeded_and_counted() {
    let x = Array3::from_shape_fn((6, 5, 1), |(i, _, _)| i as f64);
    let mut start = Array3::zeros((3, 5, 1));
    start.index_axis_mut(Axis(0), 1).fill(1e6);
    start.index_axis_mut(Axis(0), 2).fill(2e6);
    for metric in [Metric::Euclidean, Metric::Dtw, Metric::SoftDtw { gamma: 0.1 }] {
        let found = KMeans::new(3, metric).fit_from(x.view(), start.view()).unwrap();
        assert!(found.reseeded >= 2, "{metric:?}");
        for cluster in 0..3 {
            assert!(found.labels.contains(&cluster), "{metric:?}: {:?}", found.labels);
        }
        assert!(found.centres.iter().all(|v| v.is_finite()) && found.objective.is_finite());
    }
}

#[test]
fn impossible_requests_are_refused() {
    let mut x = Array3::<f64>::zeros((4, 3, 1));
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let two = KMeans::new(2, Metric::SoftDtw { gamma: 1.0 });
    assert_eq!(
        two.fit(x.view(), &mut rng).unwrap_err(),
        SeriesError::TooFewSeries { clusters: 2, distinct: 1 }
    );
    let bad = KMeans::new(1, Metric::SoftDtw { gamma: 0.0 });
    assert_eq!(bad.fit(x.view(), &mut rng).unwrap_err(), SeriesError::Gamma(0.0));
    x[[2, 1, 0]] = f64::INFINITY;
    let expected = SeriesError::NotFinite { sample: 2, step: 1, value: f64::INFINITY };
    assert_eq!(two.fit(x.view(), &mut rng).unwrap_err(), expected);
    let flat = Array2::<f64>::zeros((3, 2));
    assert_eq!(
        dtw(flat.view(), x.index_axis(Axis(0), 0)).unwrap_err(),
        SeriesError::Dims { left: 2, right: 1 }
    );
    assert_eq!(numbers(&serde_json::json!([1.5])), [1.5]);
}

/// tslearn's `TimeSeriesKMeans(metric="dtw")` from the same centres; its inertia is the mean squared DTW too.
#[test]
fn k_means_by_dtw_equals_tslearn() {
    let golden = Golden::read("tslearn");
    let x = golden.series("km_X");
    let start = golden.series("km_k5_g1_init");
    let found = KMeans::new(5, Metric::Dtw).fit_from(x.view(), start.view()).unwrap();
    let labels: Vec<usize> = golden.array("km_dba_k5_labels").iter().map(|v| *v as usize).collect();
    assert_eq!(found.labels, labels);
    let inertia = golden.0["kmeans"]["dba_k5"]["inertia"].as_f64().unwrap();
    assert!(found.objective <= inertia * (1.0 + 1e-6), "{} against {inertia}", found.objective);
    for (ours, theirs) in found.centres.iter().zip(&golden.series("km_dba_k5_centers")) {
        close(*ours, *theirs, 1e-2, "centres");
    }
}

/// The cheapest alignment by trying every cell of the band, as the definition says.
fn slow_dtw(a: &[f64], b: &[f64], radius: usize) -> f64 {
    let (n, m) = (a.len(), b.len());
    let mut table = vec![vec![f64::INFINITY; m + 1]; n + 1];
    table[0][0] = 0.0;
    for i in 0..n {
        for j in 0..m {
            let ahead = radius + m.saturating_sub(n);
            let behind = radius + n.saturating_sub(m);
            if j <= i + ahead && i <= j + behind {
                let before = table[i][j].min(table[i][j + 1]).min(table[i + 1][j]);
                table[i + 1][j + 1] = before + (a[i] - b[j]).powi(2);
            }
        }
    }
    table[n][m].sqrt()
}

#[test]
fn bands_allow_what_they_say() {
    let series =
        |n: usize, phase: f64| Array2::from_shape_fn((n, 1), |(t, _)| (t as f64 * 0.7 + phase).sin());
    for (n, m) in [(9, 9), (12, 7), (7, 12), (1, 4), (30, 30)] {
        let (a, b) = (series(n, 0.0), series(m, 1.3));
        let flat = |x: &Array2<f64>| x.iter().copied().collect::<Vec<_>>();
        for radius in [0, 1, 2, 5, 40] {
            let expected = slow_dtw(&flat(&a), &flat(&b), radius);
            let ours = dtw_banded(a.view(), b.view(), radius).unwrap();
            close(ours, expected, VALUE, &format!("{n} × {m}, radius {radius}"));
        }
        close(dtw_banded(a.view(), b.view(), 40).unwrap(), dtw(a.view(), b.view()).unwrap(), 0.0, "all");
    }
    // Without room to warp, DTW is the Euclidean distance.
    let (a, b) = (series(20, 0.0), series(20, 0.4));
    let euclidean = (&a - &b).mapv(|gap| gap * gap).sum().sqrt();
    close(dtw_banded(a.view(), b.view(), 0).unwrap(), euclidean, VALUE, "radius 0");
}

#[test]
fn missing_points_and_shorter_series_are_the_series_without_them() {
    let long = Array2::from_shape_fn((12, 1), |(t, _)| (t as f64 * 0.5).sin());
    let short = long.slice(ndarray::s![..9, ..]).to_owned();
    let mut padded = long.clone();
    padded.slice_mut(ndarray::s![9.., ..]).fill(f64::NAN);
    let other = Array2::from_shape_fn((12, 1), |(t, _)| (t as f64 * 0.5).cos());
    for gamma in [1.0, 0.01] {
        let of = |x: &Array2<f64>| soft_dtw(x.view(), other.view(), gamma).unwrap();
        assert_eq!(of(&padded), of(&short));
    }
    // A set of two lengths: every entry is that of the single pair.
    let mut set = Array3::from_shape_fn((11, 12, 1), |(i, t, _)| (t as f64 * 0.5 + i as f64).sin());
    for i in [2, 3, 7] {
        set.slice_mut(ndarray::s![i, i..i + 2, ..]).fill(f64::NAN);
    }
    let table = dtw_cross(set.view(), set.view()).unwrap();
    for ((i, j), value) in table.indexed_iter() {
        let pair = dtw(set.index_axis(Axis(0), i), set.index_axis(Axis(0), j)).unwrap();
        assert_eq!(*value, pair, "{i} {j}");
    }
    let missing = Array3::from_elem((1, 3, 1), f64::NAN);
    assert_eq!(dtw_cross(missing.view(), set.view()).unwrap_err(), SeriesError::NoPoints { sample: 0 });
}

#[test]
fn clusters_are_found_through_gaps() {
    let mut x = Array3::from_shape_fn((30, 20, 1), |(i, t, _)| {
        0.5 * (i % 3) as f64 + 0.01 * (((i * 31 + t * 17) % 23) as f64 / 11.0 - 1.0)
    });
    for i in 0..30 {
        x.slice_mut(ndarray::s![i, (i * 7) % 20, ..]).fill(f64::NAN);
    }
    for metric in
        [Metric::Euclidean, Metric::Dtw, Metric::SoftDtw { gamma: 0.01 }, Metric::Divergence { gamma: 0.01 }]
    {
        let options = KMeans { restarts: 3, ..KMeans::new(3, metric) };
        let found = options.fit(x.view(), &mut ChaCha8Rng::seed_from_u64(5)).unwrap();
        assert!((3..30).all(|i| found.labels[i] == found.labels[i % 3]), "{metric:?}: {:?}", found.labels);
        assert!(found.centres.iter().all(|v| v.is_finite()));
    }
}

/// A constant shift of all series shifts their barycentre, and no series is nearer to them than it.
#[test]
fn barycentres_of_dtw_and_divergence_are_minima() {
    let golden = Golden::read("tslearn");
    let x = golden.series("bary_X");
    let mean_dtw = |centre: &Array2<f64>| {
        let table = dtw_cross(x.view(), centre.view().insert_axis(Axis(0))).unwrap();
        table.mapv(|d| d * d).mean().unwrap()
    };
    let found = dtw_barycentre(x.view(), None, None).unwrap();
    close(found.objective, mean_dtw(&found.series), 1e-9, "objective");
    assert!(found.objective < mean_dtw(&x.mean_axis(Axis(0)).unwrap()));
    let moved = dtw_barycentre((&x + 2.0).view(), None, None).unwrap();
    for (a, b) in moved.series.iter().zip(&found.series) {
        close(*a, b + 2.0, 1e-9, "shifted");
    }
    // One cluster by divergence: every small change of its centre is worse.
    let one = KMeans::new(1, Metric::Divergence { gamma: 0.1 });
    let centre = one.fit(x.view(), &mut ChaCha8Rng::seed_from_u64(1)).unwrap().centres;
    let mean =
        |centre: &Array3<f64>| soft_dtw_divergence(x.view(), centre.view(), 0.1).unwrap().mean().unwrap();
    let best = mean(&centre);
    for t in 0..centre.dim().1 {
        for change in [-0.05, 0.05] {
            let mut other = centre.clone();
            other[[0, t, 0]] += change;
            assert!(mean(&other) > best, "step {t}");
        }
    }
}
