//! Charts as SVG text, drawn by `plotters`.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::from_cf_day;

const SIZE: (u32, u32) = (760, 360);
const FONT: &str = "sans-serif";

/// Colours that differ for people with colour-vision deficiency too (Okabe and Ito).
const COLORS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(90, 90, 90),
    RGBColor(160, 140, 0),
];

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A line, broken where y is not finite.
    Line,
    /// Points.
    Points,
    /// Both.
    LinePoints,
}

/// One series of a line plot.
#[derive(Clone, Debug)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// (x, y); points that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub style: Style,
}

/// A line plot.
#[derive(Clone, Debug)]
pub struct LinePlot<'a> {
    /// Title.
    pub title: &'a str,
    /// Label of the x axis, with its unit.
    pub x_label: &'a str,
    /// Label of the y axis, with its unit.
    pub y_label: &'a str,
    /// What is drawn.
    pub series: Vec<Series>,
    /// Whether x is a CF day and shall be labelled as a date.
    pub x_is_date: bool,
}

/// Draws a line plot.
#[must_use]
pub fn lines(plot: &LinePlot<'_>) -> String {
    let finite =
        || plot.series.iter().flat_map(|s| &s.points).filter(|(x, y)| x.is_finite() && y.is_finite());
    let x_range = padded(finite().map(|p| p.0), 0.01);
    let (low, high) = padded(finite().map(|p| p.1), 0.06);
    let y_range = (low, high + (high - low) * legend_room(plot.series.len()));
    draw(SIZE, |root| {
        let mut chart = ChartBuilder::on(root)
            .caption(plot.title, (FONT, 17))
            .margin(8)
            .x_label_area_size(40)
            .y_label_area_size(62)
            .build_cartesian_2d(x_range.0..x_range.1, y_range.0..y_range.1)?;
        let date = if x_range.1 - x_range.0 < 240.0 { "%-d %b %Y" } else { "%b %Y" };
        let x_text = |x: &f64| {
            if plot.x_is_date {
                from_cf_day(x.round() as i32).format(date).to_string()
            } else {
                number(*x, x_range.1 - x_range.0)
            }
        };
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_desc(plot.x_label)
            .y_desc(plot.y_label)
            .x_label_formatter(&x_text)
            .y_label_formatter(&|y| number(*y, y_range.1 - y_range.0))
            .label_style((FONT, 12))
            .draw()?;
        for (i, series) in plot.series.iter().enumerate() {
            let color = COLORS[i % COLORS.len()];
            let mut legend = Some(series.name.clone());
            let mut label = |element: &mut plotters::chart::SeriesAnno<'_, SVGBackend<'_>>| {
                if let Some(name) = legend.take() {
                    element
                        .label(name)
                        .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 14, y + 4)], color.filled()));
                }
            };
            if series.style != Style::Points {
                for part in
                    series.points.split(|(x, y)| !(x.is_finite() && y.is_finite())).filter(|p| !p.is_empty())
                {
                    label(chart.draw_series(LineSeries::new(part.iter().copied(), color.stroke_width(2)))?);
                }
            }
            if series.style != Style::Line {
                let points = series.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
                label(chart.draw_series(points.map(|&p| Circle::new(p, 3, color.filled())))?);
            }
        }
        if plot.series.len() > 1 {
            legend(&mut chart)?;
        }
        Ok(())
    })
}

/// Draws grouped bars: for each label one bar a group. Values that are not finite are drawn as 0.
#[must_use]
pub fn bars(title: &str, labels: &[String], groups: &[(String, Vec<f64>)]) -> String {
    let values = groups.iter().flat_map(|(_, values)| values).copied().filter(|v| v.is_finite());
    let (low, high) = values.fold((0.0_f64, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
    let high = if high > low { high + (high - low) * (0.08 + legend_room(groups.len())) } else { low + 1.0 };
    draw(SIZE, |root| {
        let mut chart = ChartBuilder::on(root)
            .caption(title, (FONT, 17))
            .margin(8)
            .x_label_area_size(40)
            .y_label_area_size(62)
            .build_cartesian_2d(0.0..labels.len().max(1) as f64, low..high)?;
        let label_at = |x: &f64| {
            let index = x.floor() as usize;
            if (x - x.floor() - 0.5).abs() < 1e-6 {
                labels.get(index).cloned().unwrap_or_default()
            } else {
                String::new()
            }
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_labels(0)
            .x_label_formatter(&label_at)
            .y_label_formatter(&|y| number(*y, high - low))
            .label_style((FONT, 12))
            .draw()?;
        let width = 0.8 / groups.len().max(1) as f64;
        for (g, (name, values)) in groups.iter().enumerate() {
            let color = COLORS[g % COLORS.len()];
            let rectangles = values.iter().enumerate().map(|(i, &value)| {
                let left = i as f64 + 0.1 + g as f64 * width;
                let height = if value.is_finite() { value } else { 0.0 };
                Rectangle::new([(left, 0.0), (left + width * 0.94, height)], color.filled())
            });
            chart
                .draw_series(rectangles)?
                .label(name.clone())
                .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 14, y + 4)], color.filled()));
        }
        let baseline = low;
        let style = (FONT, if labels.len() > 9 { 10 } else { 12 }).into_font().into_text_style(root);
        let style = style.pos(plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Center,
            plotters::style::text_anchor::VPos::Top,
        ));
        let plotting = chart.plotting_area().clone();
        for (i, text) in labels.iter().enumerate() {
            let (x, y) = plotting.map_coordinate(&(i as f64 + 0.5, baseline));
            root.draw_text(text, &style, (x, y + 6))?;
        }
        if groups.len() > 1 {
            legend(&mut chart)?;
        }
        Ok(())
    })
}

/// Draws points `(lon, lat, class)` on a plain map, with outlines (rings of lon/lat) behind them.
#[must_use]
pub fn scatter_map(
    title: &str,
    points: &[(f64, f64, usize)],
    classes: &[String],
    outlines: &[Vec<(f64, f64)>],
) -> String {
    let all = || points.iter().map(|p| (p.0, p.1)).chain(outlines.iter().flatten().copied());
    let (mut x, mut y) = (padded(all().map(|p| p.0), 0.05), padded(all().map(|p| p.1), 0.05));
    // One degree of latitude as long as one of longitude in the middle of the map.
    let squeeze = ((y.0 + y.1) / 2.0).to_radians().cos().max(0.05);
    let (width, height) = ((x.1 - x.0) * squeeze, y.1 - y.0);
    let aspect = 1.45;
    if width > height * aspect {
        y = widened(y, width / aspect);
    } else {
        x = widened(x, height * aspect / squeeze);
    }
    draw((760, 560), |root| {
        let mut chart = ChartBuilder::on(root)
            .caption(title, (FONT, 17))
            .margin(8)
            .x_label_area_size(34)
            .y_label_area_size(58)
            .build_cartesian_2d(x.0..x.1, y.0..y.1)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(232, 232, 232))
            .x_desc("longitude (°)")
            .y_desc("latitude (°)")
            .label_style((FONT, 12))
            .draw()?;
        for outline in outlines {
            chart.draw_series(LineSeries::new(outline.iter().copied(), RGBColor(150, 150, 150)))?;
        }
        let radius = if points.len() > 5000 {
            1
        } else if points.len() > 300 {
            2
        } else {
            4
        };
        for (class, name) in classes.iter().enumerate() {
            let color = COLORS[class % COLORS.len()];
            let of_class = points.iter().filter(|p| p.2 == class);
            chart
                .draw_series(of_class.map(|p| Circle::new((p.0, p.1), radius, color.filled())))?
                .label(name.clone())
                .legend(move |(x, y)| Circle::new((x + 7, y), 4, color.filled()));
        }
        if !classes.is_empty() {
            legend(&mut chart)?;
        }
        Ok(())
    })
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Runs a drawing on a white SVG canvas; a drawing that fails leaves its reason in place of the picture.
fn draw(size: (u32, u32), body: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Drawn) -> String {
    let mut svg = String::new();
    let result = {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE)
            .map_err(Into::into)
            .and_then(|()| body(&root))
            .and_then(|()| root.present().map_err(Into::into))
    };
    match result {
        Ok(()) => svg,
        Err(error) => format!("<p>this plot could not be drawn: {error}</p>"),
    }
}

fn legend<'a>(
    chart: &mut ChartContext<
        'a,
        SVGBackend<'a>,
        Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
    >,
) -> Drawn {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .label_font((FONT, 12))
        .draw()?;
    Ok(())
}

/// Share of the range of y that is added above the values, so that the legend hides none.
fn legend_room(entries: usize) -> f64 {
    const PLOT_PX: f64 = 280.0;
    let legend = if entries > 1 { 20.0 + 17.0 * entries as f64 } else { 0.0 };
    legend.min(PLOT_PX / 2.0) / (PLOT_PX - legend.min(PLOT_PX / 2.0))
}

/// The range of values with a margin on both sides; 0 to 1 if there are none.
fn padded(values: impl Iterator<Item = f64>, share: f64) -> (f64, f64) {
    let (low, high) = values
        .filter(|v| v.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return (0.0, 1.0);
    }
    let margin = if high > low { (high - low) * share } else { high.abs().max(1.0) * 0.1 };
    (low - margin, high + margin)
}

fn widened(range: (f64, f64), length: f64) -> (f64, f64) {
    let middle = (range.0 + range.1) / 2.0;
    (middle - length / 2.0, middle + length / 2.0)
}

/// A number with as many digits as tell the labels of an axis of this length apart.
fn number(value: f64, span: f64) -> String {
    let exponent = |v: f64| v.abs().log10().floor() as i32;
    // Labels are a tenth of the axis apart, or a few times less.
    let last = exponent(span.max(f64::MIN_POSITIVE)) - 2;
    if value.abs() < 10f64.powi(last - 3) {
        return "0".to_owned();
    }
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if value.abs() >= 1e5 || value.abs() < 1e-3 {
        let digits = (exponent(value) - last).clamp(1, 12) as usize;
        let text = format!("{value:.digits$e}");
        let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{power}", trimmed(mantissa));
    }
    trimmed(&format!("{value:.*}", (-last).clamp(3, 12) as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_in_the_picture() {
        let series = |name: &str| Series {
            name: name.into(),
            points: vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)],
            style: Style::LinePoints,
        };
        let plot = LinePlot {
            title: "t",
            x_label: "x",
            y_label: "y",
            series: vec![series("one"), series("two")],
            x_is_date: false,
        };
        let svg = lines(&plot);
        assert!(svg.starts_with("<svg") && svg.contains("one") && svg.contains("two"));
        assert_eq!(svg.matches("<circle").count(), 4, "two finite points a series");
    }

    /// Three entries take 71 of 280 pixels: the values keep 209.
    #[test]
    fn a_legend_stands_above_the_values() {
        assert_eq!(legend_room(1), 0.0);
        assert!((legend_room(3) - 71.0 / 209.0).abs() < 1e-12);
        assert_eq!(legend_room(100), 1.0, "at most half");
    }

    #[test]
    fn empty_plots_are_drawn_too() {
        let plot = LinePlot { title: "t", x_label: "x", y_label: "y", series: vec![], x_is_date: true };
        assert!(lines(&plot).starts_with("<svg"));
        assert!(bars("b", &[], &[]).starts_with("<svg"));
        assert!(scatter_map("m", &[], &[], &[]).starts_with("<svg"));
    }

    #[test]
    fn bars_have_one_rectangle_a_value() {
        let labels = ["a".to_owned(), "b".to_owned()];
        let svg = bars("b", &labels, &[("g".into(), vec![1.0, 2.0])]);
        assert!(svg.contains(">\na\n</text>") || svg.contains(">a<") || svg.contains("\na\n"), "{svg}");
    }

    #[test]
    fn labels_are_short() {
        assert_eq!(number(0.25, 1.0), "0.25");
        assert_eq!(number(1000.0, 2000.0), "1000");
        assert_eq!(number(2.5e6, 4e6), "2.5e6");
        assert_eq!(number(2e-4, 1e-3), "2e-4");
        assert_eq!(number(1e-17, 1.0), "0");
    }

    #[test]
    fn labels_of_a_narrow_axis_differ() {
        let labels = [0.254, 0.25405, 0.2541].map(|value| number(value, 3e-4));
        assert_eq!(labels, ["0.254", "0.25405", "0.2541"]);
        assert_eq!([2.5e6, 2.501e6].map(|value| number(value, 4e3)), ["2.5e6", "2.501e6"]);
    }
}
