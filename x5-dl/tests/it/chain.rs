//! Whole runs on a tiny Level 2: contracts of the files, determinism, resumption, skill, messages.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use minicube::Split;
use minicube::testing::{assert_conforms, kib_on_disk, on_full_disk};
use ndarray::Axis;
use x5_dl::{Crop, Dataset, Forecaster, Scores, Weights};

use crate::project::{CONVLSTM, Project, RNN, hashes, kill_after, ok};

/// One small model of each kind that the other tests do not train.
const OTHERS: &str = r#"
[[train.models]]
name = "sg_convlstm"
model = "sg_convlstm"
weather = ["tp_mean", "t2m_mean"]
hidden = [3]
kernel = 3
steps = 3
crop = 6
decay = "cosine"
warm_up = 0.4

[[train.models]]
name = "convlstm_ae"
model = "convlstm_ae"
weather = ["tp_mean", "t2m_mean"]
dynamic = ["kndvi"]
hidden = [4, 3]
steps = 3
crop = 6
accumulate = 2

[[train.models]]
name = "nf_unet"
model = "nf_unet"
weather = ["tp_mean", "t2m_mean"]
dynamic = ["kndvi"]
hidden = [16]
depth = 2
steps = 3
average = 0.9

[[train.models]]
name = "arcon_stf"
model = "arcon_stf"
weather = ["tp_mean", "t2m_mean"]
hidden = [4]
latent = 3
steps = 3
crop = 6
keep_by = "ens"

[[train.models]]
name = "st_unet"
model = "st_unet"
weather = ["tp_mean", "t2m_mean"]
dynamic = ["kndvi"]
hidden = [16]
depth = 1
steps = 3
keep = 2
"#;

/// The models with an encoder.
const ENCODERS: &str = r#"
[[train.models]]
name = "context_rnn"
model = "context_rnn"
weather = ["tp_mean", "t2m_mean"]
encoder = "convolutions"
hidden = [12]
pixels = 40
steps = 3

[[train.models]]
name = "context_transformer_rnn"
model = "context_rnn"
weather = ["tp_mean", "t2m_mean"]
encoder = "pvt_v2_b0"
hidden = [12]
pixels = 40
steps = 2

[[train.models]]
name = "channel_unet"
model = "channel_unet"
weather = ["tp_mean", "t2m_mean"]
encoder = "efficientnet_b0"
dynamic = ["kndvi"]
steps = 2
batch = 2

[[train.models]]
name = "content_dynamic"
model = "content_dynamic"
weather = ["tp_mean", "t2m_mean"]
dynamic = ["kndvi"]
hidden = [4]
steps = 2
batch = 2

[[train.models]]
name = "contextformer"
model = "contextformer"
weather = ["tp_mean", "t2m_mean"]
dynamic = ["kndvi"]
hidden = [16]
heads = 2
depth = 1
steps = 2
batch = 2
"#;

/// A project with these models.
fn with(models: &str) -> Project {
    Project::new((6, 20, 8), &format!("context_steps = 6\ntarget_steps = 12\n{models}"))
}

/// Weights that PyTorch saved, for a ConvLSTM of other inputs than those of [`CONVLSTM`].
fn foreign_weights() -> PathBuf {
    minicube::testing::own_file("tests/data/tiny_lightning.ckpt")
}

#[test]
fn both_models_run_verify_and_are_left_alone_then() {
    let project = with(&(RNN.to_owned() + CONVLSTM));
    assert!(ok(&project.run("plan", "2")).contains("to be trained"));
    ok(&project.run("run", "2"));
    for name in ["rnn", "convlstm"] {
        assert_conforms(&project.model(name).join("forecast.zarr"), "forecast");
        assert!(project.model(name).join("report.html").exists());
    }
    assert!(ok(&project.run("verify", "2")).contains("convlstm: verified"));
    let before = std::fs::read(project.model("rnn").join("run.json")).unwrap();
    let again = ok(&project.run("run", "2"));
    assert_eq!(again.matches("nothing to do").count(), 2, "{again}");
    assert_eq!(std::fs::read(project.model("rnn").join("run.json")).unwrap(), before);

    // The rain of a step drives the vegetation of that step: the RNN must learn it, persistence cannot.
    let mae = |name: &str| project.kndvi_mae("rnn", name);
    assert!(mae("rnn") < 0.5 * mae("persistence"), "{} {}", mae("rnn"), mae("persistence"));
    let scores = Scores::read(&project.model("convlstm")).unwrap().scores;
    assert!(scores[0].earthnet.unwrap().ens.unwrap() > 0.0);

    verify_notices_damage(&project);
}

#[test]
fn every_other_model_runs_and_verifies() {
    let project = with(OTHERS);
    ok(&project.run("run", "2"));
    let verified = ok(&project.run("verify", "2"));
    for name in ["sg_convlstm", "convlstm_ae", "nf_unet", "arcon_stf", "st_unet"] {
        assert_conforms(&project.model(name).join("forecast.zarr"), "forecast");
        assert!(verified.contains(&format!("{name}: verified, 3 lines")), "{verified}");
        let events = project.model(name).join("tensorboard/events.out.tfevents.0.x5-dl");
        assert!(std::fs::metadata(events).unwrap().len() > 100, "{name}");
    }
    // The best of the three validations is the model, the second best lies beside.
    let second = std::fs::read_dir(project.model("st_unet").join("checkpoint")).unwrap();
    let names: Vec<String> = second.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("step")).count(), 1, "{names:?}");
}

#[test]
fn models_with_encoders_run_and_verify() {
    let project = with(ENCODERS);
    ok(&project.run("run", "2"));
    let verified = ok(&project.run("verify", "2"));
    for name in ["context_rnn", "context_transformer_rnn", "channel_unet", "content_dynamic", "contextformer"]
    {
        assert_conforms(&project.model(name).join("forecast.zarr"), "forecast");
        assert!(verified.contains(&format!("{name}: verified")), "{verified}");
    }
    // One thread writes the same bytes as two.
    let alone = with(ENCODERS);
    ok(&alone.run("run", "1"));
    for name in ["context_rnn", "context_transformer_rnn", "channel_unet", "content_dynamic"] {
        assert_eq!(hashes(&alone.model(name)), hashes(&project.model(name)), "{name}");
    }
    // The running statistics of the normalisations moved away from 0 and 1.
    let weights = Weights::read(&project.model("channel_unet").join("weights.safetensors")).unwrap();
    let at = |name: &str| &weights.0[&format!("unet.encoder.bn1.{name}")];
    assert!(at("running_mean").iter().all(|v| *v != 0.0) && at("running_var").iter().all(|v| *v != 1.0));
}

/// The rain of a step drives the vegetation of that step: models that see it must learn it, persistence cannot.
#[test]
fn models_that_see_the_weather_of_the_step_beat_persistence() {
    let learners = r#"
[[train.models]]
name = "context_rnn"
model = "context_rnn"
weather = ["tp_mean", "t2m_mean"]
encoder = "convolutions"
hidden = [16]
pixels = 48
steps = 120
learning_rate = 0.02

[[train.models]]
name = "convlstm_ae"
model = "convlstm_ae"
weather = ["tp_mean", "t2m_mean"]
scaling = "positive"
dynamic = ["kndvi"]
hidden = [8, 8]
crop = 6
steps = 120
learning_rate = 0.02
"#;
    let project = with(learners);
    ok(&project.run("run", "2"));
    for name in ["context_rnn", "convlstm_ae"] {
        let mae = |who: &str| project.kndvi_mae(name, who);
        assert!(mae(name) < 0.6 * mae("persistence"), "{name}: {} {}", mae(name), mae("persistence"));
    }
}

/// Weights of a file forecast as the model they are of; those of another network are refused with all that differs.
#[test]
fn weights_of_a_file_are_checked_and_forecast() {
    let project = with(CONVLSTM);
    ok(&project.run("run", "2"));
    let trained = project.model("convlstm").join("weights.safetensors");
    let head = "context_steps = 6\ntarget_steps = 12\n";
    let copy = CONVLSTM.replace("name = \"convlstm\"", "name = \"copy\"").replace("steps = 30", "steps = 0");
    project.write(&format!("{head}{copy}weights = \"{}\"\n", trained.display()));
    ok(&project.run("run", "2"));
    assert!(ok(&project.run("verify", "2")).contains("copy: verified, 0 lines"));
    let score = |name: &str| Scores::read(&project.model(name)).unwrap().scores[0].kndvi.clone();
    assert_eq!(score("copy"), score("convlstm"));

    let import = |file: &Path| {
        let mut command = project.command("import-weights", "1");
        command.arg(file).args(["--model", "copy"]).output().unwrap()
    };
    assert!(ok(&import(&trained)).contains("as copy has them"));
    let imported = project.model("copy").join("imported.safetensors");
    assert_eq!(Weights::read(&imported).unwrap(), Weights::read(&trained).unwrap());

    let output = import(&foreign_weights());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("cells.0.conv.bias: expected [32], found [24]"), "{text}");
    assert!(text.contains("cells.2.conv.weight: expected nothing, found [16, 10, 3, 3]"), "{text}");
    assert!(text.contains("hint: set `hidden`"), "{text}");
}

/// A model that learnt and one that did not: the table has the better one first, the test sees that its errors are smaller.
#[test]
fn models_are_compared_pixel_by_pixel() {
    let weak = RNN.replace("\"rnn\"\nmodel", "\"weak\"\nmodel").replace("steps = 120", "steps = 1");
    let project = with(&(weak + RNN));
    let output = project.run("compare", "2");
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        stderr.contains("models/weak: expected the forecasts") && stderr.contains("x5-dl run"),
        "{stderr}"
    );

    ok(&project.run("run", "2"));
    let text = ok(&project.run("compare", "2"));
    let place = |name: &str| text.find(&format!("val    {name}")).unwrap();
    assert!(place("rnn") < place("persistence") && place("rnn") < place("weak"), "{text}");
    assert_eq!(text.matches("val    persistence").count(), 1, "{text}");
    let line = text.lines().find(|line| line.starts_with("rnn over weak: median gain")).unwrap();
    let number = |before: &str| {
        let rest = line.split(before).nth(1).unwrap();
        rest.split([' ', '%', ',', ';']).next().unwrap().parse::<f64>().unwrap()
    };
    assert!(number("median gain ") > 50.0 && number("Smirnov D ") > 0.1 && number(", p ") < 1e-6, "{line}");
    assert!(number("of samples ") > 50.0, "{line}");
    let page = std::fs::read_to_string(project.path().join("models/comparison.html")).unwrap();
    assert!(page.contains("Leaderboard") && page.contains("Distribution of the errors"), "{}", page.len());
}

fn verify_notices_damage(project: &Project) {
    let path = project.model("rnn").join("weights.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() - 3;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let output = project.run("verify", "2");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("weights.safetensors: expected sha256"));
}

#[test]
fn bytes_do_not_depend_on_threads_or_kills() {
    // What is drawn to be fed depends on the step alone.
    let models =
        RNN.to_owned() + CONVLSTM + "scheduled_sampling = { start = 0.8, decay = \"exponential\" }\n";
    let expected = with(&models);
    ok(&expected.run("run", "1"));

    let killed = with(&models);
    kill_after(&[150, 300, 500, 700, 1000, 1500], || killed.command("run", "2"));
    ok(&killed.run("run", "2"));
    for name in ["rnn", "convlstm"] {
        assert_eq!(hashes(&killed.model(name)), hashes(&expected.model(name)), "{name}");
    }
}

#[test]
fn a_full_disk_keeps_the_older_checkpoint_and_the_run_goes_on_to_the_same_bytes() {
    let project = with(&(RNN.to_owned() + "checkpoint_every = 60\n"));
    ok(&project.run("run", "2"));
    let (models, folder) = (project.path().join("models"), project.model("rnn"));
    let (expected, whole) = (hashes(&folder), kib_on_disk(&models).unwrap());
    let checkpoint = kib_on_disk(&folder.join("checkpoint")).unwrap();
    // No room for a checkpoint, for a second one beside the first, for the forecasts, for the report.
    for (room, step) in
        [(4, None), (checkpoint * 3 / 2, Some(60)), (whole / 2, Some(120)), (whole - 4, Some(120))]
    {
        let Some(disk) = on_full_disk(&models, room, &project.command("run", "2")).unwrap() else {
            println!("skipped: nobody may mount a disk here");
            return;
        };
        let error = disk.assert_told();
        assert!(step == Some(120) || error.contains("checkpoint/state.safetensors"), "{error}");
        disk.assert_whole(&["checkpoint", "tensorboard"]).unwrap();
        assert_eq!(checkpoint_step(&disk.left.join("rnn/checkpoint/state.safetensors")), step, "{error}");
        assert_eq!(hashes(&folder), expected, "with {room} of {whole} KiB");
    }
}

/// The step that a whole checkpoint is of: a safetensors file's length follows from its header.
fn checkpoint_step(path: &Path) -> Option<u64> {
    let bytes = std::fs::read(path).ok()?;
    let header_len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header_len]).unwrap();
    let tensors = header.as_object().unwrap().values();
    let end = tensors.filter_map(|tensor| tensor["data_offsets"][1].as_u64()).max().unwrap();
    assert_eq!(bytes.len(), 8 + header_len + end as usize, "a torn checkpoint");
    let note: serde_json::Value =
        serde_json::from_str(header["__metadata__"]["minicube"].as_str().unwrap()).unwrap();
    note["step"].as_u64()
}

/// SIGTERM: the step under way is finished and saved, though no checkpoint was due; the next run goes on from it.
#[cfg(unix)]
#[test]
fn a_run_that_is_asked_to_end_saves_its_step() {
    let long = RNN.replace("steps = 120", "steps = 300");
    let expected = with(&(long.clone() + "checkpoint_every = 300\n"));
    ok(&expected.run("run", "2"));

    let project = with(&(long + "checkpoint_every = 300\n"));
    let child = project.command("run", "2").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(600));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // On a machine so fast that nothing was left to stop there is nothing to see.
    if output.status.code() != Some(0) {
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("model rnn: stopped by a signal") && text.contains("goes on"), "{text}");
        let saved = checkpoint_step(&project.model("rnn").join("checkpoint/state.safetensors")).unwrap();
        assert!(text.contains(&format!("step {saved} of 300 is saved")) || saved == 300, "{text}");
    }
    ok(&project.run("run", "2"));
    assert_eq!(hashes(&project.model("rnn")), hashes(&expected.model("rnn")));
}

#[test]
fn a_collapsed_convlstm_is_told_once() {
    // With this seed the only channel starts below 0 everywhere, and no gradient ever moves it.
    let dead = CONVLSTM.replace("steps = 30", "steps = 3") + "dynamic = [\"red\"]\nseed = 14\n";
    let project = with(&(RNN.to_owned() + &dead));
    let output = project.run("run", "2");
    ok(&output);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(text.matches("the model has collapsed").count(), 1, "{text}");
    assert!(text.contains("convlstm") && text.contains("smaller `learning_rate`"), "{text}");
}

#[test]
fn a_loaded_model_answers_to_weather_and_to_crops() {
    let project = with(RNN);
    ok(&project.run("run", "2"));
    let forecaster = Forecaster::load(&project.model("rnn")).unwrap();
    let level2 = project.path().join("level2");
    let samples = Dataset::open(&level2, Split::Val, forecaster.spec()).unwrap();
    assert_eq!((samples.len(), samples.size()), (2, (8, 8)));
    assert_eq!(forecaster.channels(), ["kndvi"]);

    let mut batch = samples.batch(&[0, 1], None).unwrap();
    let forecast = forecaster.forecast(&batch).unwrap();
    assert_eq!(forecast.shape(), [2, 12, 1, 8, 8]);
    assert!(forecast.iter().all(|v| (0.0..=1f32.tanh()).contains(v)));

    // The RNN sees single pixels: a crop forecasts what the whole does there.
    let crop = Crop { row: 2, col: 3, rows: 4, cols: 5 };
    let part = forecaster.forecast(&samples.batch(&[0, 1], Some(crop)).unwrap()).unwrap();
    let same = forecast.slice(ndarray::s![.., .., .., 2..6, 3..8]);
    let worst = part.iter().zip(same).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-6, "{worst}");

    // Truth of the target is not looked at; weather is.
    batch.dynamic.slice_axis_mut(Axis(1), ndarray::Slice::from(6..)).fill(f32::NAN);
    assert_eq!(forecaster.forecast(&batch).unwrap(), forecast);
    batch.weather.index_axis_mut(Axis(2), 0).fill(0.004);
    let wet = forecaster.forecast(&batch).unwrap();
    let change = wet.iter().zip(&forecast).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(change > 1e-3, "{change}");

    batch.weather = batch.weather.slice_axis(Axis(2), ndarray::Slice::from(1..)).to_owned();
    let message = forecaster.forecast(&batch).unwrap_err().to_string();
    assert_eq!(message, "batch does not fit the model: weather variables: expected 2, found 1");
}

#[test]
fn bad_input_ends_with_one_error_and_one_hint() {
    let project = with(RNN);
    let check = |train: &str, error: &str, hint: &str| {
        project.write(train);
        let output = project.run("run", "1");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.starts_with("error: ") && text.contains(error), "{text}");
        assert!(text.contains("\nhint: ") && text.contains(hint), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    };
    check("contxt_steps = 3", "unknown key `contxt_steps`", "context_steps");
    check("[[train.models]]\nname = \"a\"\nlearnig_rate = 1", "unknown key `learnig_rate`", "learning_rate");
    check(
        "[[train.models]]\nname = \"a/b\"\nsteps = 0",
        "found `a/b`; models.a/b.steps: expected at least 1",
        "README",
    );
    let model = |more: &str| format!("[[train.models]]\nname = \"a\"\n{more}");
    check(
        &model("quantiles = [0.9, 0.5]"),
        "models.a.quantiles: expected ascending numbers inside 0..1 with 0.5 among them, found [0.9, 0.5]",
        "README",
    );
    check(
        &model("model = \"convlstm\"\nquantiles = [0.5]"),
        "models.a.quantiles: only rnn and context_rnn forecast quantiles",
        "README",
    );
    check(
        &model("keep_by = \"ens\""),
        "models.a.keep_by: it needs blue, green, red and nir, in this order, of whole frames to be forecast, found kndvi",
        "README",
    );
    check(
        &model("scheduled_sampling = { over = 0.0 }"),
        "models.a.scheduled_sampling: this model does not go on from its own frames; models.a.scheduled_sampling: expected",
        "README",
    );
    check(
        "backend = \"cuda\"\n[[train.models]]\nname = \"a\"",
        "backend: expected cuda, this program is built with flex",
        "--features cuda",
    );
    check(
        "context_steps = 6\ntarget_steps = 12\nvegetation = [99]\n[[train.models]]\nname = \"a\"\nweather = [\"tp_mean\"]",
        "level2/train: no pixel of the training split is of a vegetation class: expected one of 99, found ",
        "`vegetation`",
    );
    check(
        "[[train.models]]\nname = \"a\"\nweather = [\"rain\"]",
        "no variable weather/rain; found weather/sp_mean",
        "weather",
    );
    check(
        "[[train.models]]\nname = \"a\"\nweather = [\"tp_mean\"]",
        "samples have 20 steps, expected 9 + 36",
        "context_steps",
    );
    std::fs::remove_dir_all(project.path().join("level2/train")).unwrap();
    check("[[train.models]]\nname = \"a\"", "no training samples", "x4-level2");
    assert!(!project.path().join("models/a/model.json").exists());
}
