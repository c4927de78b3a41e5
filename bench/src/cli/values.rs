//! Values of flags.

use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Map, Value};

use crate::report::summary::{Metric, Objective};

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse().map(Duration::try_from_secs_f64) {
        Ok(Ok(time)) if !time.is_zero() => Ok(time),
        _ => Err("not a number of seconds above 0".to_owned()),
    }
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("not a number from 0 to 1".to_owned()),
    }
}

/// Above zero; infinity is one.
pub(super) fn positive_number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 => Ok(number),
        _ => Err("not a number above 0".to_owned()),
    }
}

pub(super) fn percentile(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("not a number from 0 to 100".to_owned()),
    }
}

pub(super) fn extra_body(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))
}

/// A figure and the most milliseconds it may be.
pub(super) fn objective(text: &str) -> Result<Objective, String> {
    let (metric, limit) = text.split_once(':').ok_or("not METRIC:MILLISECONDS")?;
    let millis: f64 = limit
        .parse()
        .map_err(|error| format!("not a number of milliseconds: {error}"))?;
    Ok(Objective {
        metric: Metric::from_str(metric, true)?,
        limit: Duration::try_from_secs_f64(millis / 1e3).map_err(|error| error.to_string())?,
    })
}

/// A key that would end the header field, or hide in it, is refused.
pub(super) fn api_key(text: &str) -> Result<String, String> {
    if text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() || byte == b' ')
    {
        Ok(text.to_owned())
    } else {
        Err("holds a character that no HTTP field has".to_owned())
    }
}

/// Numbers that are separated by spaces, as in the testbed's variables, or by commas, as in vLLM's
/// flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Numbers(pub(super) Vec<u32>);

pub(super) fn positive_numbers(text: &str) -> Result<Numbers, String> {
    let numbers: Result<Vec<u32>, _> = text
        .split([' ', ','])
        .filter(|number| !number.is_empty())
        .map(str::parse)
        .collect();
    match numbers {
        Ok(numbers) if !numbers.is_empty() && !numbers.contains(&0) => Ok(Numbers(numbers)),
        _ => Err("not a list of numbers above 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_separated_by_spaces_or_commas() {
        for text in ["1 2 4", "1,2,4", " 1, 2 ,4 "] {
            assert_eq!(positive_numbers(text), Ok(Numbers(vec![1, 2, 4])), "{text}");
        }
        for text in ["", " ", "1;2", "0 1", "-1", "x"] {
            assert!(positive_numbers(text).is_err(), "{text}");
        }
    }
}
