//! A connection to the server as the URL asks for it, with the same TLS as the host's own connections.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx_core::net::tls::{TlsConfig, handshake};
use sqlx_core::net::{Socket, SocketIntoBox};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::db::servers::Target;

/// A request for TLS: its length, and the number that stands for it in place of a version.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A connection on which nothing was said yet.
pub(super) struct ServerStream(Box<dyn Socket>);

impl ServerStream {
    /// Connects, and agrees on TLS.
    pub(super) async fn connect(target: &Target) -> Result<Self, sqlx::Error> {
        let options = &target.options;
        let secured = match socket_path(options) {
            Some(path) => secured(UnixStream::connect(path).await?, target).await?,
            None => {
                let stream = TcpStream::connect((options.get_host(), options.get_port())).await?;
                // A long statement passes in pieces, none of which is to wait until the one before has arrived.
                stream.set_nodelay(true)?;
                secured(stream, target).await?
            }
        };
        Ok(Self(secured))
    }
}

/// Returns where the server's Unix socket is, as sqlx finds it.
fn socket_path(options: &PgConnectOptions) -> Option<String> {
    let host = options.get_host();
    let in_folder = |folder| format!("{folder}/.s.PGSQL.{}", options.get_port());
    match options.get_socket() {
        Some(folder) => Some(in_folder(folder.display().to_string())),
        None => host.starts_with('/').then(|| in_folder(host.to_owned())),
    }
}

async fn secured<S>(mut stream: S, target: &Target) -> Result<Box<dyn Socket>, sqlx::Error>
where
    S: Socket + AsyncRead + AsyncWrite,
{
    let mode = target.options.get_ssl_mode();
    if matches!(mode, PgSslMode::Disable | PgSslMode::Allow) {
        return Ok(Box::new(stream));
    }
    stream.write_all(&TLS_REQUEST).await?;
    match stream.read_u8().await? {
        b'S' => {}
        b'N' if matches!(mode, PgSslMode::Prefer) => return Ok(Box::new(stream)),
        b'N' => return Err(sqlx::Error::Tls("the server does not support TLS".into())),
        other => {
            return Err(sqlx::Error::Protocol(format!("{other} is no answer to a request for TLS")));
        }
    }
    let config = TlsConfig {
        accept_invalid_certs: !matches!(mode, PgSslMode::VerifyCa | PgSslMode::VerifyFull),
        accept_invalid_hostnames: !matches!(mode, PgSslMode::VerifyFull),
        hostname: target.options.get_host(),
        root_cert_path: target.root_certificate.as_ref(),
        client_cert_path: target.certificate.as_ref(),
        client_key_path: target.key.as_ref(),
    };
    handshake(stream, config, SocketIntoBox).await
}

impl AsyncRead for ServerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut unfilled = buffer.initialize_unfilled();
        loop {
            match self.0.try_read(&mut unfilled) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.0.poll_read_ready(cx))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.0.poll_write_ready(cx))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
                Ok(count) => {
                    // TLS holds what it was given. That is not waited for: a flush with nothing left to send waits for
                    // the server to speak, and what is left goes out when the same task reads.
                    return match self.0.poll_flush(cx) {
                        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                        Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(count)),
                    };
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unix_socket_of_the_server_is_found_as_the_client_finds_it() {
        for (url, path) in [
            ("postgres:///?host=%2Frun%2Fpg&port=6000", Some("/run/pg/.s.PGSQL.6000")),
            ("postgres:///?host=server&port=6000", None),
        ] {
            let options: PgConnectOptions = url.parse().unwrap();
            assert_eq!(socket_path(&options).as_deref(), path, "{url}");
        }
    }
}
