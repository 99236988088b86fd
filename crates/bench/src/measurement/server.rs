//! The measured processes: start, CPU time, resident memory.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::MeasurementError;

/// Time limit for a server to accept connections.
const START_TIMEOUT: Duration = Duration::from_secs(15);

/// A measured process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    last_line: Arc<Mutex<String>>,
}

impl Server {
    /// Starts a server and waits until it accepts connections at `listen`.
    pub(crate) async fn start(
        name: &'static str,
        command: &[OsString],
        arguments: impl IntoIterator<Item = OsString>,
        listen: SocketAddr,
    ) -> Result<Self, MeasurementError> {
        let failed = |cause: String| MeasurementError::Start { server: name, cause };
        let (program, first) = command.split_first().ok_or_else(|| failed("no command".to_owned()))?;
        let mut child = Command::new(program)
            .args(first)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|cause| failed(cause.to_string()))?;
        let last_line = Arc::<Mutex<String>>::default();
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(keep_last_line(stderr, Arc::clone(&last_line)));
        }
        let mut server = Self { name, child, last_line };
        server.wait_until_listening(listen).await?;
        Ok(server)
    }

    async fn wait_until_listening(&mut self, listen: SocketAddr) -> Result<(), MeasurementError> {
        let failed = |cause: String| MeasurementError::Start { server: self.name, cause };
        let deadline = tokio::time::Instant::now() + START_TIMEOUT;
        while TcpStream::connect(listen).await.is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                // Its last line of output may still be in the pipe.
                tokio::time::sleep(Duration::from_millis(50)).await;
                let last_line = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
                return Err(failed(format!("{status}: {last_line}")));
            }
            if tokio::time::Instant::now() > deadline {
                return Err(failed(format!("nothing listens on {listen}")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// CPU time per thread so far.
    pub(crate) fn cpu(&self) -> Result<CpuTime, MeasurementError> {
        self.pid().and_then(CpuTime::of).map_err(|cause| self.unreadable(cause))
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> Result<u64, MeasurementError> {
        self.pid().and_then(resident).map_err(|cause| self.unreadable(cause))
    }

    fn pid(&self) -> io::Result<u32> {
        self.child.id().ok_or_else(|| io::Error::other("it has ended"))
    }

    fn unreadable(&self, cause: io::Error) -> MeasurementError {
        MeasurementError::Accounting { server: self.name, cause }
    }
}

async fn keep_last_line(stderr: tokio::process::ChildStderr, last_line: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if !line.trim().is_empty() {
            *last_line.lock().unwrap_or_else(PoisonError::into_inner) = line;
        }
    }
}

/// CPU time of a process by thread, in nanoseconds.
///
/// Read from `/proc/PID/task/*/schedstat`: the ticks of `/proc/PID/stat` are 10 ms, more than a slice of large prompts
/// uses. The time of threads that ended in between is not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CpuTime(BTreeMap<u32, u64>);

impl CpuTime {
    fn of(pid: u32) -> io::Result<Self> {
        let mut threads = BTreeMap::new();
        for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let entry = entry?;
            let Some(thread) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // A thread may end between the listing and the reading.
            if let Ok(text) = std::fs::read_to_string(entry.path().join("schedstat")) {
                let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
                threads.insert(thread, nanoseconds.ok_or(io::ErrorKind::InvalidData)?);
            }
        }
        if threads.is_empty() {
            return Err(io::Error::other("no thread's schedstat can be read"));
        }
        Ok(Self(threads))
    }

    /// CPU time used since `before`.
    pub(crate) fn since(&self, before: &Self) -> Duration {
        let used =
            |(thread, now): (&u32, &u64)| now.saturating_sub(before.0.get(thread).copied().unwrap_or(0));
        Duration::from_nanos(self.0.iter().map(used).sum())
    }
}

fn resident(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let digits = kibibytes.and_then(|rest| rest.trim().strip_suffix(" kB"));
    let kibibytes: u64 = digits.and_then(|digits| digits.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    Ok(kibibytes * 1_024)
}

/// Starts `count` instant engines on consecutive ports. `interval` is the time between two events of a stream.
pub(crate) async fn start_stubs(
    command: &[OsString],
    count: u16,
    interval: Option<Duration>,
) -> Result<(Server, Vec<SocketAddr>), MeasurementError> {
    let first = free_ports(count)?;
    let interval = interval.map(|interval| argument("--interval-ms", &interval.as_millis()));
    let arguments = [argument("--listen", &first), argument("--count", &count)];
    let arguments = arguments.into_iter().chain(interval).flatten();
    let stubs = Server::start("the engine stubs", command, arguments, first).await?;
    Ok((stubs, (0..count).map(|offset| offset_port(first, offset)).collect()))
}

/// An option and its value.
pub(crate) fn argument(name: &str, value: &impl ToString) -> [OsString; 2] {
    [name.into(), value.to_string().into()]
}

/// `--endpoint` options with the URLs of these addresses.
pub(crate) fn endpoint_urls(addresses: &[SocketAddr]) -> impl Iterator<Item = OsString> {
    addresses.iter().flat_map(|address| argument("--endpoint", &format!("http://{address}")))
}

/// The address with its port increased by `offset`.
pub(crate) const fn offset_port(address: SocketAddr, offset: u16) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port().saturating_add(offset))
}

/// The first of `count` consecutive loopback ports that are free now.
pub(crate) fn free_ports(count: u16) -> io::Result<SocketAddr> {
    const ATTEMPTS: usize = 100;
    let mut last_error = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..ATTEMPTS {
        let first = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
        let address = first.local_addr()?;
        let rest: io::Result<Vec<TcpListener>> =
            (1..count).map(|offset| TcpListener::bind(offset_port(address, offset))).collect();
        match rest {
            Ok(_) => return Ok(address),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_and_memory_of_this_process_can_be_read() {
        let pid = std::process::id();
        let before = CpuTime::of(pid).unwrap();
        let mut sum = 0_u64;
        while CpuTime::of(pid).unwrap().since(&before).is_zero() {
            sum = sum.wrapping_add(1);
        }
        assert!(resident(pid).unwrap() > 100_000);
    }

    #[test]
    fn new_threads_count_in_full_and_ended_threads_not_at_all() {
        let time = |threads: &[(u32, u64)]| CpuTime(threads.iter().copied().collect());
        let used = time(&[(1, 150), (3, 20)]).since(&time(&[(1, 100), (2, 500)]));
        assert_eq!(used, Duration::from_nanos(70));
    }

    #[tokio::test]
    async fn a_failed_command_reports_its_last_line() {
        let command = ["sh", "-c", "echo no such engine >&2; exit 3"].map(OsString::from);
        let listen = free_ports(3).unwrap();
        let error = Server::start("gateway", &command, [], listen).await.unwrap_err().to_string();
        assert!(error.contains("no such engine") && error.contains("gateway"), "{error}");
        assert!(Server::start("gateway", &[], [], listen).await.is_err());
    }
}
