//! The byte stream of a client's connection, which fails if the client only occupies the connection: if it sends no
//! request, or takes no response.
//!
//! hyper's timeout for a request's head starts once the version of HTTP is known, so a client that never shows it would be
//! waited for without limit. It counts idle time too, which clients and load balancers expect to be far longer than a head
//! may take. For writing hyper has no timeout.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pointsman_config::ClientTimeouts;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::connection::ConnectionRequests;
use crate::half_close::HalfClosed;

/// The start of an HTTP/2 connection (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection's byte stream with its timeouts.
#[derive(Debug)]
pub(crate) struct ClientIo<S> {
    stream: S,
    timeouts: ClientTimeouts,
    requests: Arc<ConnectionRequests>,
    version: Version,
    awaited: Awaited,
    /// When the client began to owe what is awaited.
    since: Instant,
    /// The connection's requests at that time.
    begun: u64,
    read_timer: Timer,
    /// When the client stopped to take bytes.
    blocked: Option<Instant>,
    write_timer: Timer,
    end: End,
    /// Whether what is written goes to the socket as it is, so that its errors are seen at once.
    is_plain: bool,
    /// Whether anything was written.
    has_written: bool,
}

/// Whether the client has ended its half of the connection.
#[derive(Debug)]
enum End {
    Open,
    /// It has, and may wait for its response.
    Half(HalfClosed),
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// This many bytes of [`PREFACE`] and no others have arrived.
    Unknown(usize),
    Http1,
    Http2,
}

/// What the client has to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// A request's head, which has begun, or the connection's first one.
    Head,
    /// A request.
    Request,
    /// Nothing: a request is in flight.
    Nothing,
}

/// A timer that is set again only when it fires or is too late, so that an active connection sets it rarely.
#[derive(Debug, Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready at the deadline.
    fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// Wakes the task after this time at the latest, and again after it.
    fn remind(&mut self, cx: &mut Context<'_>, after: Duration) {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
        while sleep.as_mut().poll(cx).is_ready() {
            sleep.as_mut().reset(Instant::now() + after);
        }
    }
}

impl Version {
    /// The version after these bytes.
    fn after(self, bytes: &[u8]) -> Self {
        let Self::Unknown(seen) = self else { return self };
        let rest = &PREFACE[seen..];
        let same = bytes.iter().zip(rest).take_while(|(byte, wanted)| byte == wanted).count();
        match same {
            _ if same == rest.len() => Self::Http2,
            _ if same == bytes.len() => Self::Unknown(seen + same),
            _ => Self::Http1,
        }
    }
}

impl<S> ClientIo<S> {
    /// `is_plain` says that what is written here goes to the socket as it is.
    pub(crate) fn new(
        stream: S,
        timeouts: ClientTimeouts,
        requests: Arc<ConnectionRequests>,
        is_plain: bool,
    ) -> Self {
        Self {
            is_plain,
            stream,
            timeouts,
            requests,
            version: Version::Unknown(0),
            awaited: Awaited::Head,
            since: Instant::now(),
            begun: 0,
            read_timer: Timer::default(),
            blocked: None,
            write_timer: Timer::default(),
            end: End::Open,
            has_written: false,
        }
    }

    /// Whether a client that ends its half now may be one that waits: after the connection's only request, of which nothing
    /// has been answered. Between other messages nothing may be written to find that out.
    fn may_wait(&self) -> bool {
        self.is_plain
            && self.version == Version::Http1
            && !self.has_written
            && self.requests.begun() == 1
            && self.requests.in_flight() > 0
            && self.requests.take_interim_responses()
    }

    fn await_next(&mut self, awaited: Awaited) {
        self.awaited = awaited;
        self.since = Instant::now();
    }

    /// Follows the requests of the connection.
    fn follow_requests(&mut self) {
        let begun = self.requests.begun();
        if self.requests.in_flight() > 0 {
            self.awaited = Awaited::Nothing;
        } else if self.awaited == Awaited::Nothing || begun != self.begun {
            self.await_next(Awaited::Request);
        }
        self.begun = begun;
    }

    fn received(&mut self, bytes: &[u8]) {
        self.follow_requests();
        self.version = self.version.after(bytes);
        match (self.version, self.awaited) {
            // The frames of an idle connection are no request.
            (Version::Http2, Awaited::Head) => self.await_next(Awaited::Request),
            (Version::Http1, Awaited::Request) if !bytes.is_empty() => self.await_next(Awaited::Head),
            _ => {}
        }
    }

    fn poll_read_timeout(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.follow_requests();
        let timeout = match self.awaited {
            Awaited::Head => self.timeouts.head,
            Awaited::Request => self.timeouts.keep_alive,
            Awaited::Nothing => {
                // hyper need not read again when the request ends.
                self.read_timer.remind(cx, self.timeouts.keep_alive);
                return Poll::Pending;
            }
        };
        self.read_timer.poll(cx, self.since + timeout).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Adds the timeout to the result of writing.
    fn or_write_timeout<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.blocked = None;
            return polled;
        }
        let deadline = *self.blocked.get_or_insert_with(Instant::now) + self.timeouts.write;
        self.write_timer.poll(cx, deadline).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> ClientIo<S> {
    /// Ready when the end of the client's half is to be told: once it has left or has its response.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let End::Half(half) = &mut self.end
            && self.requests.in_flight() > 0
            && half.poll_gone(&mut self.stream, self.has_written, cx).is_pending()
        {
            return Poll::Pending;
        }
        self.end = End::Closed;
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ClientIo<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.end, End::Open) {
            let (before, room) = (buf.filled().len(), buf.remaining());
            let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
            let Poll::Ready(read) = polled else { return this.poll_read_timeout(cx) };
            let bytes = &buf.filled()[before..];
            this.received(bytes);
            if read.is_err() || !bytes.is_empty() || room == 0 || !this.may_wait() {
                return Poll::Ready(read);
            }
            this.end = End::Half(HalfClosed::new());
        }
        this.poll_end(cx).map(Ok)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ClientIo<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.has_written |= polled.is_ready();
        this.or_write_timeout(cx, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.has_written |= polled.is_ready();
        this.or_write_timeout(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(cx);
        this.or_write_timeout(cx, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.or_write_timeout(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;
    use crate::connection::ConnectionRequest;

    fn connect() -> (DuplexStream, ClientIo<DuplexStream>, Arc<ConnectionRequests>) {
        let (client, server) = duplex(64);
        let requests = Arc::<ConnectionRequests>::default();
        let io = ClientIo::new(server, ClientTimeouts::default(), Arc::clone(&requests), true);
        (client, io, requests)
    }

    /// Seconds until reading from the client fails.
    async fn read_until_timeout(io: &mut ClientIo<DuplexStream>) -> u64 {
        let start = Instant::now();
        let mut buffer = [0; 64];
        loop {
            match io.read(&mut buffer).await {
                Ok(0) => panic!("the client closed the connection"),
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                    return start.elapsed().as_secs();
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_speak_is_given_up() {
        for start in ["", "PRI * HT", "GET / HTTP/1.1\r\n"] {
            let (mut client, mut io, _) = connect();
            client.write_all(start.as_bytes()).await.unwrap();
            assert_eq!(read_until_timeout(&mut io).await, 30, "{start:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_drip_does_not_extend_the_time_of_a_head() {
        let (mut client, mut io, _) = connect();
        let drip = async {
            for byte in b"GET / HTTP/1.1\r\n" {
                client.write_all(&[*byte]).await.unwrap();
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        };
        let (seconds, ()) = tokio::join!(read_until_timeout(&mut io), drip);
        assert_eq!(seconds, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_kept_for_the_keep_alive_time() {
        let (mut client, mut io, requests) = connect();
        client.write_all(PREFACE).await.unwrap();
        assert_eq!(read_until_timeout(&mut io).await, 620, "HTTP/2 without requests");

        let (mut client, mut io, counted) = connect();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(io.read(&mut [0; 64]).await.unwrap(), 18);
        drop(counted.begin(http::Version::HTTP_11));
        assert_eq!(read_until_timeout(&mut io).await, 620, "between two requests");
        drop(requests);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_flight_has_no_time_limit_here() {
        let (mut client, mut io, requests) = connect();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let request = requests.begin(http::Version::HTTP_11);
        let hour = Duration::from_secs(3_600);
        assert!(tokio::time::timeout(hour, read_until_timeout(&mut io)).await.is_err());
        drop(request);
        client.write_all(b"G").await.unwrap();
        assert_eq!(read_until_timeout(&mut io).await, 30, "the next head has begun");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_not_read_when_its_request_ends_is_closed() {
        let (mut client, mut io, requests) = connect();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let request = requests.begin(http::Version::HTTP_11);
        assert_eq!(io.read(&mut [0; 64]).await.unwrap(), 18);
        let read = tokio::spawn(async move { read_until_timeout(&mut io).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        // The task that reads is not woken.
        drop(request);
        assert_eq!(read.await.unwrap(), 2 * 620);
    }

    /// A connection whose client has sent its only request and ended its half.
    async fn half_closed() -> (DuplexStream, ClientIo<DuplexStream>, ConnectionRequest) {
        let (mut client, mut io, requests) = connect();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let request = requests.begin(http::Version::HTTP_11);
        assert_eq!(io.read(&mut [0; 64]).await.unwrap(), 18);
        client.shutdown().await.unwrap();
        (client, io, request)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_ends_its_half_gets_its_response() {
        let (mut client, mut io, request) = half_closed().await;
        let mut buffer = [0; 64];
        let wait = tokio::time::timeout(Duration::from_secs(1), io.read(&mut buffer));
        assert!(wait.await.is_err(), "the end is not told");
        let mut interim = [0; 25];
        client.read_exact(&mut interim).await.unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        io.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        let wait = tokio::time::timeout(Duration::from_secs(100), io.read(&mut buffer));
        assert!(wait.await.is_err());
        drop(request);
        assert_eq!(io.read(&mut [0; 64]).await.unwrap(), 0);
        drop(io);
        let mut read = String::new();
        client.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "HTTP/1.1 204 No Content\r\n\r\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_left_is_noticed() {
        let (client, mut io, _request) = half_closed().await;
        let start = Instant::now();
        let read = tokio::spawn(async move { io.read(&mut [0; 64]).await.unwrap() });
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(client);
        assert_eq!((read.await.unwrap(), start.elapsed().as_millis()), (0, 100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_after_the_beginning_of_its_response_is_noticed() {
        let (mut client, mut io, _request) = half_closed().await;
        let mut buffer = [0; 64];
        let wait = tokio::time::timeout(Duration::from_millis(10), io.read(&mut buffer));
        assert!(wait.await.is_err());
        io.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        let wait = tokio::time::timeout(Duration::from_secs(100), io.read(&mut buffer));
        assert!(wait.await.is_err());
        client.read_exact(&mut [0; 17]).await.unwrap();
        drop(client);
        let read = tokio::time::timeout(Duration::from_millis(100), io.read(&mut buffer));
        assert_eq!(read.await.unwrap().unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_written_between_other_messages_or_to_an_old_client() {
        for (version, others) in [(http::Version::HTTP_10, 0), (http::Version::HTTP_11, 1)] {
            let (mut client, mut io, requests) = connect();
            client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            assert_eq!(io.read(&mut [0; 64]).await.unwrap(), 18);
            (0..others).for_each(|_| drop(requests.begin(version)));
            let _request = requests.begin(version);
            client.shutdown().await.unwrap();
            assert_eq!(io.read(&mut [0; 64]).await.unwrap(), 0);
            drop(io);
            assert_eq!(client.read(&mut [0; 64]).await.unwrap(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_no_bytes_is_given_up() {
        let (mut client, mut io, _) = connect();
        let start = Instant::now();
        let written = async {
            let error = io.write_all(&[0; 1_000]).await.unwrap_err();
            (error.kind(), start.elapsed().as_secs())
        };
        let reading = async {
            let mut buffer = [0; 10];
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(50)).await;
                client.read_exact(&mut buffer).await.unwrap();
            }
            tokio::time::sleep(Duration::from_secs(100)).await;
        };
        let (written, ()) = tokio::join!(written, reading);
        assert_eq!(written, (io::ErrorKind::TimedOut, 560));
    }
}
