//! The same drawing as pixels.

use std::sync::Arc;

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{self, Options, Tree, fontdb};

use super::{Figure, HEIGHT, WIDTH};

/// Why a figure could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The drawing is no SVG.
    #[error("the drawing is no SVG: {0}")]
    Svg(#[from] usvg::Error),
    /// There is no room for its pixels.
    #[error("no memory for the picture")]
    Memory,
    /// The pixels could not be encoded.
    #[error("the picture cannot be encoded: {0}")]
    Encode(String),
}

/// Renders a figure as a PNG of [`WIDTH`] by [`HEIGHT`] pixels.
///
/// The font comes with the program, so the picture does not depend on the machine.
///
/// # Errors
///
/// The figure is too large or its drawing is wrong.
pub fn png(figure: &Figure) -> Result<Vec<u8>, RenderError> {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    let options = Options {
        font_family: "DejaVu Sans".to_owned(),
        fontdb: Arc::new(fonts),
        ..Options::default()
    };
    let tree = Tree::from_str(&figure.svg(), &options)?;
    let mut pixels = Pixmap::new(WIDTH, HEIGHT).ok_or(RenderError::Memory)?;
    resvg::render(&tree, Transform::identity(), &mut pixels.as_mut());
    pixels
        .encode_png()
        .map_err(|error| RenderError::Encode(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figure::Panel;

    fn figure(title: &str) -> Figure {
        Figure {
            title: title.to_owned(),
            panels: vec![Panel {
                x_label: String::new(),
                y_label: String::new(),
                lines: Vec::new(),
            }],
            colors: Vec::new(),
            styles: Vec::new(),
        }
    }

    #[test]
    fn picture_has_the_size_of_the_testbeds() {
        let png = png(&figure("t")).unwrap();

        assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
        assert_eq!(png[16..24], [0, 0, 3, 32, 0, 0, 2, 88]);
    }

    #[test]
    fn text_is_drawn_without_fonts_of_the_machine() {
        let title = |title: &str| {
            let pixels = Pixmap::decode_png(&png(&figure(title)).unwrap()).unwrap();
            let rows = pixels.data().chunks_exact(800 * 4).take(50);
            rows.flatten().filter(|&&byte| byte < 128).count()
        };

        assert_eq!(title(""), 0);
        assert!(title("Throughput") > 100);
    }
}
