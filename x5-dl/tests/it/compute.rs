//! Numbers and devices other than usual, as the program takes them: they hold for a whole process.

use x5_dl::{Scores, Weights};

use crate::project::{CONVLSTM, Project, RNN, ok};

/// With both operations that are ours on the CPU in 32-bit numbers, and burn's in others. Few steps: later the ways of two
/// trainings part.
fn tiny(head: &str) -> Project {
    let lengths = "context_steps = 4\ntarget_steps = 5";
    let models =
        format!("{RNN}{CONVLSTM}").replace("steps = 120", "steps = 12").replace("steps = 30", "steps = 4");
    Project::new((6, 12, 8), &format!("{head}\n{lengths}\n{models}"))
}

#[test]
fn numbers_of_16_bits_learn_what_those_of_32_do() {
    let train = |head: &str| {
        let project = tiny(head);
        ok(&project.run("run", "2"));
        let of = |model: &str| {
            let folder = project.model(model);
            let scores = Scores::read(&folder).unwrap().scores;
            let error = scores.iter().find(|s| s.forecaster == model).unwrap().kndvi.as_ref().unwrap().mae;
            (Weights::read(&folder.join("weights.safetensors")).unwrap(), error)
        };
        ok(&project.run("verify", "2"));
        let page = std::fs::read_to_string(project.model("rnn").join("report.html")).unwrap();
        assert_eq!(page.contains("scored forecasts in bf16"), !head.is_empty());
        ["rnn", "convlstm"].map(of)
    };
    let (whole, half) = (train(""), train("precision = \"bf16\""));
    for ((exact, error), (rounded, rounded_error)) in whole.iter().zip(&half) {
        assert!(exact.differences(rounded).is_empty());
        assert_ne!(exact, rounded, "it is 16-bit that was computed with");
        // bf16 tells 0.004 parts apart.
        assert!((rounded_error / error - 1.0).abs() < 0.1, "{rounded_error} beside {error}");
        // The weights are 32-bit: not all of them end in sixteen zeros.
        assert!(rounded.0.values().flatten().any(|w| w.to_bits() & 0xffff != 0));
    }
}

#[test]
fn devices_that_are_not_there_are_refused() {
    let project = tiny("devices = 3");
    let (code, said) = project.act("run", &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("[train] devices: expected 3, found 1 for flex") && said.contains("hint"),
        "{said}"
    );
}
