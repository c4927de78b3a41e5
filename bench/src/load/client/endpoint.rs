//! Where requests go.

use std::net::{IpAddr, SocketAddr};

use super::Error;

/// The path of OpenAI chat completions.
const CHAT_PATH: &str = "/v1/chat/completions";

/// Host, port and path of an HTTP service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
    path: String,
}

/// Why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Only clear-text HTTP is spoken.
    #[error("the URL must start with http://")]
    Scheme,
    /// The host is missing or holds a character that no host has.
    #[error("the URL has no usable host")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("the URL's port is no number from 1 to 65535")]
    Port,
    /// The path holds a space or a control character.
    #[error("the URL's path holds a space or a control character")]
    Path,
}

impl Endpoint {
    /// The chat completions of the server at this address.
    ///
    /// # Errors
    ///
    /// The host is empty or holds a character that no host has.
    pub fn chat(host: &str, port: u16) -> Result<Self, EndpointError> {
        let host = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        Self::new(host, port, CHAT_PATH)
    }

    /// The endpoint a URL names; without a path it names the chat completions of that server.
    ///
    /// # Errors
    ///
    /// The text is no `http://` URL.
    pub fn from_url(url: &str) -> Result<Self, EndpointError> {
        let rest = url.strip_prefix("http://").ok_or(EndpointError::Scheme)?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, rest) = v6.split_once(']').ok_or(EndpointError::Host)?;
                (
                    host,
                    rest.strip_prefix(':')
                        .or_else(|| rest.is_empty().then_some("80")),
                )
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, Some("80")),
            },
        };
        let port = port
            .and_then(|port| port.parse().ok())
            .ok_or(EndpointError::Port)?;
        Self::new(host, port, if path == "/" { CHAT_PATH } else { path })
    }

    fn new(host: &str, port: u16, path: &str) -> Result<Self, EndpointError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:%".contains(&byte);
        if host.is_empty() || !host.bytes().all(plain) {
            return Err(EndpointError::Host);
        }
        if port == 0 {
            return Err(EndpointError::Port);
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(EndpointError::Path);
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        })
    }

    /// The request target.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Host and port as in a URL, IPv6 addresses in brackets (RFC 3986 §3.2.2).
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The addresses to connect to, in the resolver's order.
    pub(super) async fn resolve(&self) -> Result<Vec<SocketAddr>, Error> {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, self.port)]);
        }
        match tokio::net::lookup_host((self.host.as_str(), self.port)).await {
            Ok(addresses) => Ok(addresses.collect()),
            Err(source) => Err(Error::Resolve {
                host: self.host.clone(),
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_names_host_port_and_path() {
        let endpoint = Endpoint::from_url("http://127.0.0.1:9000/v1/completions?x=1").unwrap();

        assert_eq!(endpoint.authority(), "127.0.0.1:9000");
        assert_eq!(endpoint.path(), "/v1/completions?x=1");
    }

    #[test]
    fn url_without_path_means_chat_and_without_port_means_80() {
        for url in ["http://node-1.local", "http://node-1.local/"] {
            let endpoint = Endpoint::from_url(url).unwrap();

            assert_eq!(endpoint.authority(), "node-1.local:80");
            assert_eq!(endpoint.path(), "/v1/chat/completions");
        }
    }

    #[test]
    fn v6_addresses_stand_in_brackets() {
        assert_eq!(
            Endpoint::from_url("http://[::1]:8000/x")
                .unwrap()
                .authority(),
            "[::1]:8000"
        );
        assert_eq!(
            Endpoint::from_url("http://[::1]/x").unwrap().authority(),
            "[::1]:80"
        );
        assert_eq!(Endpoint::chat("::1", 1).unwrap().authority(), "[::1]:1");
        assert_eq!(Endpoint::chat("[::1]", 1).unwrap().authority(), "[::1]:1");
    }

    #[test]
    fn what_is_no_http_url_is_refused_by_its_part() {
        let refused = |url| Endpoint::from_url(url).unwrap_err();

        assert_eq!(refused("https://a:1/x"), EndpointError::Scheme);
        assert_eq!(refused("http://:1/x"), EndpointError::Host);
        assert_eq!(refused("http://user@a:1/x"), EndpointError::Host);
        assert_eq!(refused("http://[::1/x"), EndpointError::Host);
        assert_eq!(refused("http://a:b/x"), EndpointError::Port);
        assert_eq!(refused("http://a:0/x"), EndpointError::Port);
        assert_eq!(refused("http://[::1]8/x"), EndpointError::Port);
        assert_eq!(refused("http://a:1/x y"), EndpointError::Path);
    }
}
