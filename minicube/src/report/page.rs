//! The page itself.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::frames::{self, Frame};
use super::map::{self, PointMap};
use crate::{Error, write_atomic};

const CSS: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.2rem;margin-top:2rem}\
.lead{color:GrayText;margin-top:0}\
figure{margin:1rem 0;background:#fff;color:#222;border:1px solid #ccc;border-radius:6px;padding:.8rem;\
overflow-x:auto}\
figure svg,figure img{max-width:100%;height:auto;display:block}\
figure img{image-rendering:pixelated;min-width:min(100%,20rem)}\
figcaption{font-size:.87rem;color:#444;margin-top:.4rem}\
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}\
th,td{padding:.25rem .7rem;border-bottom:1px solid #8886;text-align:right;white-space:nowrap}\
th:first-child,td:first-child{text-align:left}";

/// A page under construction. Texts are escaped; pictures are embedded.
#[derive(Clone, Debug)]
pub struct Report {
    title: String,
    body: String,
    has_map: bool,
}

impl Report {
    /// An empty page.
    #[must_use]
    pub fn new(title: &str) -> Report {
        Report { title: title.to_owned(), body: String::new(), has_map: false }
    }

    /// The paragraph under the title.
    #[must_use]
    pub fn lead(mut self, text: &str) -> Report {
        self.body.push_str(&format!("<p class=\"lead\">{}</p>\n", escape(text)));
        self
    }

    /// A heading.
    #[must_use]
    pub fn section(mut self, heading: &str) -> Report {
        self.body.push_str(&format!("<h2>{}</h2>\n", escape(heading)));
        self
    }

    /// A paragraph.
    #[must_use]
    pub fn text(mut self, text: &str) -> Report {
        self.body.push_str(&format!("<p>{}</p>\n", escape(text)));
        self
    }

    /// What the reader must not overlook, in a section of its own; nothing where there are no `remarks`.
    #[must_use]
    pub fn remarks(self, remarks: &[String]) -> Report {
        if remarks.is_empty() {
            return self;
        }
        remarks.iter().fold(self.section("Mind this"), |report, remark| report.text(&format!("⚠ {remark}.")))
    }

    /// A link to another page, relative to this one.
    #[must_use]
    pub fn link(mut self, text: &str, href: &str) -> Report {
        self.body.push_str(&format!("<p><a href=\"{}\">{}</a></p>\n", escape(href), escape(text)));
        self
    }

    /// A table; the first column is left-aligned, the others right-aligned.
    #[must_use]
    pub fn table(mut self, columns: &[&str], rows: Vec<Vec<String>>) -> Report {
        let cells = |tag: &str, values: &mut dyn Iterator<Item = &str>| {
            values.map(|value| format!("<{tag}>{}</{tag}>", escape(value))).collect::<String>()
        };
        let head = cells("th", &mut columns.iter().copied());
        self.body.push_str(&format!("<div class=\"scroll\"><table><thead><tr>{head}</tr></thead><tbody>\n"));
        for row in rows {
            let line = cells("td", &mut row.iter().map(String::as_str));
            self.body.push_str(&format!("<tr>{line}</tr>\n"));
        }
        self.body.push_str("</tbody></table></div>\n");
        self
    }

    /// A figure from SVG text, as the functions of this module make it.
    #[must_use]
    pub fn svg(mut self, caption: &str, svg: &str) -> Report {
        self.figure(svg, caption);
        self
    }

    /// A figure with a map to explore: hover a point to see its classes, choose what the colours mean, zoom and drag.
    #[must_use]
    pub fn map(mut self, caption: &str, map: &PointMap) -> Report {
        self.has_map = true;
        self.figure(&map::html(map), caption);
        self
    }

    /// A figure from RGB pixels (row-major, three bytes each), embedded as PNG.
    #[must_use]
    pub fn png(mut self, caption: &str, width: usize, height: usize, rgb: &[u8]) -> Report {
        let picture = match encode_png(width, height, rgb) {
            Ok(bytes) => format!(
                "<img alt=\"{}\" width=\"{width}\" height=\"{height}\" src=\"data:image/png;base64,{}\">",
                escape(caption),
                STANDARD.encode(bytes)
            ),
            Err(reason) => format!("<p>this picture could not be drawn: {}</p>", escape(&reason)),
        };
        self.figure(&picture, caption);
        self
    }

    /// A figure of small pictures with a label each, and a legend below them: one of [`super::ramp_legend`],
    /// [`super::class_legend`], or empty.
    #[must_use]
    pub fn frames(mut self, caption: &str, frames: &[Frame], legend: &str) -> Report {
        self.figure(&frames::html(frames, legend), caption);
        self
    }

    /// Writes the page, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        write_atomic(path, self.html().as_bytes())
    }

    /// The page's HTML.
    #[must_use]
    pub fn html(&self) -> String {
        let title = escape(&self.title);
        let frames_css = frames::CSS;
        let (map_css, map_script) = if self.has_map {
            (map::CSS, format!("<script>{}</script>\n", map::SCRIPT))
        } else {
            ("", String::new())
        };
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <link rel=\"icon\" href=\"data:,\"><title>{title}</title><style>{CSS}{frames_css}{map_css}</style></head>\n\
             <body><h1>{title}</h1>\n{}{map_script}</body></html>\n",
            self.body
        )
    }

    fn figure(&mut self, picture: &str, caption: &str) {
        self.body
            .push_str(&format!("<figure>{picture}<figcaption>{}</figcaption></figure>\n", escape(caption)));
    }
}

pub(super) fn encode_png(width: usize, height: usize, rgb: &[u8]) -> Result<Vec<u8>, String> {
    let size = |value: usize| u32::try_from(value).map_err(|error| error.to_string());
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size(width)?, size(height)?);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(|error| error.to_string())?;
    writer.write_image_data(rgb).map_err(|error| error.to_string())?;
    writer.finish().map_err(|error| error.to_string())?;
    Ok(bytes)
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_self_contained_and_escaped() {
        let html = Report::new("a < b")
            .lead("x & y")
            .table(&["k"], vec![vec!["<script>".into()]])
            .remarks(&["mind & look".into()])
            .png("one red pixel", 1, 1, &[255, 0, 0])
            .html();
        assert!(html.contains("<title>a &lt; b</title>") && html.contains("&lt;script&gt;"));
        assert!(html.contains("<h2>Mind this</h2>\n<p>⚠ mind &amp; look.</p>"));
        assert!(!Report::new("t").remarks(&[]).html().contains("Mind this"));
        assert!(html.contains("src=\"data:image/png;base64,iVBOR"));
        assert!(!html.contains("http"), "no address of any other file");
    }

    #[test]
    fn a_picture_of_the_wrong_size_says_so() {
        assert!(Report::new("t").png("c", 2, 2, &[0; 3]).html().contains("could not be drawn"));
    }
}
