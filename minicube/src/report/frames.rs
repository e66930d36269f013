//! Small pictures with a label each, such as the same place on many dates, and what their colours mean.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ndarray::ArrayView2;

use super::page::{encode_png, escape};
use super::raster::{Ramp, raster};

pub(super) const CSS: &str = "\
.frames{display:flex;flex-wrap:wrap;gap:.5rem}.frames div{font-size:.75rem;text-align:center}\
figure .frames img{width:96px;min-width:0;max-width:none;outline:1px solid #ddd}figure svg.scale{margin-top:.5rem}";

/// Pixels without a value.
const VOID: [u8; 3] = [222, 222, 222];

/// Colours of classes; further ones repeat (Okabe and Ito, for people with colour-vision deficiency too).
const CLASSES: [[u8; 3]; 10] = [
    [0, 158, 115],
    [230, 159, 0],
    [86, 180, 233],
    [213, 94, 0],
    [0, 114, 178],
    [240, 228, 66],
    [204, 121, 167],
    [90, 90, 90],
    [150, 110, 60],
    [20, 20, 20],
];

/// A picture with its label.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// What stands under it, e.g. a date.
    pub label: String,
    /// Pixels from west to east.
    pub width: usize,
    /// Pixels from north to south.
    pub height: usize,
    /// Row by row, three bytes a pixel.
    pub rgb: Vec<u8>,
}

impl Frame {
    /// Values `[y, x]` in the colours of a ramp from `range.0` to `range.1`; NaN is light grey.
    #[must_use]
    pub fn ramp(
        label: impl Into<String>,
        values: ArrayView2<'_, f32>,
        ramp: Ramp,
        range: (f32, f32),
    ) -> Frame {
        let (width, height, rgb) = raster(values, ramp, range);
        Frame { label: label.into(), width, height, rgb }
    }

    /// Red, green and blue reflectance `[y, x]`, black at 0 and full at `white`; light grey where one of them is NaN.
    #[must_use]
    pub fn true_colour(label: impl Into<String>, bands: [ArrayView2<'_, f32>; 3], white: f32) -> Frame {
        let (height, width) = bands[0].dim();
        let byte = |value: f32| (255.0 * (value / white).clamp(0.0, 1.0)).round() as u8;
        let pixel = |i: usize| bands.map(|band| band[[i / width, i % width]]);
        let color =
            |values: [f32; 3]| if values.iter().any(|v| v.is_nan()) { VOID } else { values.map(byte) };
        let rgb = (0..height * width).flat_map(|i| color(pixel(i))).collect();
        Frame { label: label.into(), width, height, rgb }
    }

    /// Classes `[y, x]`, each value in the colour that [`class_legend`] gives it; light grey where `values` has another.
    #[must_use]
    pub fn classes(label: impl Into<String>, codes: ArrayView2<'_, u8>, values: &[u8]) -> Frame {
        let (height, width) = codes.dim();
        let color = |code: &u8| values.iter().position(|value| value == code).map_or(VOID, class_color);
        let rgb = codes.iter().flat_map(color).collect();
        Frame { label: label.into(), width, height, rgb }
    }

    fn html(&self) -> String {
        let label = escape(&self.label);
        match encode_png(self.width, self.height, &self.rgb) {
            Ok(bytes) => format!(
                "<div><img alt=\"{label}\" src=\"data:image/png;base64,{}\">{label}</div>",
                STANDARD.encode(bytes)
            ),
            Err(reason) => format!("<div>this picture could not be drawn: {}</div>", escape(&reason)),
        }
    }
}

/// The frames one after another, and the legend below them.
pub(super) fn html(frames: &[Frame], legend: &str) -> String {
    format!("<div class=\"frames\">{}</div>{legend}", frames.iter().map(Frame::html).collect::<String>())
}

/// A bar of a ramp's colours with the values at its ends and a word on what is grey; `what` is the quantity and its unit.
#[must_use]
pub fn ramp_legend(what: &str, ramp: Ramp, range: (f32, f32)) -> String {
    const STOPS: usize = 32;
    let (bar, left) = (192, 60);
    let rect = |i: usize| {
        let [r, g, b] = ramp.color(i as f32 / (STOPS - 1) as f32, (0.0, 1.0));
        let (x, width) = (left + i * bar / STOPS, bar / STOPS);
        format!("<rect x=\"{x}\" y=\"4\" width=\"{width}\" height=\"12\" fill=\"rgb({r},{g},{b})\"/>")
    };
    let number = |value: f32| {
        let text = format!("{value:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let end = left + bar;
    let rects: String = (0..STOPS).map(rect).collect();
    let [r, g, b] = VOID;
    let width = end + 140 + what.chars().count() * 7;
    format!(
        "<svg class=\"scale\" width=\"{width}\" height=\"20\" viewBox=\"0 0 {width} 20\" \
         xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">{rects}\
         <text x=\"{}\" y=\"14\" text-anchor=\"end\">{}</text><text x=\"{}\" y=\"14\">{}</text>\
         <rect x=\"{}\" y=\"4\" width=\"12\" height=\"12\" fill=\"rgb({r},{g},{b})\"/>\
         <text x=\"{}\" y=\"14\">no value</text><text x=\"{}\" y=\"14\">{}</text></svg>",
        left - 6,
        number(range.0),
        end + 6,
        number(range.1),
        end + 50,
        end + 67,
        end + 130,
        escape(what)
    )
}

/// The colours of classes with their names, in the order of the `values` of [`Frame::classes`].
#[must_use]
pub fn class_legend(names: &[String]) -> String {
    let entry = |(i, name): (usize, &String)| {
        let [r, g, b] = class_color(i);
        format!(
            "<span style=\"white-space:nowrap;margin-right:1em;font-size:.8rem\"><span style=\"display:inline-block;\
             width:.8em;height:.8em;background:rgb({r},{g},{b});margin-right:.4em\"></span>{}</span>",
            escape(name)
        )
    };
    format!("<div>{}</div>", names.iter().enumerate().map(entry).collect::<Vec<_>>().join(" "))
}

fn class_color(place: usize) -> [u8; 3] {
    CLASSES[place % CLASSES.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn colours_by_hand() {
        let (red, dark) = (array![[0.3_f32, f32::NAN]], array![[0.0_f32, 0.1]]);
        let frame = Frame::true_colour("d", [red.view(), dark.view(), dark.view()], 0.3);
        assert_eq!((frame.width, frame.height), (2, 1));
        assert_eq!(frame.rgb, [255, 0, 0, 222, 222, 222]);
        let codes = array![[30_u8, 0], [10, 30]];
        let frame = Frame::classes("c", codes.view(), &[10, 30]);
        assert_eq!(frame.rgb, [230, 159, 0, 222, 222, 222, 0, 158, 115, 230, 159, 0]);
    }

    #[test]
    fn labels_and_legend_are_on_the_page() {
        let frame = Frame::ramp("1 < 2", array![[0.5_f32]].view(), Ramp::Gray, (0.0, 1.0));
        let legend = ramp_legend("height (m)", Ramp::Gray, (-0.25, 1.0));
        assert!(legend.contains(">-0.25<") && legend.contains(">1<") && legend.contains("height (m)"));
        assert!(legend.contains("rgb(0,0,0)") && legend.contains("rgb(255,255,255)"), "{legend}");
        let page = html(&[frame.clone(), frame], &legend);
        assert_eq!(page.matches("<img").count(), 2);
        assert!(page.contains(">1 &lt; 2</div>"));
        assert!(class_legend(&["a".into(), "b&c".into()]).contains("b&amp;c"));
    }
}
