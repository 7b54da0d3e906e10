//! What carries the bytes between a client and a server.

use plakar_store::Bandwidth;
use std::ffi::OsString;
use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection in the making.
pub type Connecting<'c> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'c>>;

/// Which store of a server is meant, and who asks.
#[derive(Debug, Clone)]
pub struct Address {
    /// What stands before the version in every request: `http://HOST/NAME`.
    pub base: String,
    /// What the client is known by.
    pub token: Option<String>,
}

/// How a server is reached. Called again when a connection broke.
pub trait Connect: Send + Sync {
    /// Makes a connection.
    fn connect(&self) -> Connecting<'_>;

    /// What is asked for over it: the only store that there is, unless something else is said.
    fn address(&self) -> Address {
        Address { base: "http://plakar".into(), token: None }
    }

    /// How fast it may be.
    fn bandwidth(&self) -> Bandwidth {
        Bandwidth::default()
    }

    /// What reached nobody, for messages.
    fn peer(&self) -> String;
}

/// Longer than it takes to reach anybody.
const CONNECT_MAX: Duration = Duration::from_secs(20);

/// An address: `host:port`.
#[derive(Debug, Clone)]
pub struct Tcp(pub String);

impl Connect for Tcp {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            let stream = timeout(CONNECT_MAX, TcpStream::connect(&self.0)).await;
            let stream = stream.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            // Answers are short and waited for.
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn peer(&self) -> String {
        self.0.clone()
    }
}

/// A program whose standard input and output are the connection: `ssh` with what it runs elsewhere. What it says on
/// standard error is shown.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program.
    pub program: OsString,
    /// What it is given.
    pub arguments: Vec<OsString>,
}

impl Connect for Program {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            let mut command = Command::new(&self.program);
            command.args(&self.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
            let mut child = command.spawn()?;
            let (read, write) = (child.stdout.take(), child.stdin.take());
            let (read, write) = (read.expect("it is piped"), write.expect("it is piped"));
            Ok(Box::new(Pipes { read, write, _child: child }) as Box<dyn Stream>)
        })
    }

    fn peer(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }
}

/// The pipes of a program, which ends with them.
struct Pipes {
    read: ChildStdout,
    write: ChildStdin,
    _child: Child,
}

impl AsyncRead for Pipes {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context, buf: &mut ReadBuf) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipes {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_shutdown(cx)
    }
}
