//! Figures: lines through points, drawn once as SVG; the PNG is that SVG, rendered.

#[cfg(feature = "plot")]
mod png;
mod scale;
mod svg;

#[cfg(feature = "plot")]
pub use png::{RenderError, png};
pub use scale::Scale;

/// Width of every figure, in pixels.
pub const WIDTH: u32 = 800;
/// Height of every figure, in pixels.
pub const HEIGHT: u32 = 600;

/// One picture: panels side by side under one title, over one legend.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Stands above everything.
    pub title: String,
    /// From left to right.
    pub panels: Vec<Panel>,
    /// Colours, by number of the colour.
    pub colors: Vec<String>,
    /// Line styles, by number of the style; shown only if there are several.
    pub styles: Vec<String>,
}

/// One pair of axes. Both begin at zero if their values do not lie below it, so that the height of a
/// point is its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// Below the horizontal axis.
    pub x_label: String,
    /// Beside the vertical axis.
    pub y_label: String,
    /// What is drawn.
    pub lines: Vec<Line>,
}

/// One line and the marks on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Number of its colour.
    pub color: usize,
    /// Number of its style.
    pub style: usize,
    /// In the order in which they are joined.
    pub points: Vec<(f64, f64)>,
}

impl Figure {
    /// The figure as an SVG document that needs nothing else.
    #[must_use]
    pub fn svg(&self) -> String {
        svg::draw(self)
    }
}
