//! A client of the authority over HTTP, for any server that speaks Vault's protocol.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use keyward_authority_client::{Client, ClientConfig, Method, RequestOptions};
//!
//! let config = ClientConfig::from_lookup(&|name| std::env::var(name).ok())?;
//! let client = Client::new(config)?;
//! let reply = client.request(Method::Get, "secret/data/app", None, &RequestOptions::default()).await?;
//! println!("{}", reply.status);
//! # Ok(())
//! # }
//! ```
//!
//! One idle connection is kept alive per client. Requests that the server asks to repeat (412, 429, and 5xx
//! except 501) or that never reached it are repeated up to `max_retries` times; a request that changes
//! something and was cut off half-way is not, since it may have been carried out.

mod address;
mod client;
mod config;
mod connect;
mod error;
mod reply;
mod request;
mod tls;
mod workload;

pub use address::Address;
pub use client::Client;
pub use config::{ClientConfig, ConfigError};
pub use error::{ClientError, Rejection};
pub use reply::Reply;
pub use request::{Body, Method, RequestOptions};
pub use workload::{KubernetesLogin, Workload};
