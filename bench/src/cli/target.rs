//! Where requests go.

use clap::Args;

use super::values::api_key;
use crate::load::client::{Endpoint, EndpointError};

#[derive(Debug, Args)]
#[command(next_help_heading = "Target")]
pub(super) struct Target {
    /// Host of the server
    #[arg(long, env = "SRV_IP", default_value = "127.0.0.1")]
    host: String,
    /// Port of the server
    #[arg(
        long,
        env = "PROXY_HTTP_PORT",
        default_value_t = 10001,
        value_parser = clap::value_parser!(u16).range(1..),
    )]
    port: u16,
    /// Full endpoint; overrides host and port
    #[arg(long, short, visible_alias = "base-url", value_parser = Endpoint::from_url)]
    url: Option<Endpoint>,
    /// Bearer token
    #[arg(
        long,
        env = "OPENAI_API_KEY",
        default_value = "sk-noop",
        hide_env_values = true,
        value_parser = api_key,
    )]
    pub(super) api_key: String,
}

impl Target {
    pub(super) fn endpoint(&self) -> Result<Endpoint, EndpointError> {
        match &self.url {
            Some(url) => Ok(url.clone()),
            None => Endpoint::chat(&self.host, self.port),
        }
    }
}
