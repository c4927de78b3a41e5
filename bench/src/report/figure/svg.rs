//! The drawing.

use std::fmt::{self, Write};

use super::{Figure, HEIGHT, Line, Panel, Scale, WIDTH};

/// Colours that people who see few of them can tell apart (the palette of Okabe and Ito, without
/// its yellow, which is faint on white, and its black).
const COLORS: [&str; 6] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00",
];
/// Dashes, in pixels; the first is a whole line.
const DASHES: [&str; 4] = ["", "7 4", "2 3", "9 3 2 3"];
/// Also named by the font that PNGs are rendered with.
const FONT: &str = "DejaVu Sans, Verdana, sans-serif";

/// Rows of the figure, in pixels from the top.
const TITLE_Y: f64 = 34.0;
const PANEL_TOP: f64 = 62.0;
/// From the bottom of a panel to that of the figure, besides the legend.
const PANEL_FOOT: f64 = 62.0;
const LEGEND_ROW: f64 = 22.0;
const LEGEND_COLUMN: f64 = 150.0;
/// Beside each panel, for its numbers and label.
const MARGIN_LEFT: f64 = 74.0;
const MARGIN_RIGHT: f64 = 20.0;
/// The end of the line's sample in the legend.
const SAMPLE: f64 = 30.0;

/// A rectangle, in pixels.
#[derive(Clone, Copy)]
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

pub(super) fn draw(figure: &Figure) -> String {
    let mut svg = String::new();
    // Writing to a String cannot fail.
    write_figure(&mut svg, figure).ok();
    svg
}

fn write_figure(svg: &mut String, figure: &Figure) -> fmt::Result {
    let (width, height) = (f64::from(WIDTH), f64::from(HEIGHT));
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"{FONT}\" font-size=\"12\" fill=\"#222\">"
    )?;
    let title = escaped(&figure.title);
    writeln!(svg, "<title>{title}</title>")?;
    writeln!(
        svg,
        "<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>"
    )?;
    writeln!(
        svg,
        "<text x=\"{}\" y=\"{TITLE_Y}\" font-size=\"17\" text-anchor=\"middle\">{title}</text>",
        width / 2.0
    )?;
    let entries = legend(figure);
    let columns = ((width - 2.0 * MARGIN_RIGHT) / LEGEND_COLUMN).floor();
    let rows = (count(entries.len()) / columns).ceil();
    let bottom = height - PANEL_FOOT - rows * LEGEND_ROW;
    let panel_width = width / count(figure.panels.len().max(1));
    for (number, panel) in figure.panels.iter().enumerate() {
        let left = count(number) * panel_width;
        let frame = Frame {
            left: left + MARGIN_LEFT,
            right: left + panel_width - MARGIN_RIGHT,
            top: PANEL_TOP,
            bottom,
        };
        write_panel(svg, panel, frame)?;
    }
    let used = count(entries.len()).min(columns) * LEGEND_COLUMN;
    for (number, (color, dash, label)) in entries.iter().enumerate() {
        let column = count(number) % columns;
        let row = (count(number) / columns).floor();
        let x = (width - used) / 2.0 + column * LEGEND_COLUMN;
        let y = bottom + PANEL_FOOT + row * LEGEND_ROW;
        let end = x + SAMPLE;
        writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{end:.1}\" y2=\"{y:.1}\" stroke=\"{color}\" \
             stroke-width=\"2\"{}/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            dashed(dash),
            end + 8.0,
            y + 4.0,
            escaped(label)
        )?;
    }
    writeln!(svg, "</svg>")
}

/// Colour, dashes and text of each entry: colours first, then styles if there is a choice.
fn legend(figure: &Figure) -> Vec<(&'static str, &'static str, &str)> {
    let colors = figure.colors.iter().enumerate();
    let styles = figure.styles.iter().enumerate();
    let mut entries: Vec<_> = colors
        .map(|(number, label)| (color(number), "", label.as_str()))
        .collect();
    if figure.styles.len() > 1 {
        entries.extend(styles.map(|(number, label)| ("#444", dash(number), label.as_str())));
    }
    entries
}

fn write_panel(svg: &mut String, panel: &Panel, frame: Frame) -> fmt::Result {
    let Frame {
        left,
        right,
        top,
        bottom,
    } = frame;
    let points = || panel.lines.iter().flat_map(|line| line.points.iter());
    let x = Scale::from_zero(points().map(|point| point.0), (left, right));
    let y = Scale::from_zero(points().map(|point| point.1), (bottom, top));
    for (value, label) in y.ticks() {
        let at = y.place(value);
        writeln!(
            svg,
            "<line x1=\"{left:.1}\" y1=\"{at:.1}\" x2=\"{right:.1}\" y2=\"{at:.1}\" \
             stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            left - 7.0,
            at + 4.0
        )?;
    }
    for (value, label) in x.ticks() {
        let at = x.place(value);
        writeln!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"{bottom:.1}\" x2=\"{at:.1}\" y2=\"{:.1}\" \
             stroke=\"#222\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            bottom + 5.0,
            bottom + 19.0
        )?;
    }
    writeln!(
        svg,
        "<path d=\"M{left:.1} {top:.1}V{bottom:.1}H{right:.1}\" fill=\"none\" stroke=\"#222\"/>"
    )?;
    let (middle, centre) = (f64::midpoint(top, bottom), f64::midpoint(left, right));
    let beside = left - 54.0;
    writeln!(
        svg,
        "<text x=\"{centre:.1}\" y=\"{:.1}\" font-size=\"13\" text-anchor=\"middle\">{}</text>\
         <text x=\"{beside:.1}\" y=\"{middle:.1}\" font-size=\"13\" text-anchor=\"middle\" \
         transform=\"rotate(-90 {beside:.1} {middle:.1})\">{}</text>",
        bottom + 38.0,
        escaped(&panel.x_label),
        escaped(&panel.y_label)
    )?;
    panel
        .lines
        .iter()
        .try_for_each(|line| write_line(svg, line, x, y))
}

fn write_line(svg: &mut String, line: &Line, x: Scale, y: Scale) -> fmt::Result {
    let color = color(line.color);
    write!(svg, "<polyline points=\"")?;
    for (number, &(at_x, at_y)) in line.points.iter().enumerate() {
        let space = if number == 0 { "" } else { " " };
        write!(svg, "{space}{:.1},{:.1}", x.place(at_x), y.place(at_y))?;
    }
    writeln!(
        svg,
        "\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\" stroke-linejoin=\"round\"{}/>",
        dashed(dash(line.style))
    )?;
    for &(at_x, at_y) in &line.points {
        writeln!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{color}\"/>",
            x.place(at_x),
            y.place(at_y)
        )?;
    }
    Ok(())
}

fn color(number: usize) -> &'static str {
    COLORS.iter().cycle().nth(number).copied().unwrap_or("#222")
}

fn dash(number: usize) -> &'static str {
    DASHES.iter().cycle().nth(number).copied().unwrap_or("")
}

fn dashed(dash: &str) -> String {
    if dash.is_empty() {
        String::new()
    } else {
        format!(" stroke-dasharray=\"{dash}\"")
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A count as a number to calculate with.
fn count(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure() -> Figure {
        Figure {
            title: "a < b".to_owned(),
            panels: vec![Panel {
                x_label: "x & y".to_owned(),
                y_label: "z".to_owned(),
                lines: vec![Line {
                    color: 1,
                    style: 1,
                    points: vec![(0.0, 0.0), (8.0, 8.0)],
                }],
            }],
            colors: vec!["one".to_owned(), "two".to_owned()],
            styles: vec!["whole".to_owned()],
        }
    }

    #[test]
    fn line_joins_its_points_corner_to_corner() {
        let svg = draw(&figure());

        assert!(
            svg.contains("<polyline points=\"74.0,516.0 780.0,62.0\""),
            "{svg}"
        );
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("stroke=\"#d55e00\" stroke-width=\"2\" stroke-linejoin=\"round\" stroke-dasharray=\"7 4\""));
    }

    #[test]
    fn texts_are_escaped() {
        let svg = draw(&figure());

        assert!(svg.contains(">a &lt; b</text>"));
        assert!(svg.contains(">x &amp; y</text>"));
    }

    #[test]
    fn single_style_is_not_explained() {
        assert!(!draw(&figure()).contains("whole"));
    }

    #[test]
    fn figure_without_points_has_axes_all_the_same() {
        let mut empty = figure();
        empty.panels[0].lines.clear();

        let svg = draw(&empty);

        assert!(svg.contains("<path d=\"M74.0"));
        assert!(!svg.contains("NaN"));
    }
}
