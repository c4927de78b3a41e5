//! One chat answer, as it arrives.

use std::time::{Duration, Instant};

use pd_bench::load::client::{Client, Endpoint, Request, Settings};
use serde::Deserialize;
use serde_json::json;

use super::plan::MODEL;

/// What is asked.
pub(super) const QUESTION: &str = "Why are prefill and decode better apart?";
/// Tokens of the answer.
pub(super) const TOKENS_MAX: u32 = 64;
/// For the whole answer, which takes about two seconds.
pub(super) const TIMEOUT: Duration = Duration::from_secs(25);
/// Bytes of an error worth telling.
const ERROR_BYTES_MAX: usize = 4096;

/// What the answer measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Figures {
    /// Pieces of text, which are tokens for a server that sends each as it comes.
    pub(super) tokens: u32,
    /// From the request to the first of them.
    pub(super) first: Duration,
    /// From the first to the last.
    pub(super) rest: Duration,
}

impl Figures {
    /// Tokens after the first over their time.
    pub(super) fn tokens_per_second(&self) -> f64 {
        let seconds = self.rest.as_secs_f64();
        if seconds > 0.0 {
            f64::from(self.tokens.saturating_sub(1)) / seconds
        } else {
            0.0
        }
    }
}

/// The request, the same that the copy-paste command sends.
pub(super) fn request() -> String {
    // Written by hand for the order that people expect to read.
    let (model, question) = (json!(MODEL), json!(QUESTION));
    format!(
        "{{\"model\":{model},\"messages\":[{{\"role\":\"user\",\"content\":{question}}}],\
        \"max_tokens\":{TOKENS_MAX},\"stream\":true}}"
    )
}

/// Asks, hands each piece of the answer to `show` at once, and measures.
///
/// An answer without text, or whose stream does not end with `[DONE]`, is a failure.
pub(super) async fn ask(
    url: &str,
    bearer: String,
    mut show: impl FnMut(String),
) -> anyhow::Result<Figures> {
    let settings = Settings {
        bearer: Some(bearer),
        timeout: TIMEOUT,
        keep_alive: false,
    };
    let client = Client::new(Endpoint::from_url(url)?, settings);
    let started = Instant::now();
    let body = request();
    let mut response = client
        .send(Request::PostJson {
            body: body.as_bytes(),
        })
        .await?;
    if response.status() != 200 {
        let body = response.body(ERROR_BYTES_MAX).await.unwrap_or_default();
        anyhow::bail!(
            "HTTP {} {}",
            response.status(),
            String::from_utf8_lossy(&body).trim()
        );
    }
    let mut tokens = 0;
    let mut span: Option<(Instant, Instant)> = None;
    while let Some(event) = response.event().await? {
        match Delta::of_event(&event.data)? {
            Delta::Text(text) => {
                tokens += 1;
                span = Some((span.map_or(event.at, |(first, _)| first), event.at));
                show(text);
            }
            Delta::Nothing => {}
            Delta::Done => {
                let (first, last) = span.ok_or_else(|| anyhow::anyhow!("the answer is empty"))?;
                let (first, rest) = (first.duration_since(started), last.duration_since(first));
                return Ok(Figures {
                    tokens,
                    first,
                    rest,
                });
            }
        }
    }
    anyhow::bail!("the stream ended without [DONE]")
}

/// What one event of a chat stream brings.
#[derive(Debug, PartialEq, Eq)]
enum Delta {
    Text(String),
    /// A role, a finish reason, usage.
    Nothing,
    Done,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Content>,
}

#[derive(Deserialize)]
struct Content {
    content: Option<String>,
}

impl Delta {
    fn of_event(data: &[u8]) -> anyhow::Result<Self> {
        if data == b"[DONE]" {
            return Ok(Self::Done);
        }
        let chunk: Chunk = serde_json::from_slice(data)?;
        if let Some(error) = chunk.error {
            anyhow::bail!("the stream says {error}");
        }
        let text = chunk
            .choices
            .into_iter()
            .next()
            .and_then(|choice| choice.delta?.content);
        Ok(text
            .filter(|text| !text.is_empty())
            .map_or(Self::Nothing, Self::Text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_text_end_or_nothing() {
        let delta = |data: &str| Delta::of_event(data.as_bytes()).unwrap();

        assert_eq!(
            delta(r#"{"choices":[{"delta":{"content":" a"}}]}"#),
            Delta::Text(" a".to_owned())
        );
        for nothing in [
            r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#,
            r#"{"choices":[],"usage":{"completion_tokens":1}}"#,
            r#"{"choices":[{"delta":{"content":null}}]}"#,
        ] {
            assert_eq!(delta(nothing), Delta::Nothing, "{nothing}");
        }
        assert_eq!(delta("[DONE]"), Delta::Done);
    }

    #[test]
    fn errors_and_nonsense_in_the_stream_are_failures() {
        assert!(Delta::of_event(br#"{"error":{"message":"x"}}"#).is_err());
        assert!(Delta::of_event(b"x").is_err());
    }

    #[test]
    fn rate_is_of_the_tokens_after_the_first() {
        let figures = |tokens, rest| Figures {
            tokens,
            first: Duration::from_secs(9),
            rest: Duration::from_millis(rest),
        };

        assert_eq!(figures(11, 500).tokens_per_second(), 20.0);
        assert_eq!(figures(1, 0).tokens_per_second(), 0.0);
    }
}
