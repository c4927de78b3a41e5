//! Reads JSON fields as leniently as vLLM's request models do.

use super::error::ApiError;
use serde_json::{Map, Value};

/// The fields of a request body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// Reads a body. The real server trips over one that is not an object.
    ///
    /// # Errors
    /// The body is not JSON, or not an object.
    pub(crate) fn object(body: &'a Value) -> Result<Self, ApiError> {
        body.as_object().map(Self).ok_or_else(|| {
            let kind = match body {
                Value::Array(_) => "list",
                Value::String(_) => "str",
                Value::Bool(_) => "bool",
                Value::Number(number) if number.is_f64() => "float",
                Value::Number(_) => "int",
                Value::Null | Value::Object(_) => "NoneType",
            };
            ApiError::internal(format!("'{kind}' object has no attribute 'get'"))
        })
    }

    /// The value of a field unless it is absent or `null`.
    pub(crate) fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Whether the field is there with the value `null`.
    pub(crate) fn is_null(self, name: &str) -> bool {
        self.0.get(name).is_some_and(Value::is_null)
    }

    /// An integer; whole floats and digits in a string count as one.
    pub(crate) fn int(self, name: &'static str) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let read = match value {
            Value::Number(number) => number.as_i64().or_else(|| {
                let float = number.as_f64()?;
                whole(float)
            }),
            Value::String(text) => text.trim().parse().ok(),
            Value::Bool(truth) => Some(i64::from(*truth)),
            _ => None,
        };
        read.map(Some)
            .ok_or_else(|| wrong_type(name, "int_type", "a valid integer"))
    }

    /// A number.
    pub(crate) fn number(self, name: &'static str) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let read = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        read.map(Some)
            .ok_or_else(|| wrong_type(name, "float_type", "a valid number"))
    }

    /// A truth value; absent and `null` are false.
    pub(crate) fn truth(self, name: &'static str) -> Result<bool, ApiError> {
        let Some(value) = self.get(name) else {
            return Ok(false);
        };
        let read = match value {
            Value::Bool(truth) => Some(*truth),
            Value::Number(number) => match number.as_i64() {
                Some(0) => Some(false),
                Some(1) => Some(true),
                _ => None,
            },
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" | "y" | "t" => Some(true),
                "false" | "0" | "no" | "off" | "n" | "f" => Some(false),
                _ => None,
            },
            _ => None,
        };
        read.ok_or_else(|| wrong_type(name, "bool_type", "a valid boolean"))
    }

    /// A string or a list of strings.
    pub(crate) fn strings(self, name: &'static str) -> Result<Vec<String>, ApiError> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text.clone()]),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| {
                    let text = item.as_str().map(ToOwned::to_owned);
                    text.ok_or_else(|| wrong_type(name, "string_type", "a valid string"))
                })
                .collect(),
            Some(_) => Err(wrong_type(name, "string_type", "a valid string")),
        }
    }

    /// A list of token ids.
    pub(crate) fn ids(self, name: &'static str) -> Result<Vec<u32>, ApiError> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(value) => token_ids(value)
                .ok_or_else(|| wrong_type(name, "int_type", "a list of valid integers")),
        }
    }
}

/// `value` as a list of token ids, if it is one.
pub(crate) fn token_ids(value: &Value) -> Option<Vec<u32>> {
    value
        .as_array()?
        .iter()
        .map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok()))
        .collect()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float beyond i64 saturates, and every limit it is compared with is smaller"
)]
fn whole(value: f64) -> Option<i64> {
    (value.fract() == 0.0).then_some(value as i64)
}

/// The error for a field of the wrong type.
pub(crate) fn wrong_type(name: &'static str, kind: &str, wanted: &str) -> ApiError {
    ApiError::malformed(
        format_args!(
            "{{'type': '{kind}', 'loc': ('body', '{name}'), 'msg': 'Input should be {wanted}'}}"
        ),
        None,
    )
}

/// The error for a required field that is absent.
pub(crate) fn missing(name: &'static str) -> ApiError {
    ApiError::malformed(
        format_args!("{{'type': 'missing', 'loc': ('body', '{name}'), 'msg': 'Field required'}}"),
        None,
    )
}

/// The error of a rule about the whole body.
pub(crate) fn value_error(message: &str, param: &'static str) -> ApiError {
    ApiError::malformed(
        format_args!(
            "{{'type': 'value_error', 'loc': ('body',), 'msg': 'Value error, {message}'}}"
        ),
        Some(param),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whole_floats_and_digits_are_integers() {
        let body = json!({"a": 3, "b": 4.0, "c": "5", "d": 1e300, "e": 1.5, "f": [], "g": null});
        let fields = Fields::object(&body).unwrap();

        assert_eq!(fields.int("a").unwrap(), Some(3));
        assert_eq!(fields.int("b").unwrap(), Some(4));
        assert_eq!(fields.int("c").unwrap(), Some(5));
        assert_eq!(fields.int("d").unwrap(), Some(i64::MAX));
        assert!(fields.int("e").is_err());
        assert!(fields.int("f").is_err());
        assert_eq!(fields.int("g").unwrap(), None);
        assert!(fields.is_null("g") && !fields.is_null("h"));
    }

    #[test]
    fn truth_values_have_many_spellings() {
        let body = json!({"a": true, "b": 1, "c": "TRUE", "d": 2, "e": "maybe"});
        let fields = Fields::object(&body).unwrap();

        assert!(["a", "b", "c"].map(|name| fields.truth(name).unwrap()) == [true; 3]);
        assert!(fields.truth("d").is_err() && fields.truth("e").is_err());
        assert!(!fields.truth("absent").unwrap());
    }

    #[test]
    fn body_must_be_an_object() {
        assert_eq!(Fields::object(&json!([1])).unwrap_err().status, 500);
    }
}
