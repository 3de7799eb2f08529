//! One connection to the authority.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::{Address, ClientError};

/// A connection over which one request at a time is sent.
pub(crate) type Connection = SendRequest<Full<Bytes>>;

/// Opens a connection to `address`.
pub(crate) async fn connect(
    address: &Address,
    tls: Option<&Arc<rustls::ClientConfig>>,
    server_name: Option<&str>,
) -> Result<Connection, ClientError> {
    let unreachable = |error: std::io::Error| ClientError::Unreachable {
        address: address.to_string(),
        reason: error.to_string(),
    };
    let (plain, host, port) = match address {
        Address::Unix(path) => {
            return speak(address, UnixStream::connect(path).await.map_err(unreachable)?).await;
        }
        Address::Tcp { plain, host, port, .. } => (*plain, host.as_str(), *port),
    };
    let stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
    // Requests are small and waited for: delaying them to fill segments only costs.
    stream.set_nodelay(true).map_err(unreachable)?;
    if plain {
        return speak(address, stream).await;
    }
    let Some(tls) = tls else {
        return Err(ClientError::Untrusted {
            address: address.to_string(),
            reason: "this client speaks plain HTTP only".to_owned(),
        });
    };
    let name = server_name.unwrap_or(host);
    let name = ServerName::try_from(name.to_owned()).map_err(|_| ClientError::Untrusted {
        address: address.to_string(),
        reason: format!("{name:?} cannot be a name in a certificate"),
    })?;
    let stream = TlsConnector::from(tls.clone())
        .connect(name, stream)
        .await
        .map_err(|error| tls_failed(address, &error))?;
    speak(address, stream).await
}

/// A failed handshake by blame; rustls' errors arrive wrapped in I/O errors.
fn tls_failed(address: &Address, error: &std::io::Error) -> ClientError {
    let (address, reason) = (address.to_string(), error.to_string());
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidMessage(_)) => {
            ClientError::NotUnderstood { address, reason: "it does not speak TLS".to_owned() }
        }
        Some(_) => ClientError::Untrusted { address, reason },
        None => ClientError::Unreachable { address, reason },
    }
}

async fn speak<S>(address: &Address, stream: S) -> Result<Connection, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| {
        ClientError::NotUnderstood { address: address.to_string(), reason: error.to_string() }
    })?;
    // Ends by itself when the sender is dropped or the peer closes; its error reaches the pending request.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}
