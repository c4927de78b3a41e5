//! From values to places on an axis.

/// Steps between ticks, times a power of ten.
const STEPS: [f64; 6] = [1.0, 2.0, 2.5, 5.0, 10.0, 20.0];

/// Maps values of one axis to pixels, linearly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    values: (f64, f64),
    pixels: (f64, f64),
}

impl Scale {
    /// A scale from zero to a round value that is not below any of `values`, with the place of zero
    /// and that of the far end in pixels.
    #[must_use]
    pub fn from_zero(values: impl Iterator<Item = f64>, pixels: (f64, f64)) -> Self {
        let most = values.fold(0.0, f64::max);
        let step = step(most);
        let end = if most > 0.0 {
            (most / step - 1e-9).ceil() * step
        } else {
            1.0
        };
        Self {
            values: (0.0, end),
            pixels,
        }
    }

    /// Where a value is.
    #[must_use]
    pub fn place(&self, value: f64) -> f64 {
        let share = (value - self.values.0) / (self.values.1 - self.values.0);
        self.pixels.0 + share * (self.pixels.1 - self.pixels.0)
    }

    /// Round values over the whole axis, each as number and as text.
    #[must_use]
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let step = step(self.values.1);
        let decimals = (0..9)
            .find(|&decimals| {
                let scaled = step * 10_f64.powi(decimals);
                (scaled - scaled.round()).abs() < 1e-6
            })
            .unwrap_or(9);
        let decimals = usize::try_from(decimals).unwrap_or(0);
        (0_u32..)
            .map(|number| f64::from(number) * step)
            .take_while(|value| *value <= self.values.1 + step * 1e-6)
            .map(|value| (value, format!("{value:.decimals$}")))
            .collect()
    }
}

/// The round step that parts zero to `end` into five to eight.
fn step(end: f64) -> f64 {
    if !(end.is_finite() && end > 0.0) {
        return 0.2;
    }
    let power = 10_f64.powf((end / 10.0).log10().floor());
    STEPS
        .iter()
        .map(|step| step * power)
        .find(|step| end / step <= 8.0)
        .unwrap_or(20.0 * power)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(end: f64) -> Vec<String> {
        let scale = Scale::from_zero([end].into_iter(), (0.0, 100.0));
        scale.ticks().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(texts(8.0), ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
        assert_eq!(
            texts(128.0),
            ["0", "20", "40", "60", "80", "100", "120", "140"]
        );
        assert_eq!(texts(0.9), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(texts(0.0), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
    }

    #[test]
    fn places_are_proportional_whichever_way_the_axis_runs() {
        let scale = Scale::from_zero([10.0].into_iter(), (300.0, 100.0));

        assert_eq!(scale.place(0.0), 300.0);
        assert_eq!(scale.place(5.0), 200.0);
        assert_eq!(scale.place(10.0), 100.0);
    }

    proptest! {
        #[test]
        fn every_value_is_on_the_axis_and_ticks_are_few(value in 1e-6..1e9) {
            let scale = Scale::from_zero([value].into_iter(), (0.0, 1.0));
            prop_assert!((0.0..=1.0 + 1e-9).contains(&scale.place(value)));
            prop_assert!(scale.place(value) > 0.7);
            prop_assert!((4..=10).contains(&scale.ticks().len()));
        }
    }
}
