//! Whether a model has learnt anything: one that errs more than a baseline has not.

use crate::score::summary::Score;

/// A sentence for each split on which a baseline errs less than the model in kNDVI, with the best such baseline.
///
/// `scores` are those of `scores.json`: for each split the model comes first.
#[must_use]
pub fn without_skill(scores: &[Score]) -> Vec<String> {
    let mae = |score: &Score| score.kndvi.as_ref().map_or(f64::NAN, |errors| errors.mae);
    let sentence = |of_split: &[Score]| {
        let (model, baselines) = of_split.split_first()?;
        let best = baselines
            .iter()
            .filter(|baseline| mae(baseline) < mae(model))
            .min_by(|a, b| mae(a).total_cmp(&mae(b)))?;
        Some(format!(
            "{} has no skill on {}: its forecasts miss kNDVI by {:.4} on average, those of the baseline {} by {:.4}; train it with more `steps` or samples before you trust what it forecasts",
            model.forecaster,
            model.split,
            mae(model),
            best.forecaster,
            mae(best)
        ))
    };
    scores.chunk_by(|a, b| a.split == b.split).filter_map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::error_by_lead::IndexErrors;

    fn score(split: &str, forecaster: &str, mae: Option<f64>) -> Score {
        let errors = |mae| IndexErrors { mae, rmse: mae, bias: 0.0, count: 9, mae_by_lead: vec![Some(mae)] };
        Score {
            split: split.into(),
            forecaster: forecaster.into(),
            samples: 1,
            context_steps: 10,
            target_steps: 20,
            kndvi: mae.map(errors),
            earthnet: None,
            greenness: None,
            quantiles: Vec::new(),
            seasonal: None,
        }
    }

    #[test]
    fn the_best_baseline_that_errs_less_is_named() {
        let scores = [
            score("train", "net", Some(0.08)),
            score("train", "persistence", Some(0.05)),
            score("train", "context_mean", Some(0.03)),
            score("val", "net", Some(0.02)),
            score("val", "persistence", Some(0.05)),
            score("val", "context_mean", None),
            score("test", "net", None),
            score("test", "persistence", Some(0.05)),
        ];
        let told = without_skill(&scores);
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with("net has no skill on train: its forecasts miss kNDVI by 0.0800"),
            "{told:?}"
        );
        assert!(told[0].contains("the baseline context_mean by 0.0300"), "{told:?}");
    }
}
