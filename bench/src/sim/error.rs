//! Errors as vLLM's API server words and shapes them.

use serde_json::Value;

/// A refusal: HTTP status and the OpenAI error object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) param: Option<&'static str>,
    pub(crate) message: String,
}

/// What the API server says when its engine process is gone.
pub(crate) const ENGINE_DEAD: &str =
    "EngineCore encountered an issue. See stack trace (above) for the root cause.";

impl ApiError {
    /// Refused while the body was read into a request: type `Bad Request`.
    pub(crate) fn malformed(message: impl std::fmt::Display, param: Option<&'static str>) -> Self {
        Self {
            status: 400,
            kind: "Bad Request",
            param,
            message: format!("1 validation error:\n  {message}"),
        }
    }

    /// Refused once the request was understood: type `BadRequestError`.
    pub(crate) fn invalid(message: impl Into<String>, param: Option<&'static str>) -> Self {
        Self {
            status: 400,
            kind: "BadRequestError",
            param,
            message: message.into(),
        }
    }

    pub(crate) fn unknown_model(model: &str) -> Self {
        Self {
            status: 404,
            kind: "NotFoundError",
            param: Some("model"),
            message: format!("The model `{model}` does not exist."),
        }
    }

    /// Something failed after admission.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self {
            status: 500,
            kind: "InternalServerError",
            param: None,
            message: message.into(),
        }
    }

    /// The JSON text of the error object.
    pub(crate) fn json(&self) -> String {
        // Written by hand to keep vLLM's order of keys.
        format!(
            r#"{{"error":{{"message":{},"type":"{}","param":{},"code":{}}}}}"#,
            Value::from(self.message.as_str()),
            self.kind,
            Value::from(self.param),
            self.status
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn error_object_has_the_four_keys() {
        let value: Value = serde_json::from_str(&ApiError::unknown_model("x").json()).unwrap();

        assert_eq!(
            value,
            json!({"error": {"message": "The model `x` does not exist.", "type": "NotFoundError",
                             "param": "model", "code": 404}})
        );
    }
}
