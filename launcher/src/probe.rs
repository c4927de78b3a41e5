//! Whether a child answers yet.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pd_bench::load::client::{Client, Endpoint, EndpointError, Request, Settings};

/// Longest one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause between two looks: what a person does not feel, and a starting process neither.
const PAUSE: Duration = Duration::from_millis(50);
/// Bytes of an answer that are worth telling.
const REASON_BYTES_MAX: usize = 4096;
const PATH: &str = "/health";

/// What `/health` has to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Anything: the process speaks.
    Any,
    /// 200: the process can serve.
    Ok,
}

/// Asks one child for its health until it gives the wanted answer.
#[derive(Debug)]
pub(crate) struct Probe {
    client: Client,
    wanted: Wanted,
    /// Why the last look did not find it ready; `None` once one did.
    missing: Mutex<Option<String>>,
}

impl Probe {
    /// A probe of the child at this address; nothing is asked yet.
    pub(crate) fn new(host: &str, port: u16, wanted: Wanted) -> Result<Self, EndpointError> {
        let settings = Settings {
            bearer: None,
            timeout: LOOK_TIMEOUT,
            keep_alive: false,
        };
        Ok(Self {
            client: Client::new(Endpoint::chat(host, port)?, settings),
            wanted,
            missing: Mutex::new(Some("not asked yet".to_owned())),
        })
    }

    /// Returns when the child has given the wanted answer, else never.
    pub(crate) async fn until_ready(&self) {
        loop {
            let missing = self.look().await.err();
            let ready = missing.is_none();
            *self.missing.lock().unwrap_or_else(PoisonError::into_inner) = missing;
            if ready {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Why the child is not ready; `None` when it is.
    pub(crate) fn missing(&self) -> Option<String> {
        self.missing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn look(&self) -> Result<(), String> {
        let request = Request::Get { path: PATH };
        let mut response = self
            .client
            .send(request)
            .await
            .map_err(|error| error.to_string())?;
        let status = response.status();
        if self.wanted == Wanted::Any || status == 200 {
            return Ok(());
        }
        let body = response.body(REASON_BYTES_MAX).await.unwrap_or_default();
        let body = String::from_utf8_lossy(&body);
        Err(format!("{PATH} answers {status} {}", body.trim()))
    }
}
